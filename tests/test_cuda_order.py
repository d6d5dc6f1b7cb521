"""Every CUDA kernel gives the same bits in whatever order its blocks, warps and lanes run."""

import numpy as np
import pytest

import device_arrays
from minidl.selftest import CHECKS
from minidl.selftest.check import Inputs

ORDERS = ("forward", "reverse", "random:1", "random:2")


def outputs(kernel: str) -> list[bytes]:
    """What the calls of the kernel's self-test leave in their outputs."""
    results = []
    for make in CHECKS[kernel]:
        for call in make(Inputs("float32")):
            getattr(device_arrays.emulated_module(), kernel)(*call.arguments)
            results += [expected.out.tobytes() for expected in call.expected]
    return results


@pytest.mark.parametrize("kernel", CHECKS, ids=lambda kernel: f"emulated-{kernel}")
def test_result_does_not_depend_on_the_order_of_threads(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    with np.errstate(all="ignore"):
        for order in ORDERS:
            monkeypatch.setenv("CUDA_EMULATOR_ORDER", order)
            results.append(outputs(kernel))
    assert len(results[0]) > 0
    assert results == [results[0]] * len(ORDERS)
