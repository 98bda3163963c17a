#!/usr/bin/env bash
# Everything that must hold before a change goes in. Stops at the first failure and says which.
#
#   tests/run.sh                  all of it
#   tests/run.sh --no-players     without the browser part
#
# Installs what the browser part needs (apt packages, as root or with sudo; npm packages). Cargo and its
# components are only checked for.
set -euo pipefail
cd "$(dirname "$0")/.."

players=yes
case ${1:-} in
  '') ;;
  --no-players) players=no ;;
  *) echo "usage: tests/run.sh [--no-players]" >&2; exit 2 ;;
esac

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

# An archive folder of its own: an `apt-get clean` elsewhere cannot empty it under us.
install_packages() {
  local wanted=() root=()
  has chromium || [ -n "${CHROMIUM:-}" ] || wanted+=(chromium)
  has ffmpeg || wanted+=(ffmpeg)
  has certutil || wanted+=(libnss3-tools)
  [ -r /usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf ] || [ -n "${FONT:-}" ] || wanted+=(fonts-dejavu-core)
  if [ ${#wanted[@]} -eq 0 ]; then echo 'all there'; return; fi
  has apt-get || missing "${wanted[*]}" 'install them by hand, or run tests/run.sh --no-players'
  if [ "$(id -u)" -ne 0 ]; then
    has sudo || missing "${wanted[*]}" "as root: apt-get install ${wanted[*]}; or run tests/run.sh --no-players"
    root=(sudo)
  fi
  local archives
  archives=$(mktemp -d)
  mkdir "$archives/partial"
  chmod -R go+rx "$archives"
  local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o "Dir::Cache::archives=$archives" -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "${wanted[@]}"
  "${root[@]}" rm -rf "$archives"
}

play() { (cd tests/players && npm ci --no-audit --no-fund && node run.mjs); }
document() { RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps; }

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
step 'formatting' cargo fmt --check
step 'lints' cargo clippy --all-targets -- -D warnings
step 'unit and property tests' cargo test --lib --bins
step 'simulation' cargo test --test simulation
step 'integration tests' integrate
step 'release build' cargo build --release
if [ "$players" = yes ]; then
  step 'packages for the players' install_packages
  step 'players' play
else
  printf '\n=== players ===\nskipped: --no-players\n'
fi
step 'documentation' document

printf '\nall good in %s s%s\n' "$((SECONDS - began))" "$([ "$players" = yes ] || echo ' (without the players)')"
