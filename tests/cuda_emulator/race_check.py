"""Runs the kernels of minidl._cuda_emulated on small arrays, for the thread sanitizer to watch the emulated threads.

Usage: race_check.py [KERNEL...]. The module has to be built with -DMINIDL_SANITIZE=thread, and the sanitizer's library
preloaded (.ci/run). The first race ends the program with the sanitizer's report.
"""

import sys
import time

import numpy as np

from minidl import _cuda_emulated
from minidl.selftest import CHECKS, check_kernel


def main(kernels: list[str]) -> None:
    """Checks each kernel in both number types; the exit status is 1 where a result is wrong."""
    wrong, begin = 0, time.perf_counter()
    with np.errstate(all="ignore"):
        for kernel in kernels:
            for dtype in ("float32", "float64"):
                result = check_kernel(kernel, "cuda_emulated", dtype, _cuda_emulated)
                wrong += bool(result.failure)
                if result.failure:
                    print(f"{kernel} {dtype}: {result.failure}", flush=True)
    print(f"race check: {len(kernels)} kernels, {wrong} wrong results, {time.perf_counter() - begin:.0f} s")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(sys.argv[1:] or list(CHECKS))
