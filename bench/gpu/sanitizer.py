"""compute-sanitizer over every kernel at small shapes: accesses out of bounds, and races in shared memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from gpu.log import Figures
from gpu.session import Case, Context, Options, Section

TOOLKIT_PLACE = Path("/usr/local/cuda/bin/compute-sanitizer")
# CuPy's pool rounds sizes up, which would hide an access behind an array's end: every array is allocated by itself.
CHECK = """
import cupy
cupy.cuda.set_allocator(None)
from minidl import backends, selftest
from minidl.host_arrays import CopyingKernels
kernels = CopyingKernels(backends.load("cuda").kernels)
wrong = [result for result in (selftest.check_kernel(name, "cuda", "float32", kernels) for name in selftest.CHECKS)
         if result.failure]
print(len(selftest.CHECKS) - len(wrong), "kernels right,", len(wrong), "wrong", *wrong)
raise SystemExit(1 if wrong else 0)
"""
FOUND = 99  # the exit status asked for where the tool finds something


def find_tool() -> str | None:
    return shutil.which("compute-sanitizer") or (str(TOOLKIT_PLACE) if TOOLKIT_PLACE.exists() else None)


def sanitize(context: Context, tool: str) -> Figures:
    """One tool of compute-sanitizer over the self-test's float32 checks."""
    path = find_tool()
    if path is None:
        return {"skipped": "compute-sanitizer is not on this machine; it comes with the CUDA toolkit"}
    command = [path, "--tool", tool, "--error-exitcode", str(FOUND), sys.executable, "-c", CHECK]
    seconds = context.seconds_left()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"failure": f"not done after {seconds:.0f} s"}
    return judge(done.returncode, done.stdout + done.stderr)


def judge(status: int, text: str) -> Figures:
    """What a run that ended with this status and said this text has found."""
    lines = text.strip().splitlines() or ["no output"]
    summary = next((line.strip("= ") for line in reversed(lines) if "SUMMARY" in line), lines[-1])
    checked = next((line for line in lines if "kernels right" in line), "")
    if status == 0 and checked:
        return {"summary": f"{summary}; {checked}"}
    first = [line.strip("= ") for line in lines if "Invalid" in line or "hazard" in line or "Error" in line][:3]
    return {"failure": " | ".join([summary, *first])}


def cases(options: Options) -> list[Case]:
    return [Case(f"compute-sanitizer {tool}", partial(sanitize, tool=tool)) for tool in ("memcheck", "racecheck")]


SECTION = Section("sanitizer", 55, cases)
