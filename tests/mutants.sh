#!/usr/bin/env bash
# How many small changes of the code do the unit tests notice? Changes a sample of expressions, one after the other, runs
# the library's tests on each (cargo-mutants), and prints the changes that nobody noticed and the share that died.
#
#   tests/mutants.sh                          40 changes in src/session, gateway, authority, edge and store
#   tests/mutants.sh --count 10 --seed 7      other ones, and the same ones each time
#   tests/mutants.sh --here src/gateway/x.rs  in these files, in this folder: faster, but nothing else may use it meanwhile
#   tests/mutants.sh --tests x:: src/gateway/x.rs   by the tests of that name alone
#
# Takes a build and a test run for each change. Changes that integration tests alone would notice are among the survivors.
# The details are in target/mutants.out.
set -euo pipefail
cd "$(dirname "$0")/.."

count=40 seed=$(date +%s) files=() where=() tests=()
while [ $# -gt 0 ]; do
  case $1 in
    --count) count=$2; shift ;;
    --seed) seed=$2; shift ;;
    --here) where=(--in-place) ;;
    --tests) tests=("$2"); shift ;;
    -*) echo "usage: tests/mutants.sh [--count N] [--seed N] [--here] [--tests NAME] [FILE...]" >&2; exit 2 ;;
    *) files+=("$1") ;;
  esac
  shift
done
if [ ${#files[@]} -eq 0 ]; then
  for layer in session gateway authority edge store; do files+=("src/$layer.rs" "src/$layer/**/*.rs"); done
fi

cargo mutants --version >/dev/null 2>&1 || cargo install --locked cargo-mutants

chosen=()
for file in "${files[@]}"; do chosen+=(--file "$file"); done
chosen+=(--exclude '**/tests.rs' --exclude '**/tests/**')
total=$(cargo mutants --list "${chosen[@]}" | wc -l)
[ "$total" -gt 0 ] || { echo "no changes can be made in ${files[*]}" >&2; exit 2; }
shards=$((total > count ? total / count : 1))
shard=$((seed % shards))
echo "$total changes, one of $shards is tried; again by: --count $count --seed $seed"

# 2: some survived. 3: some made a test run too long, which is as good as noticed.
status=0
cargo mutants "${chosen[@]}" "${where[@]}" --shard "$shard/$shards" --sharding round-robin --output target \
  --timeout 300 --no-times --colors never -- --lib "${tests[@]}" || status=$?
case $status in 0 | 2 | 3) ;; *) exit "$status" ;; esac

lines() { [ -f "target/mutants.out/$1.txt" ] && wc -l < "target/mutants.out/$1.txt" || echo 0; }
survived=$(lines missed)
died=$(($(lines caught) + $(lines timeout)))
printf '\nsurvivors:\n'
cat target/mutants.out/missed.txt
printf '%s of %s died (%s %%)\n' "$died" "$((died + survived))" "$((died + survived ? 100 * died / (died + survived) : 100))"
