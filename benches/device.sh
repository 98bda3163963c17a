#!/usr/bin/env bash
# Measures what a build holds and does while nothing happens: benches/device.sh FILE. Writes rows of a table.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$1 seconds=60
command -v curl >/dev/null || { echo 'missing: curl (apt-get install curl)' >&2; exit 1; }
source tests/beside_head_end.sh

resident() { awk '/^VmRSS/ { printf "%.1f", $2 * 1024 / 1e6 }' "/proc/$1/status"; }
# How often its threads went to sleep.
sleeps() { cat /proc/"$1"/task/*/status | awk '/^voluntary_ctxt_switches/ { sum += $2 } END { print sum }'; }
wakes() { # PROCESS: wake-ups in the time
  local before
  before=$(sleeps "$1")
  sleep "$seconds"
  echo $(($(sleeps "$1") - before))
}

# The first answer of five starts, the quickest.
best=
for _ in 1 2 3 4 5; do
  [ -z "$best" ] || { kill "$proxy"; wait "$proxy"; unset 'processes[-1]'; }
  began=${EPOCHREALTIME/./}
  "$binary" run -c "$folder/config.toml" 2>"$folder/proxy.log" &
  proxy=$!
  processes+=("$proxy")
  admin=$(address "$folder/proxy.log" 'admin: http://')
  exec 3<>"/dev/tcp/${admin%:*}/${admin#*:}"
  printf 'GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n' >&3
  read -r _ <&3
  took=$(((${EPOCHREALTIME/./} - began) / 1000))
  exec 3>&-
  [ -n "$best" ] && [ "$best" -le "$took" ] || best=$took
done
players=$(address "$folder/proxy.log" 'players: http://')

sleep 12
printf '| start to first answer, ms | %s |\n' "$best"
printf '| resident memory, idle, MB | %s |\n' "$(resident "$proxy")"
printf '| wake-ups in %s s, idle | %s |\n' "$seconds" "$(wakes "$proxy")"
ask_license "$players" >/dev/null
# Connections that were used are kept for a while.
sleep 100
printf '| wake-ups in %s s, one session | %s |\n' "$seconds" "$(wakes "$proxy")"
printf '| resident memory, one session, MB | %s |\n' "$(resident "$proxy")"
