"""Runs the kernels of minidl._cuda_emulated on small arrays, for the thread sanitizer to watch the emulated threads.

Usage: race_check.py [KERNEL...]. The module has to be built with -DMINIDL_SANITIZE=thread, and the sanitizer's library
preloaded (.ci/run). The first race ends the program with the sanitizer's report.
"""

import sys
import time

import numpy as np

from minidl import _cuda_emulated
from minidl.selftest import CHECKS, check_kernel


def replay_joined_calls(dtype: str) -> str:
    """Replays the end of a classifier, which becomes one call; what is wrong with that, or nothing."""
    rows, features, classes = 9, 70, 5
    random = np.random.default_rng(0)
    x, weight, bias = (
        random.standard_normal(n).astype(dtype) for n in ((rows, features), (classes, features), classes)
    )
    labels = random.integers(0, classes, rows)
    outs = logits, loss, grad_logits, grad_x = [
        np.empty(n, dtype) for n in ((rows, classes), (), (rows, classes), x.shape)
    ]

    def step() -> list[bytes]:
        _cuda_emulated.linear_forward(x, weight, bias, logits, 0)
        _cuda_emulated.cross_entropy_forward(logits, labels, None, loss, grad_logits)
        _cuda_emulated.linear_backward_input(grad_logits, weight, grad_x, x, 1)
        return [out.tobytes() for out in outs]

    plan = _cuda_emulated.Plan()
    plan.begin_trace()
    wanted = step()
    plan.end()
    plan.begin_recording([])
    step()
    plan.end()
    for out in outs:
        out.fill(np.nan)
    plan.replay([])
    if len(plan) != 1:
        return f"{len(plan)} calls in place of one"
    return "" if [out.tobytes() for out in outs] == wanted else "other results in a replay"


def main(kernels: list[str]) -> None:
    """Checks each kernel in both number types; the exit status is 1 where a result is wrong."""
    wrong, begin = 0, time.perf_counter()
    for dtype in ("float32", "float64"):
        if failure := replay_joined_calls(dtype):
            wrong += 1
            print(f"joined calls, {dtype}: {failure}", flush=True)
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
