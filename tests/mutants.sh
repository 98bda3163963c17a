#!/usr/bin/env bash
# How many small changes of the code do the tests notice? Makes a sample of changes, one after the other (cargo-mutants
# names them), and prints those that no test noticed, and the share that died.
#
#   tests/mutants.sh                           40 changes in src/session, gateway, authority, edge and store
#   tests/mutants.sh --count 10 --seed 7       other ones, and the same ones each time
#   tests/mutants.sh src/gateway/license.rs    in these files
#   tests/mutants.sh --then 'flows edge'       the second pass by the library and these test targets
#   tests/mutants.sh --then ''                 no second pass
#   tests/mutants.sh --here                    in this folder, which is warm, but nothing else may use it meanwhile
#
# The first pass runs the unit tests of the changed layer: seconds, beside the build of the library alone. What survives
# it meets all unit tests and then the integration tests on real sockets, in the second pass: some minutes for each. What
# survives both is for a person to judge: an equivalent change, or a test that is missing.
#
# Without --here it is the last commit that is changed, in target/mutants/tree; its first build takes some minutes and
# 3 GB. What was changed, and what each run printed, is in target/mutants/log.
set -euo pipefail
cd "$(dirname "$0")/.."

count=40 seed=$(date +%s) here=no then='embedded edge flows restart simulation' files=()
while [ $# -gt 0 ]; do
  case $1 in
    --count) count=$2; shift ;;
    --seed) seed=$2; shift ;;
    --then) then=$2; shift ;;
    --here) here=yes ;;
    -*) echo "usage: tests/mutants.sh [--count N] [--seed N] [--then 'TARGET...'] [--here] [FILE...]" >&2; exit 2 ;;
    *) files+=("$1") ;;
  esac
  shift
done
if [ ${#files[@]} -eq 0 ]; then
  for layer in gateway authority edge store; do files+=("src/$layer/**/*.rs"); done
  files+=("crates/core/src/session/**/*.rs")
fi

cargo mutants --version >/dev/null 2>&1 || cargo install --locked cargo-mutants

log=$PWD/target/mutants/log
rm -rf "$log"
mkdir -p "$log"
if [ "$here" = no ]; then
  tree=$PWD/target/mutants/tree
  [ -d "$tree" ] || git worktree add --quiet --force --detach "$tree"
  git -C "$tree" checkout --quiet --force --detach "$(git rev-parse HEAD)"
  cd "$tree"
fi

chosen=(--exclude '**/tests.rs' --exclude '**/tests/**')
for file in "${files[@]}"; do chosen+=(--file "$file"); done
total=$(cargo mutants --workspace --list "${chosen[@]}" | wc -l)
[ "$total" -gt 0 ] || { echo "no changes can be made in ${files[*]}" >&2; exit 2; }
shards=$((total > count ? total / count : 1))
shard=$((seed % shards))
# N.name and N.diff for each: a line that begins with a file, a line and a column is a name.
cargo mutants --workspace --list --diff "${chosen[@]}" --shard "$shard/$shards" --sharding round-robin |
  awk -v folder="$log" '/^(src|crates)\/[^ ]+:[0-9]+:[0-9]+: / { n++; print > (folder "/" n ".name"); next } { print > (folder "/" n ".diff") }'
tried=$(find "$log" -name '*.name' | wc -l)
echo "$total changes, $tried of them are tried; the same again: --count $count --seed $seed"

# As good as dead: a change that makes tests run for ever.
tests() { timeout 1200 "${CARGO:-cargo}" test --workspace "$@" </dev/null >>"$run" 2>&1; }
second() { local target targets=(); for target in $then; do targets+=(--test "$target"); done; tests --lib "${targets[@]}"; }

run=$log/unchanged
echo 'unchanged, all of these tests must pass'
tests --lib || { tail -n 20 "$run"; exit 1; }
[ -z "$then" ] || second || { tail -n 20 "$run"; exit 1; }

file=
restore() { [ -z "$file" ] || cp "$log/original" "$file"; file=; }
trap restore EXIT
first_pass=0 second_pass=0 unviable=0 survivors=()
for ((n = 1; n <= tried; n++)); do
  name=$(cat "$log/$n.name") run=$log/$n.run
  changed=${name%%:*}
  layer=${changed##*src/} layer=${layer%%/*}
  cp "$changed" "$log/original"
  file=$changed
  patch --quiet "$changed" "$log/$n.diff"
  if ! tests --lib --no-run; then
    unviable=$((unviable + 1)) fate='does not compile'
  elif ! tests --lib "${layer%.rs}::"; then
    first_pass=$((first_pass + 1)) fate='died in the first pass'
  elif [ -n "$then" ] && ! second; then
    second_pass=$((second_pass + 1)) fate='died in the second pass'
  else
    survivors+=("$name") fate=SURVIVED
  fi
  restore
  printf '%s: %s\n' "$fate" "$name"
done

printf '\nsurvivors:\n'
[ ${#survivors[@]} -eq 0 ] || printf '%s\n' "${survivors[@]}"
died=$((first_pass + second_pass)) viable=$((tried - unviable))
printf '%s of %s died, %s of them in the first pass (%s %%); %s more do not compile\n' "$died" "$viable" "$first_pass" \
  "$((viable ? 100 * died / viable : 100))" "$unviable"
