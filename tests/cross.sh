#!/usr/bin/env bash
# Builds a static binary for one target, with zig as linker and C compiler: tests/cross.sh TARGET CARGO-OPTIONS...
#
# Fetches what is missing: the target's standard library (rustup), zig and cargo-zigbuild (PyPI, into target/zig).
# Exits with 3, and says why, if that cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$1
shift
lacks() { echo "missing: $1" >&2; exit 3; }

command -v rustup >/dev/null || lacks 'rustup (https://rustup.rs): it brings standard libraries of other targets'
rustup target list --installed | grep -qx "$target" || rustup target add "$target" || lacks "rustup target add $target"
zig=$PWD/target/zig
if [ ! -x "$zig/bin/cargo-zigbuild" ]; then
  python3 -m venv "$zig" 2>/dev/null || lacks 'venv of Python (apt-get install python3-venv)'
  "$zig/bin/pip" install --quiet --disable-pip-version-check ziglang==0.17.1 cargo-zigbuild==0.24.1 ||
    { rm -rf "$zig"; lacks 'ziglang and cargo-zigbuild of PyPI'; }
fi
CARGO_ZIGBUILD_ZIG_PATH="$zig/bin/python-zig" exec "$zig/bin/cargo-zigbuild" zigbuild --target "$target" "$@"
