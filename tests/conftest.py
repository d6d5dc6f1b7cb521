"""The fixture `backend` - each CPU instruction set in turn - and a clean state around every test."""

from collections.abc import Iterator

import pytest

import minidl
from minidl import _cpu, backends
from requirements import missing

BACKENDS = ["cpu:baseline", "cpu:avx2", "cpu:avx512"]


@pytest.fixture(autouse=True)
def clean_state() -> Iterator[None]:
    """Every test begins with seed 0 and leaves the settings of the kernels as they were."""
    isa, threads, precision = _cpu.isa(), _cpu.thread_count(), minidl.get_float32_matmul_precision()
    minidl.manual_seed(0)
    yield
    _cpu.set_isa(isa)
    _cpu.set_thread_count(threads)
    minidl.set_float32_matmul_precision(precision)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> backends.Backend:
    """A loaded back end; `cpu:avx2` is the CPU with that instruction set forced."""
    name, isa = request.param.split(":")
    if isa not in _cpu.available_isas():
        missing(isa, f"{isa} is not available on this machine, which has {', '.join(_cpu.available_isas())}")
    _cpu.set_isa(isa)
    return backends.load(name)
