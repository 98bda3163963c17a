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
cargo build --quiet --bin sidebeat

folder=$(mktemp -d)
processes=()
trap 'kill "${processes[@]}" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT

fail() { echo "$1" >&2; tail -n 20 "$folder"/*.log >&2; exit 1; }
address() { # LOG MARK: what follows the mark
  for _ in $(seq 300); do
    sed -n "s,.*$2,,p" "$1" 2>/dev/null | grep -o '^[0-9.:]*' && return
    sleep 0.1
  done
  fail "no line of $1 says $2"
}

"$emulator" "$binary" --version
"$emulator" "$binary" check

target/debug/sidebeat headend --listen 127.0.0.1:0 >"$folder/headend.log" 2>&1 &
processes+=($!)
headend=http://$(address "$folder/headend.log" 'head-end at http://')
cat >"$folder/config.toml" <<END
[server]
listen = []
listen-plain = ["127.0.0.1:0"]
workers = 1
[admin]
listen = "127.0.0.1:0"
[[authority]]
name = "head-end"
kind = "nagra-ssm"
url = "$headend/DEMO/ssm"
[[route]]
path = "/license"
authority = "head-end"
license-server = "$headend/DEMO/ckls/contentlicenseservice/v1/licenses"
END
"$emulator" "$binary" run -c "$folder/config.toml" >"$folder/proxy.log" 2>&1 &
processes+=($!)
proxy=$!
players=http://$(address "$folder/proxy.log" 'players: http://')
admin=http://$(address "$folder/proxy.log" 'admin: http://')

token=$(curl -sS --fail "$headend/sim/token?account=ann&device=tv&content=news" | sed 's/.*"token" *: *"\([^"]*\)".*/\1/')
license=$(curl -sS --fail -X POST "$players/license" -H "nv-authorizations: $token" -H 'x-device-id: tv' \
  -d '{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}') || fail 'no license came'
grep -q '"keys"' <<<"$license" || fail "no license: $license"
sessions=$(curl -sS --fail "$admin/v1/sessions")
grep -q '"state":"live"' <<<"${sessions// /}" || fail "no live session: $sessions"
kill "$proxy"
wait "$proxy" || fail 'it ended with a fault'
echo "a license, a live session and an orderly end on $(basename "$emulator")"
