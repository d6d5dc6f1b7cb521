#!/usr/bin/env bash
# Builds the race check with the compiler's thread sanitizer and runs it; then makes sure that it would report a race in
# a body, and a pool whose atomics order nothing. Usage: run.sh FOLDER_FOR_PROGRAMS
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$1
sources="tests/race_check/race_check.cpp csrc/cpu/parallel.cpp csrc/cpu/scratch.cpp"
reported=66 # the sanitizer's exit status
export TSAN_OPTIONS="halt_on_error=1 exitcode=$reported"

build() {
  local program=$1
  shift
  "${CXX:-g++}" -std=gnu++20 -O1 -g -pthread -Wall -Wextra -DMINIDL_TARGET=race_check -Icsrc/cpu "$@" $sources -o "$folder/$program"
}

# Some kernels spread addresses further than the sanitizer of GCC 12 knows.
run=()
if setarch "$(uname -m)" -R true 2> /dev/null; then run=(setarch "$(uname -m)" -R); fi
run+=(timeout 120)

must_report() {
  local status=0
  "${run[@]}" "$@" > "$folder/report" 2>&1 || status=$?
  [ "$status" -eq "$reported" ] && grep -q "data race" "$folder/report" && return
  cat "$folder/report"
  echo "race check: $* ended with $status; the sanitizer should have reported a data race ($reported)"
  return 1
}

build race_check -fsanitize=thread &
build without_order -fsanitize=thread -include tests/race_check/without_order.h &
build without_sanitizer &
for job in $(jobs -p); do wait "$job"; done

"${run[@]}" "$folder/race_check" regions
must_report "$folder/race_check" planted-race
must_report "$folder/without_order" regions
"${run[@]}" "$folder/without_sanitizer" forks
echo "race check: no race in the pool; a planted one and a pool without ordering are reported; forked children run"
