#!/usr/bin/env bash
# Runs a binary of another processor once, under qemu-user: its version, a check of the reference configuration, and one
# license call with a session at a simulated head-end.
#
#   tests/foreign.sh            builds it for aarch64, without optimisation
#   tests/foreign.sh FILE       one that was built before
#
# Exits with 3, and says why, if a tool is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

lacks() { echo "missing: $1" >&2; exit 3; }
emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || lacks 'qemu-aarch64 (apt-get install qemu-user-static)'
command -v curl >/dev/null || lacks 'curl (apt-get install curl)'

if [ $# -gt 0 ]; then
  binary=$1
else
  tests/cross.sh aarch64-unknown-linux-musl --quiet --no-default-features --bin sidebeat
  binary=target/aarch64-unknown-linux-musl/debug/sidebeat
fi
source tests/beside_head_end.sh

"$emulator" "$binary" --version
"$emulator" "$binary" check

"$emulator" "$binary" run -c "$folder/config.toml" >"$folder/proxy.log" 2>&1 &
processes+=($!)
proxy=$!
players=$(address "$folder/proxy.log" 'players: http://')
admin=http://$(address "$folder/proxy.log" 'admin: http://')

license=$(ask_license "$players") || fail 'no license came'
grep -q '"keys"' <<<"$license" || fail "no license: $license"
sessions=$(curl -sS --fail "$admin/v1/sessions")
grep -q '"state":"live"' <<<"${sessions// /}" || fail "no live session: $sessions"
kill "$proxy"
wait "$proxy" || fail 'it ended with a fault'
echo "a license, a live session and an orderly end on $(basename "$emulator")"
