#!/usr/bin/env bash
# Runs the installed package as on older processors, which qemu's user mode emulates: it must import, choose their
# instruction set, pass the self-test and learn. Usage: older_cpus.sh PYTHON FOLDER_FOR_OUTPUTS
set -euo pipefail
python=$(realpath --no-symlinks "$1")
cd "$2"

if ! command -v qemu-x86_64 > /dev/null; then
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq qemu-user; } > qemu.log 2>&1 || cat qemu.log
fi
if ! command -v qemu-x86_64 > /dev/null; then
  echo "older CPUs: qemu-x86_64 is missing and could not be installed (Debian and Ubuntu: apt-get install qemu-user)"
  exit 1
fi

# Emulated CPUs lack a few features of the real ones, which qemu warns of at each start. NumPy's OpenBLAS is told which
# one it is on: on a Zen 5 it takes the emulated Nehalem for a newer one.
emulated() {
  OPENBLAS_CORETYPE=$cpu timeout 600 qemu-x86_64 -cpu "$cpu" "$python" "$@" \
    2> >(grep -v "TCG doesn't support requested feature" >&2)
}

check_cpu() {
  local cpu=$1 isa=$2 start=$SECONDS found
  found=$(emulated -c 'from minidl import _cpu; print(*_cpu.available_isas())')
  if [ "$found" != "$isa" ]; then
    echo "older CPUs: $cpu should have the kernels '$isa', got '$found' ($(qemu-x86_64 --version | head -1); AVX2 needs 7.2)"
    return 1
  fi
  emulated "$(dirname "$python")/minidl" selftest > "$cpu.log" || { cat "$cpu.log"; return 1; }
  tail -1 "$cpu.log"
  emulated "$(dirname "$python")/minidl" train --dataset digits --epochs 2 --quiet --record "$cpu.json" \
    --checkpoint "$cpu.safetensors" --plot "$cpu.png" | head -1 | cut -d, -f1
  "$python" -c 'import json, sys; sys.exit(json.load(open(sys.argv[1]))["test_accuracy"] < 0.9)' "$cpu.json" ||
    { echo "older CPUs: the network did not learn on $cpu"; return 1; }
  echo "older CPUs: $cpu ($isa): $((SECONDS - start)) s"
}

check_cpu Nehalem "baseline"
check_cpu Haswell "avx2 baseline"
