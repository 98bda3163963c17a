# Sourced by scripts that run a binary beside the simulated head-end of this tree, from the top of the repository. Gives
# `folder`, which holds the binary's config.toml and all logs, `headend` (a URL), `processes` (ended at the exit), and the
# functions below.

cargo build --quiet --bin sidebeat

folder=$(mktemp -d)
processes=()
trap 'kill "${processes[@]}" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT

fail() { echo "$1" >&2; tail -n 20 "$folder"/*.log >&2; exit 1; }

address() { # LOG MARK: what follows the mark
  for _ in $(seq 6000); do
    sed -n "s,.*$2,,p" "$1" 2>/dev/null | grep -o '^[0-9.:]*' && return
    sleep 0.005
  done
  fail "no line of $1 says $2"
}

ask_license() { # PLAYERS: the license for a device of the head-end's tenant
  local token
  token=$(curl -sS --fail "$headend/sim/token?account=ann&device=tv&content=news" | sed 's/.*"token" *: *"\([^"]*\)".*/\1/')
  curl -sS --fail -X POST "http://$1/license" -H "nv-authorizations: $token" -H 'x-device-id: tv' \
    -d '{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}'
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
