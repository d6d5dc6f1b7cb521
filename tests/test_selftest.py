"""`minidl selftest`: it checks every kernel, and notices one that is wrong."""

import numpy as np
import pytest

from minidl import _cpu, selftest

FAULTS = {
    "one element off": lambda x, out: np.copyto(out, np.maximum(x, 0) + (np.arange(x.size) == 7)),
    "a gap": lambda x, out: np.copyto(out[:-1], np.maximum(x, 0)[:-1]),
    "a small error everywhere": lambda x, out: np.copyto(out, np.maximum(x, 0) * (1 + 3e-6)),
}


@pytest.mark.parametrize("dtype", selftest.DTYPES)
def test_every_kernel_agrees_with_numpy(backend, dtype):
    for kernel in _cpu.kernel_names:
        result = selftest.check_kernel(kernel, _cpu.isa(), dtype, backend.kernels)
        assert not result.failure, result


def test_checks_name_only_kernels_that_exist():
    assert set(selftest.CHECKS) == set(_cpu.kernel_names)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_kernel_is_noticed(fault, monkeypatch):
    monkeypatch.setattr(_cpu, "relu_forward", FAULTS[fault])
    result = selftest.check_kernel("relu_forward", "avx2", "float32")
    assert result.worst > 1
    assert "output 0" in result.failure


def test_a_kernel_without_a_check_fails():
    assert selftest.check_kernel("unheard_of", "avx2", "float32").failure == "has no check"


def test_the_instruction_set_in_use_is_kept():
    _cpu.set_isa("baseline")
    results = list(selftest.run())
    assert _cpu.isa() == "baseline"
    assert len(results) == len(_cpu.kernel_names) * len(_cpu.available_isas()) * 2
