#!/usr/bin/env bash
# Fetches packages that carry manifests which nobody here wrote, at fixed versions, into `fetched`. They are not ours to
# keep. Says how many files there are. Needs npm, pip and cargo.
set -euo pipefail
cd "$(dirname "$0")"

npm_packages=(
  @eyevinn/hls-repeat@0.3.0 @eyevinn/hls-splice@0.4.11 @eyevinn/hls-truncate@0.3.3 @eyevinn/hls-vodtolive@4.1.10
  @eyevinn/m3u8@0.5.9 m3u8-parser@7.2.0 mpd-parser@1.4.0
)
python_sources=(streamlink==8.6.3)
python_parsers=(m3u8==6.0.0)

rm -rf fetched
mkdir -p fetched/{npm,pypi,crates/src,python}
for package in "${npm_packages[@]}"; do
  name=${package//[@\/]/-}
  mkdir "fetched/npm/$name"
  archive=$(npm pack --silent --pack-destination fetched/npm "$package")
  tar xzf "fetched/npm/$archive" -C "fetched/npm/$name"
  rm "fetched/npm/$archive"
done

python3 -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d fetched/pypi "${python_sources[@]}"
for archive in fetched/pypi/*.tar.gz; do
  tar xzf "$archive" -C fetched/pypi
  rm "$archive"
done
python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --target fetched/python "${python_parsers[@]}"

cat > fetched/crates/Cargo.toml <<'MANIFEST'
[package]
name = "corpus"
version = "0.0.0"
edition = "2024"
[dependencies]
dash-mpd = { version = "=0.18.4", default-features = false }
hls_m3u8 = "=0.7.0"
m3u8-rs = "=6.0.1"
[workspace]
MANIFEST
echo 'fn main() {}' > fetched/crates/src/main.rs
(cd fetched/crates && cargo vendor -q vendor > /dev/null)

find fetched \( -name '*.m3u8' -o -name '*.mpd' \) -type f | wc -l
