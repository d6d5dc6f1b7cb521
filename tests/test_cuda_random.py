"""Random numbers of the CUDA kernels: the CPU's, bit for bit, for every size and alignment."""

import numpy as np
import pytest

from comparison import assert_bitwise_equal
from minidl import _cpu
from minidl.backends import Backend

Array = np.ndarray
DTYPES = [np.float32, np.float64]
TICKET = np.array([-5, 2**40 + 3])
# Edges of words, groups and thread blocks; the last is enough for dropout's wide accesses.
SIZES = [0, 1, 17, 63, 64, 129, 2047, 8193, 70001, 600_003]
DRAWS = {
    "uniform": (-1.3, 2.9),
    "normal": (0.3, 1.7),
    "bernoulli": (0.3,),
    "random_bits": (),
    "randint": (-5, 1000),
    "permutation": (),
}
# Each kernel with what it draws.
DRAWN = [(kernel, dtype) for kernel in ("uniform", "normal", "bernoulli") for dtype in DTYPES]
DRAWN += [(kernel, np.int64) for kernel in ("random_bits", "randint", "permutation")]

on_cuda = pytest.mark.parametrize("backend", ["cuda:emulated", "cuda:gpu"], indirect=True)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def guarded(size: int, offset: int, dtype: type) -> tuple[Array, Array]:
    """Memory full of sevens, and size elements of it: 16-byte aligned with offset 0."""
    memory = np.full(size + 64, 7, dtype)
    begin = -memory.ctypes.data % 64 // memory.itemsize + offset
    return memory, memory[begin : begin + size]


def assert_rest_untouched(memory: Array, out: Array) -> None:
    begin = (out.ctypes.data - memory.ctypes.data) // memory.itemsize
    assert (memory[:begin] == 7).all()
    assert (memory[begin + out.size :] == 7).all()


@on_cuda
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize(("kernel", "dtype"), DRAWN)
def test_draws_have_the_bits_of_the_cpus(kernel: str, offset: int, dtype: type, backend: Backend) -> None:
    for size in SIZES[:-1]:
        memory, out = guarded(size, offset, dtype)
        getattr(backend.kernels, kernel)(TICKET, out, *DRAWS[kernel])
        expected = np.empty_like(out)
        getattr(_cpu, kernel)(TICKET, expected, *DRAWS[kernel])
        assert_bitwise_equal(out, expected, f"{kernel} of {size}")
        assert_rest_untouched(memory, out)


@on_cuda
@each_dtype
@pytest.mark.parametrize("offset", [0, 1])
def test_dropout_has_the_bits_of_the_cpus(offset: int, dtype: type, backend: Backend) -> None:
    for size in SIZES:
        x = np.random.default_rng(size).standard_normal(size).astype(dtype)
        for p in (0.0, 0.3, 1.0) if size < 10_000 else (0.3,):
            memory, out = guarded(size, offset, dtype)
            out[:] = x
            backend.kernels.dropout_forward(out, TICKET, out, p)  # in place
            expected = np.empty_like(x)
            _cpu.dropout_forward(x, TICKET, expected, p)
            assert_bitwise_equal(out, expected, f"dropout of {size} with p {p}")
            assert_rest_untouched(memory, out)
