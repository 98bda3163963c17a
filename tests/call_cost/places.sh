#!/usr/bin/env bash
# Shows which lines of the code allocate in a license call: allocations and bytes a call, then the innermost lines of
# each place. Counts the allocations of C code too, as `call_cost` itself does not. Needs cc, addr2line and python3.
#
#   tests/call_cost/places.sh                                      a managed call
#   tests/call_cost/places.sh a_passed_call_allocates_little 12    another test of the file, 12 lines of each place
set -euo pipefail
cd "$(dirname "$0")/../.."
test=${1:-a_managed_call_allocates_little} lines=${2:-6} calls=200
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo test --test call_cost --no-run
binary=$(ls -t target/debug/deps/call_cost-* | grep -v '\.d$' | head -1)

cat >"$folder/trace.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
static int file = -1;
static __thread int inside;
static void note(size_t bytes) {
  void *stack[42];
  if (inside) return;
  inside = 1;
  if (file < 0) file = open(getenv("TRACE_FILE"), O_CREAT | O_WRONLY | O_APPEND, 0600);
  int depth = backtrace(stack + 2, 40);
  stack[0] = (void *)bytes;
  stack[1] = (void *)(long)depth;
  if (write(file, stack, sizeof(void *) * (depth + 2)) < 0) abort();
  inside = 0;
}
void *malloc(size_t bytes) {
  static void *(*real)(size_t);
  if (!real) real = dlsym(RTLD_NEXT, "malloc");
  note(bytes);
  return real(bytes);
}
void *realloc(void *old, size_t bytes) {
  static void *(*real)(void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "realloc");
  note(bytes);
  return real(old, bytes);
}
C
cc -O1 -shared -fPIC -o "$folder/trace.so" "$folder/trace.c" -ldl
# A fixed base address makes the stack's addresses those of the file.
TRACE_FILE=$folder/trace CALL_COST_CALLS=$calls LD_PRELOAD=$folder/trace.so setarch -R \
  "$binary" --exact "$test" --nocapture | grep -F 'Cost {' || true

python3 - "$binary" "$folder/trace" "$((64 + 3 * calls))" "$lines" <<'PYTHON'
import collections, re, struct, subprocess, sys
binary, calls, lines, base = sys.argv[1], int(sys.argv[3]), int(sys.argv[4]), 0x555555554000
data, at = open(sys.argv[2], "rb").read(), 0
count, size = collections.Counter(), collections.Counter()
while at < len(data):
    bytes_, depth = struct.unpack_from("<QQ", data, at)
    stack = struct.unpack_from(f"<{depth}Q", data, at + 16)
    at += 16 + 8 * depth
    count[stack] += 1
    size[stack] += bytes_
often = [stack for stack in count if count[stack] >= calls / 4]
own = sorted({frame - 1 - base for stack in often for frame in stack if 0 < frame - base < 1 << 28})
told = subprocess.run(["addr2line", "-e", binary, "-afCi", *map(hex, own)], capture_output=True, text=True).stdout.split("\n")
names, now, line = {}, None, 0
while line + 1 < len(told):
    if told[line].startswith("0x"):
        now = names.setdefault(int(told[line], 16), [])
        line += 1
    else:
        now.append(f"{told[line][:100]}  {'/'.join(told[line + 1].split('/')[-3:])}")
        line += 2
dull = re.compile(r"(^|<)(alloc|core|std|allocation_counter)::|/(alloc|core|std)/src|alloc/src|raw_vec|__rust|core/src|\?\?")
places = {}
for stack in often:
    all_ = [name for frame in stack for name in names.get(frame - 1 - base, [])]
    # The player and the far side allocate in threads of their own.
    if any("call_cost::player" in name or "call_cost::far_side" in name for name in all_): continue
    place = places.setdefault(tuple([name for name in all_ if not dull.search(name)][:lines]), [0, 0])
    place[0] += count[stack] / calls
    place[1] += size[stack] / calls
print(f"{sum(place[0] for place in places.values()):.1f} allocations, {sum(place[1] for place in places.values()):.0f} bytes a call")
for stack, place in sorted(places.items(), key=lambda row: -row[1][1]):
    print(f"\n{place[0]:6.1f} x, {place[1]:7.0f} bytes")
    for name in stack: print("      ", name)
PYTHON
