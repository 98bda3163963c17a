#!/usr/bin/env bash
# Measures what a build holds and does while nothing happens: benches/device.sh FILE. Writes rows of a table.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$1 seconds=60
command -v curl >/dev/null || { echo 'missing: curl (apt-get install curl)' >&2; exit 1; }
cargo build --quiet --bin sidebeat

folder=$(mktemp -d)
processes=()
trap 'kill "${processes[@]}" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT

address() { # LOG MARK: what follows the mark
  for _ in $(seq 2000); do
    sed -n "s,.*$2,,p" "$1" 2>/dev/null | grep -o '^[0-9.:]*' && return
    sleep 0.005
  done
  cat "$1" >&2
  return 1
}
resident() { awk '/^VmRSS/ { printf "%.1f", $2 * 1024 / 1e6 }' "/proc/$1/status"; }
# How often its threads went to sleep.
sleeps() { cat /proc/"$1"/task/*/status | awk '/^voluntary_ctxt_switches/ { sum += $2 } END { print sum }'; }
wakes() { # PROCESS: wake-ups in the time
  local before
  before=$(sleeps "$1")
  sleep "$seconds"
  echo $(($(sleeps "$1") - before))
}

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

# The first answer of five starts, the quickest.
best=
for _ in 1 2 3 4 5; do
  [ -z "$best" ] || { kill "$proxy"; wait "$proxy"; }
  began=${EPOCHREALTIME/./}
  "$binary" run -c "$folder/config.toml" 2>"$folder/proxy.log" &
  proxy=$!
  admin=$(address "$folder/proxy.log" 'admin: http://')
  exec 3<>"/dev/tcp/${admin%:*}/${admin#*:}"
  printf 'GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n' >&3
  read -r _ <&3
  took=$(((${EPOCHREALTIME/./} - began) / 1000))
  exec 3>&-
  [ -n "$best" ] && [ "$best" -le "$took" ] || best=$took
done
processes+=("$proxy")
players=$(address "$folder/proxy.log" 'players: http://')

sleep 12
printf '| start to first answer, ms | %s |\n' "$best"
printf '| resident memory, idle, MB | %s |\n' "$(resident "$proxy")"
printf '| wake-ups in %s s, idle | %s |\n' "$seconds" "$(wakes "$proxy")"
token=$(curl -sS --fail "$headend/sim/token?account=ann&device=tv&content=news" | sed 's/.*"token" *: *"\([^"]*\)".*/\1/')
curl -sS --fail -o /dev/null -X POST "http://$players/license" -H "nv-authorizations: $token" -H 'x-device-id: tv' \
  -d '{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}'
# Connections that were used are kept for a while.
sleep 100
printf '| wake-ups in %s s, one session | %s |\n' "$seconds" "$(wakes "$proxy")"
printf '| resident memory, one session, MB | %s |\n' "$(resident "$proxy")"
