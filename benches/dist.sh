#!/usr/bin/env bash
# Builds what is published, and writes sizes and figures into docs/performance.md.
#
#   benches/dist.sh                     all parts: about 40 minutes on two cores
#   benches/dist.sh release             one part or several: release, static, device
#   benches/dist.sh --train 60          seconds of calls that the profile is made of
#   benches/dist.sh --no-write          leaves docs/performance.md as it is
#
# release   optimised for what it does (PGO): built, trained by benches/compare, and built again with the profile
# static    one file without a libc, for x86_64 and aarch64; the second one runs once under qemu-user
# device    for routers and boxes: static, small, without the simulator; its memory, start and wake-ups are measured
#
# Binaries are put into target/dist. For armv7, whose standard library rustup may lack, the same by hand:
#   tests/cross.sh armv7-unknown-linux-musleabihf --profile device --no-default-features --bin sidebeat
set -euo pipefail
cd "$(dirname "$0")/.."

parts=() train=60 write=yes
while [ $# -gt 0 ]; do
  case $1 in
    release | static | device) parts+=("$1") ;;
    --train) train=$2; shift ;;
    --no-write) write=no ;;
    *) sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done
[ ${#parts[@]} -gt 0 ] || parts=(release static device)

began=$SECONDS
out=$PWD/target/dist
mkdir -p "$out"
say() { printf '=== %4s s  %s\n' "$((SECONDS - began))" "$1"; }
missing() { echo "missing: $1" >&2; exit 1; }
wants() { [[ " ${parts[*]} " == *" $1 "* ]]; }
host=$(rustc -vV | sed -n 's/^host: //p')

command -v cargo >/dev/null || missing 'cargo (https://rustup.rs)'
if wants release; then
  # The compiler's own: another LLVM may not read its profiles.
  profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
  [ -x "$profdata" ] || rustup component add llvm-tools || missing 'llvm-profdata (rustup component add llvm-tools)'
fi

release() {
  local raw=$PWD/target/pgo/raw profile=$PWD/target/pgo/merged.profdata
  rm -rf target/pgo
  say 'release: building what records a profile'
  # With a target of its own, so that build scripts are not instrumented.
  RUSTFLAGS="-Cprofile-generate=$raw" cargo build --quiet --profile dist --bin sidebeat --target "$host" --target-dir target/pgo/build
  say "release: training for $train s"
  benches/compare/run.sh --train "$train" --binary "target/pgo/build/$host/dist/sidebeat"
  "$profdata" merge -o "$profile" "$raw"
  say 'release: building with the profile'
  RUSTFLAGS="-Cprofile-use=$profile" cargo build --quiet --profile dist --bin sidebeat --target "$host"
  install -T "target/$host/dist/sidebeat" "$out/sidebeat-$host"
  rm -rf target/pgo/build "$raw"
}

static() {
  local machine
  for machine in x86_64 aarch64; do
    say "static: building for $machine"
    tests/cross.sh "$machine-unknown-linux-musl" --quiet --profile dist --bin sidebeat
    install -T "target/$machine-unknown-linux-musl/dist/sidebeat" "$out/sidebeat-$machine-unknown-linux-musl"
  done
  say 'static: running the one for aarch64'
  tests/foreign.sh "$out/sidebeat-aarch64-unknown-linux-musl" || [ $? -eq 3 ]
}

device() {
  local machine
  for machine in x86_64 aarch64; do
    say "device: building for $machine"
    tests/cross.sh "$machine-unknown-linux-musl" --quiet --profile device --no-default-features --bin sidebeat
    install -T "target/$machine-unknown-linux-musl/device/sidebeat" "$out/sidebeat-device-$machine"
  done
  say 'device: measuring for four minutes'
  benches/device.sh "$out/sidebeat-device-x86_64" | tee "$out/device.txt"
}

for part in "${parts[@]}"; do "$part"; done

figures() {
  printf '%s; sidebeat %s (%s); %s.\n\n' "$(date -u +%F)" "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)" \
    "$(git rev-parse --short HEAD)" "$(rustc --version)"
  printf '| build | MB | SHA-256 |\n|---|---|---|\n'
  (cd "$out" && for file in sidebeat-*; do
    printf '| `%s` | %s | `%s` |\n' "$file" "$(awk "BEGIN { printf \"%.1f\", $(stat -c %s "$file") / 1e6 }")" \
      "$(sha256sum "$file" | cut -d' ' -f1)"
  done)
  [ ! -e "$out/device.txt" ] || { printf '\n| the device build, x86_64 | |\n|---|---|\n'; cat "$out/device.txt"; }
}

# Between two marks of the page, which holds other figures too.
if [ "$write" = yes ]; then
  page=docs/performance.md
  grep -qxF '<!-- builds -->' "$page" || missing "the mark \"<!-- builds -->\" in $page"
  figures >"$out/figures"
  awk -v figures="$out/figures" '
    $0 == "<!-- builds -->" { print; while ((getline line < figures) > 0) print line; inside = 1 }
    $0 == "<!-- end -->" { inside = 0 }
    !inside && $0 != "<!-- builds -->" { print }' "$page" >"$out/page"
  cat "$out/page" >"$page"
  rm "$out/page" "$out/figures"
  say "$page is written"
else
  figures
fi
say 'done'
