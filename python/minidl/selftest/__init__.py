"""Checks every kernel of the installed binary on this machine against NumPy in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import _cpu, backends
from minidl.host_arrays import CopyingKernels
from minidl.selftest import elementwise, optimizer, randomness, reduction, regularization
from minidl.selftest.check import Checks, Inputs

DTYPES = ("float32", "float64")
CHECKS: Checks = {
    **elementwise.CHECKS,
    **reduction.CHECKS,
    **randomness.CHECKS,
    **optimizer.CHECKS,
    **regularization.CHECKS,
}


@dataclass(frozen=True)
class Result:
    """How one kernel did: the worst error as a part of what is allowed (1 is the limit), and what failed in words.

    ``isa`` is the instruction set, or "cuda".
    """

    kernel: str
    isa: str
    dtype: str
    worst: float
    failure: str = ""


def run() -> Iterator[Result]:
    """Runs the checks with every instruction set of this machine, and on its GPU if it has one that can be used, in
    float32 and float64; settings are kept."""
    before, precision = _cpu.isa(), backends.get_float32_matmul_precision()
    backends.set_float32_matmul_precision("highest")
    try:
        for isa in _cpu.available_isas():
            _cpu.set_isa(isa)
            for dtype in DTYPES:
                for kernel in _cpu.kernel_names:
                    yield check_kernel(kernel, isa, dtype)
        if not backends.why_no_cuda():
            kernels = CopyingKernels(backends.cuda_module())
            for dtype in DTYPES:
                for kernel in _cpu.kernel_names:
                    yield check_kernel(kernel, "cuda", dtype, kernels)
    finally:
        _cpu.set_isa(before)
        backends.set_float32_matmul_precision(precision)


def check_kernel(kernel: str, isa: str, dtype: str, kernels: Any = _cpu) -> Result:
    """Runs the checks of one kernel, on the CPU with the instruction set that is active."""
    if kernel not in CHECKS:
        return Result(kernel, isa, dtype, np.inf, "has no check")
    worst, failure = 0.0, ""
    for make in CHECKS[kernel]:
        for call in make(Inputs(dtype)):
            getattr(kernels, kernel)(*call.arguments)
            for position, expected in enumerate(call.expected):
                error = expected.worst_error()
                share = error / expected.epsilons if expected.epsilons else (np.inf if error else 0.0)
                worst = max(worst, share)
                if share > 1 and not failure:
                    shapes = ", ".join(str(a.shape) for a in call.arguments if isinstance(a, np.ndarray))
                    failure = (
                        f"output {position}: {error:.3g} units off, {expected.epsilons:g} allowed, arrays {shapes}"
                    )
    return Result(kernel, isa, dtype, worst, failure)
