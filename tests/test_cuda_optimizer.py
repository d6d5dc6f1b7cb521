"""Optimizer steps and clipping in CUDA beyond one launch and one block, aligned and not; counters count once."""

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close
from minidl import _cpu
from minidl.backends import Backend

Array = np.ndarray

pytestmark = pytest.mark.parametrize("backend", ["cuda:emulated", "cuda:gpu"], indirect=True)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
each_offset = pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "unaligned"])
# More segments than a launch takes; several blocks; nothing to step; first nothing to step
GROUPS = [[7, 0, 1] * 45, [5003, 0, 1031, 4], [0, 0], [0, 5]]
GROUP_NAMES = ["many", "long", "empty", "empty first"]
# kernel: states that there may be, those kept, counters, scalars
STEPS = {
    "sgd_step": (1, 1, 1, (0.3, True, False)),
    "adam_step": (3, 3, 1, (0.99, 1e-8, False, False)),
    "adagrad_step": (1, 1, 1, (0.1, 1e-10, False)),
    "rmsprop_step": (3, 2, 1, (0.9, 1e-8, True)),
    "adadelta_step": (2, 2, 1, (0.9, 1e-6, False)),
    "adamax_step": (2, 2, 1, (0.999, 1e-8, False)),
    "nadam_step": (2, 2, 2, (0.999, 1e-8, 4e-3, True, False)),
    "radam_step": (2, 2, 1, (0.9, 1e-8, True, False)),
}


def placed(array: Array, offset: int) -> Array:
    """A copy that begins so many elements behind a 64-byte boundary."""
    memory = np.full(array.size + 64 // array.itemsize + offset, 7, array.dtype)
    begin = -memory.ctypes.data % 64 // memory.itemsize + offset
    view = memory[begin : begin + array.size]
    view[...] = array
    return view


def make(sizes: list[int], dtype: type, offset: int, seed: int) -> list[Array]:
    random = np.random.default_rng(seed)
    return [placed(random.standard_normal(size).astype(dtype), offset) for size in sizes]


@each_dtype
@each_offset
@pytest.mark.parametrize("sizes", GROUPS, ids=GROUP_NAMES)
@pytest.mark.parametrize("name", STEPS)
def test_steps_equal_the_cpus(name: str, sizes: list[int], offset: int, dtype: type, backend: Backend) -> None:
    all_states, kept, all_counters, scalars = STEPS[name]
    schedule = np.array([0.01, 0.9, 0.1])
    results = []
    for kernels, place in [(_cpu, 0), (backend.kernels, offset)]:
        params = make(sizes, dtype, place, 0)
        states = [
            [placed(np.zeros(size, dtype), place) for size in sizes] if k < kept else [] for k in range(all_states)
        ]
        counters = [[np.full(1, float(k == 1)) for _ in sizes] for k in range(all_counters)]
        for step in range(3):
            getattr(kernels, name)(params, make(sizes, dtype, place, step + 1), states, counters, schedule, *scalars)
        results.append((params, counters))
    for i, (expected, actual) in enumerate(zip(results[0][0], results[1][0], strict=True)):
        assert_close(actual, expected.astype(np.float64), 64, f"parameter {i}", np.abs(expected) + 0.1)
    for expected, actual in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-14)
    assert all(count[0] == 3 for count in results[1][1][0])


@each_dtype
@each_offset
@pytest.mark.parametrize("sizes", [*GROUPS, []], ids=[*GROUP_NAMES, "no segments"])
def test_clipping_equals_the_cpus(sizes: list[int], offset: int, dtype: type, backend: Backend) -> None:
    grads = make(sizes, dtype, offset, 0)
    out = np.full(1, np.nan)
    backend.kernels.squared_norm(grads, out)
    np.testing.assert_allclose(out[0], sum(float((g.astype(np.float64) ** 2).sum()) for g in grads), rtol=1e-14)
    for max_norm in (0.5, 1e9):
        expected = make(sizes, dtype, 0, 0)
        _cpu.scale_gradients(expected, out, max_norm)
        backend.kernels.scale_gradients(grads, out, max_norm)
        for i, (a, e) in enumerate(zip(grads, expected, strict=True)):
            assert_bitwise_equal(a, e, f"gradient {i} scaled to {max_norm}")
        grads = make(sizes, dtype, offset, 0)
