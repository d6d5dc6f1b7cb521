"""Runs every kernel of minidl._cuda_emulated on small arrays, for the thread sanitizer to watch its emulated threads.

The module has to be built with -DMINIDL_SANITIZE=thread, and the sanitizer's library preloaded (.ci/run). The first
race ends the program with the sanitizer's report.
"""

import sys
import time

import numpy as np

from minidl import _cuda_emulated
from minidl.selftest import CHECKS, check_kernel


def main() -> None:
    """Checks each kernel in both number types; the number of wrong results is the exit status."""
    wrong = 0
    with np.errstate(all="ignore"):
        for kernel in CHECKS:
            for dtype in ("float32", "float64"):
                begin = time.perf_counter()
                result = check_kernel(kernel, "cuda_emulated", dtype, _cuda_emulated)
                wrong += bool(result.failure)
                if result.failure or "--times" in sys.argv:
                    print(f"{kernel} {dtype}: {time.perf_counter() - begin:.2f} s {result.failure}", flush=True)
    print(f"race check: {len(CHECKS)} kernels, {wrong} wrong results")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
