#!/usr/bin/env bash
# Fetches packages that carry manifests which nobody here wrote, at fixed versions, into a folder. They are not ours to
# keep. Says how many files there are. Needs npm, pip and cargo.
#
#   fetch.sh FOLDER
set -euo pipefail
fetched=$1

npm_packages=(
  @eyevinn/hls-repeat@0.3.0 @eyevinn/hls-splice@0.4.11 @eyevinn/hls-truncate@0.3.3 @eyevinn/hls-vodtolive@4.1.10
  @eyevinn/m3u8@0.5.9 m3u8-parser@7.2.0 mpd-parser@1.4.0
)
python_sources=(streamlink==8.6.3)
python_parsers=(m3u8==6.0.0)

rm -rf "$fetched"
mkdir -p "$fetched"/{npm,pypi,crates/src,python}
cd "$fetched"
for package in "${npm_packages[@]}"; do
  name=${package//[@\/]/-}
  mkdir "npm/$name"
  archive=$(npm pack --silent --pack-destination npm "$package")
  tar xzf "npm/$archive" -C "npm/$name"
  rm "npm/$archive"
done

python3 -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d pypi "${python_sources[@]}"
for archive in pypi/*.tar.gz; do
  tar xzf "$archive" -C pypi
  rm "$archive"
done
python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --target python "${python_parsers[@]}"

cat > crates/Cargo.toml <<'MANIFEST'
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
echo 'fn main() {}' > crates/src/main.rs
(cd crates && cargo vendor -q vendor > /dev/null)

find . \( -name '*.m3u8' -o -name '*.mpd' \) -type f | wc -l
