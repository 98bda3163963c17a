#!/usr/bin/env bash
# Compares sidebeat with its peers, and writes docs/performance.md with its charts.
#
#   benches/compare/run.sh                        all tables: about an hour on two cores
#   benches/compare/run.sh --rows tls,h2          the tables whose key begins so; what is written keeps the others
#   benches/compare/run.sh --binary FILE          another file than a fresh default build of sidebeat
#   benches/compare/run.sh --dist FILE            the release build beside it, in the same rounds
#   benches/compare/run.sh --before FILE          an older build beside it, in the same rounds
#   benches/compare/run.sh --rounds 5 --seconds 4 --no-write --noisy
#   benches/compare/run.sh --small                the relay and one managed call; fails above 1.5 times the relay
#   benches/compare/run.sh --train 60 --binary FILE   plays a mix against a build, and ends it in good order
#   benches/compare/run.sh report FILE            makes the page of target/compare/rounds.jsonl or a copy
#
# Installs nginx, HAProxy and nginx's Lua module from Debian, as root. A program that cannot be had is left out of the
# tables, and named with the line that installs it. benches/README.md tells more of the options.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/../.."
export PATH=$PATH:/usr/sbin

peers=yes build=yes binary='' options=()
file() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$here" "$1" ;; esac; }
while [ $# -gt 0 ]; do
  case $1 in
    --binary) binary=$(file "$2"); shift ;;
    --before | --dist) options+=("$1" "$(file "$2")"); shift ;;
    --no-write | --noisy) options+=("$1") ;;
    --rounds | --rows | --seconds) options+=("$1" "$2"); shift ;;
    --small) peers=no options+=("$1") ;;
    --train) peers=no options+=("$1" "$2"); shift ;;
    report) peers=no build=no options+=("$1" "$(file "$2")"); shift ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done

command -v taskset >/dev/null || { echo 'missing: taskset (apt-get install util-linux)' >&2; exit 1; }

# An archive folder of its own: an `apt-get clean` elsewhere cannot empty it meanwhile. Services are not to start.
install_peers() {
  local missing=() archives package
  for package in nginx haproxy libnginx-mod-http-lua lua-cjson; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]} (as root: apt-get install ${missing[*]})" >&2
    return 0
  fi
  echo "installing ${missing[*]}" >&2
  archives=$(mktemp -d)
  mkdir "$archives/partial"
  chmod -R go+rx "$archives"
  local apt=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -o "Dir::Cache::archives=$archives" -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update >/dev/null && "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null ||
    echo "not installed: apt-get install ${missing[*]}" >&2
  rm -rf "$archives"
}

[ "$peers" = no ] || install_peers
if [ "$build" = yes ]; then
  echo 'building' >&2
  if [ -z "$binary" ]; then
    cargo build --release --quiet --bin sidebeat
    binary=$PWD/target/release/sidebeat
  fi
  options+=(--sidebeat "$binary")
fi
cargo build --release --quiet --manifest-path benches/compare/Cargo.toml --target-dir target
exec target/release/compare "${options[@]}"
