"""Batch norm and layer norm in CUDA where the launch differs: columns or planes, a warp or a block for a channel, in
registers or as a stream shared by several blocks, by vectors or by elements."""

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close
from minidl import _cpu
from minidl.backends import Backend

Array = np.ndarray

pytestmark = pytest.mark.parametrize("backend", ["cuda:emulated", "cuda:gpu"], indirect=True)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
each_offset = pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "unaligned"])
SHAPES = [
    (128, 16),  # columns in registers, one pack for each thread
    (129, 8),  # two of them
    (515, 10),  # in single elements
    (1031, 12),  # a stream, shared by blocks
    (1031, 7),
    (70, 2200, 2),  # a warp for a channel
    (2, 3, 132),  # planes in registers
    (3, 5, 7, 7),
    (9, 2, 4100),  # planes as a stream, shared by blocks
    (9, 2, 4101),
    (40, 1),  # one channel
]
TICKET = np.array([42, 7], np.int64)


def placed(array: Array, offset: int) -> Array:
    """A copy that begins so many elements behind a 64-byte boundary."""
    memory = np.full(array.size + 64 // array.itemsize + offset, 7, array.dtype)
    begin = -memory.ctypes.data % 64 // memory.itemsize + offset
    view = memory[begin : begin + array.size].reshape(array.shape)
    view[...] = array
    return view


def batch_norm(kernels: object, x: Array, grad_out: Array, p: float, offset: int) -> list[Array]:
    """Output, mean, inv_std, running statistics and the gradients, after relu and dropout."""
    channels, dtype = x.shape[1], x.dtype
    vectors = [np.linspace(0.5, 2, channels), np.linspace(-1, 2, channels), np.zeros(channels), np.ones(channels)]
    weight, bias, running_mean, running_var = (placed(v.astype(dtype), offset) for v in vectors)
    mean, inv_std, grad_weight, grad_bias = (placed(np.full(channels, np.nan, dtype), offset) for _ in range(4))
    x, grad_out = placed(x, offset), placed(grad_out, offset)
    out, grad_x = placed(np.full_like(x, np.nan), offset), placed(np.full_like(x, np.nan), offset)
    statistics = (running_mean, running_var, out, mean, inv_std)
    kernels.batch_norm_forward_training(x, weight, bias, *statistics, 0.1, 1e-5, kernels.Activation.relu, TICKET, p)
    grads = (grad_x, grad_weight, grad_bias)
    kernels.batch_norm_backward(x, weight, mean, inv_std, grad_out, *grads, out, 65536 / round((1 - p) * 65536))
    return [out, mean, inv_std, running_mean, running_var, *grads]


def inputs(shape: tuple, dtype: type) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    return (random.standard_normal(shape) * 2 + 5).astype(dtype), random.standard_normal(shape).astype(dtype)


@each_dtype
@each_offset
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_equals_the_cpus(shape: tuple, offset: int, dtype: type, backend: Backend) -> None:
    x, grad_out = inputs(shape, dtype)
    expected = batch_norm(_cpu, x, grad_out, 0.25, 0)
    actual = batch_norm(backend.kernels, x, grad_out, 0.25, offset)
    np.testing.assert_array_equal(actual[0] == 0, expected[0] == 0)
    count = x.size // shape[1]
    magnitudes = [8.0, 8.0, 0.0, 4.0, 4.0, 8.0, 4 * np.sqrt(count), 4 * np.sqrt(count)]
    for i, (a, e, magnitude) in enumerate(zip(actual, expected, magnitudes, strict=True)):
        assert_close(a, e.astype(np.float64), 32, f"result {i}", np.abs(e) + magnitude)


@each_dtype
@pytest.mark.parametrize("shape", [(130, 16), (2100, 12), (9, 2, 4100), (2100, 3, 5)], ids=str)
def test_a_large_mean_does_not_cancel(shape: tuple, dtype: type, backend: Backend) -> None:
    offset = 4096.0 if dtype == np.float32 else 1e10
    x = (np.random.default_rng(0).integers(0, 4, shape) + offset).astype(dtype)
    axes = (0, *range(2, x.ndim))
    exact = (x.astype(np.longdouble) - offset).var(axes).astype(float)
    inv_std = batch_norm(backend.kernels, x, x, 0.25, 0)[2]
    assert_close(inv_std, 1 / np.sqrt(exact + 1e-5), 4, "inv_std")


@each_dtype
@pytest.mark.parametrize("shape", [(64, 8), (2100, 12), (9, 2, 4100)], ids=str)
def test_nan_stays_in_its_channel(shape: tuple, dtype: type, backend: Backend) -> None:
    x, grad_out = inputs(shape, dtype)
    x[-1, 1] = np.nan
    for result in batch_norm(backend.kernels, x, grad_out, 0.25, 0)[1:5]:
        assert np.isnan(result).tolist() == [c == 1 for c in range(shape[1])]


@each_dtype
def test_gradients_over_nothing_are_zero(dtype: type, backend: Backend) -> None:
    x, ones = np.empty((0, 5), dtype), np.ones(5, dtype)
    grad_weight, grad_bias = np.full(5, 7, dtype), np.full(5, 7, dtype)
    backend.kernels.batch_norm_backward(x, ones, ones, ones, x, x.copy(), grad_weight, grad_bias)
    assert not grad_weight.any()
    assert not grad_bias.any()


@each_dtype
@each_offset
@pytest.mark.parametrize("shape", [(5, 36), (1100, 36), (3, 1000), (2, 20_001), (2, 20_000), (7, 1)], ids=str)
def test_layer_norm_equals_the_cpus(shape: tuple, offset: int, dtype: type, backend: Backend) -> None:
    rows, columns = shape
    x, grad_out = inputs(shape, dtype)
    results = []
    for kernels, place in [(_cpu, 0), (backend.kernels, offset)]:
        weight, bias = (placed(np.linspace(low, 2, columns).astype(dtype), place) for low in (0.5, -1))
        empty = [placed(np.full(size, np.nan, dtype), place) for size in (shape, rows, rows, shape, columns, columns)]
        placed_x = placed(x, place)
        kernels.layer_norm_forward(placed_x, weight, bias, *empty[:3], 1e-5)
        kernels.layer_norm_backward(placed_x, weight, *empty[1:3], placed(grad_out, place), *empty[3:])
        results.append(empty)
    magnitudes = [8.0, 8.0, 0.0, 8.0, 4 * np.sqrt(rows), 4 * np.sqrt(rows)]
    for i, (e, a, magnitude) in enumerate(zip(*results, magnitudes, strict=True)):
        assert_close(a, e.astype(np.float64), 32, f"result {i}", np.abs(e) + magnitude)


@pytest.mark.parametrize("shape", [(2100, 12), (9, 2, 4100)], ids=str)
def test_two_runs_are_bit_equal(shape: tuple, backend: Backend) -> None:
    x, grad_out = inputs(shape, np.float32)
    first, second = (batch_norm(backend.kernels, x, grad_out, 0.25, 0) for _ in range(2))
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        assert_bitwise_equal(a, b, f"result {i}")
