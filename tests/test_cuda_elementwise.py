"""Elementwise CUDA kernels where the launch differs: wide and single accesses, broadcast packs, splits, in place."""

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close, scale_with_lost
from minidl import _cpu
from minidl.backends import Backend

Array = np.ndarray
DTYPES = [np.float32, np.float64]

pytestmark = pytest.mark.parametrize("backend", ["cuda:emulated", "cuda:gpu"], indirect=True)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
each_offset = pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "unaligned"])


def placed(array: Array, offset: int) -> Array:
    """A copy that begins so many elements behind a 64-byte boundary."""
    memory = np.full(array.size + 64 // array.itemsize + offset, 7, array.dtype)
    begin = -memory.ctypes.data % 64 // memory.itemsize + offset
    view = memory[begin : begin + array.size].reshape(array.shape)
    view[...] = array
    return view


def empty(shape: tuple, dtype: type, offset: int) -> Array:
    return placed(np.full(shape, 7, dtype), offset)


def spread(shape: tuple, dtype: type, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0.5, 2, shape).astype(dtype)


@each_dtype
@each_offset
@pytest.mark.parametrize("size", [1, 5, 511, 1023, 1024, 1029, 4096, 10_007])
def test_maps_reach_every_element_and_no_other(size: int, offset: int, dtype: type, backend: Backend) -> None:
    x, y = (placed(spread((size,), dtype, seed), offset) for seed in range(2))
    memory = np.full(size + 128, 7, dtype)
    begin = 32 + -memory.ctypes.data % 64 // memory.itemsize + offset
    out = memory[begin : begin + size]
    for kernel, expected in [("square", x * x), ("negative", -x)]:
        getattr(backend.kernels, f"{kernel}_forward")(x, out)
        assert_bitwise_equal(out, expected, kernel)
    backend.kernels.multiply_forward(x, y, out)
    assert_bitwise_equal(out, x * y, "product")
    backend.kernels.relu_backward(x - 1, y, out)
    assert_bitwise_equal(out, np.where(x > 1, y, 0).astype(dtype), "gradient")
    backend.kernels.fill(out, 3)
    assert (out == 3).all()
    assert (memory[:begin] == 7).all()
    assert (memory[begin + size :] == 7).all()


@each_dtype
def test_one_misaligned_operand_is_enough_for_single_accesses(dtype: type, backend: Backend) -> None:
    values = spread((3, 1029), dtype)
    for offsets in [(1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        a, b, out = (placed(row, offset) for row, offset in zip(values, offsets, strict=True))
        backend.kernels.add_forward(a, b, out)
        assert_bitwise_equal(out, a + b, f"offsets {offsets}")


# Row lengths that divide into packs and that do not, several blocks, and up to five dimensions that do not merge.
BROADCASTS = [
    ((1031,), ()),
    ((), (1032,)),
    ((300, 64), (64,)),
    ((300, 64), (300, 1)),
    ((300, 1), (1, 64)),
    ((300, 10), (10,)),
    ((5, 7, 8, 12), (7, 1, 12)),
    ((5, 1, 8, 1), (7, 1, 12)),
    ((2, 3, 2, 3, 2, 4), (3, 1, 3, 1, 4)),
]


@each_dtype
@each_offset
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
def test_broadcast_operands_equal_numpys(shapes: tuple, offset: int, dtype: type, backend: Backend) -> None:
    a, b = (placed(spread(shape, dtype, seed), offset) for seed, shape in enumerate(shapes))
    expected = np.asarray(a - b)
    out = empty(expected.shape, dtype, 0)
    backend.kernels.subtract_forward(a, b, out)
    assert_bitwise_equal(out, expected, f"difference of {shapes}")
    for condition in (expected > 0, np.asarray(True), expected[..., :1] > 0):
        backend.kernels.where_forward(placed(condition, offset), a, b, out)
        assert_bitwise_equal(out, np.asarray(np.where(condition, a, b)), f"where of {shapes}")


@each_dtype
def test_operands_of_every_stride_equal_numpys(dtype: type, backend: Backend) -> None:
    x = spread((6, 40, 48), dtype)
    views = [x, x[:, ::-1], x[..., ::-1], x[:, ::2].repeat(2, 1), x[::-1], np.broadcast_to(x[:1], x.shape)]
    views += [np.broadcast_to(x[..., :1], x.shape), spread((48, 40, 6), dtype).T, spread((6, 40, 96), dtype)[..., ::2]]
    for view in views:
        out = np.empty(x.shape, dtype)
        backend.kernels.add_forward(view, x, out)
        assert_bitwise_equal(out, view + x, f"strides {view.strides}")
        backend.kernels.copy_strided(view, out)
        assert_bitwise_equal(out, np.ascontiguousarray(view), f"copy of strides {view.strides}")


@each_dtype
def test_outputs_may_be_their_inputs(dtype: type, backend: Backend) -> None:
    x, row = spread((50, 36), dtype), spread((36,), dtype, 1)
    expected = x + row
    backend.kernels.add_forward(x, row, x)
    assert_bitwise_equal(x, expected, "sum in place")
    y = spread((1031,), dtype)
    expected = y + dtype(0.5) * spread((1031,), dtype, 1)
    backend.kernels.add_scaled(spread((1031,), dtype, 1), y, 0.5)
    assert_close(y, expected, 1, "scaled sum")


@each_dtype
@each_offset
@pytest.mark.parametrize(
    "shape", [(32, 32), (3, 64, 96), (1, 33), (33, 1), (2, 100, 7), (2, 8, 100), (70, 257)], ids=str
)
def test_transposes_of_every_tile_are_exact(shape: tuple, offset: int, dtype: type, backend: Backend) -> None:
    x = placed(spread(shape, dtype), offset)
    swapped = x.swapaxes(-1, -2)
    out = empty(swapped.shape, dtype, offset)
    backend.kernels.transpose(x, out)
    np.testing.assert_array_equal(out, swapped)
    out = empty(swapped.shape, dtype, offset)
    backend.kernels.copy_strided(swapped, out)
    np.testing.assert_array_equal(out, swapped)


@each_dtype
def test_images_change_the_place_of_their_channels(dtype: type, backend: Backend) -> None:
    for shape in [(3, 16, 9, 12), (2, 3, 20, 20), (2, 2, 3, 40, 24)]:
        x = spread(shape, dtype)
        for view in (np.moveaxis(x, 1, -1), np.moveaxis(x, -1, 1), x.swapaxes(-1, -2), x.swapaxes(1, 2)):
            out = np.empty(view.shape, dtype)
            backend.kernels.copy_strided(view, out)
            assert_bitwise_equal(out, np.ascontiguousarray(view), f"{shape} as {view.shape}")


@each_dtype
@pytest.mark.parametrize("columns", [1, 3, 4, 28, 784])
@pytest.mark.parametrize("offset", [0, 1, 4])
def test_gathered_rows_equal_numpys(columns: int, offset: int, dtype: type, backend: Backend) -> None:
    random = np.random.default_rng(columns)
    index = random.integers(-1, 51, 300)
    is_inside = ((index >= 0) & (index < 50))[:, None]
    x = placed(random.standard_normal((50, columns)).astype(dtype), offset)
    pixels = placed(random.integers(0, 256, (50, columns)).astype(np.uint8), offset)
    out = empty((300, columns), dtype, offset % 4)
    backend.kernels.gather_rows(x, index, out)
    assert_bitwise_equal(out, np.where(is_inside, x[index.clip(0, 49)], dtype(np.nan)), "rows")
    backend.kernels.gather_rows_uint8(pixels, index, out, 1 / 255, -0.1307)
    exact = np.where(is_inside, pixels[index.clip(0, 49)] / 255 - 0.1307, np.nan)
    assert_close(out, exact, 0.51 if dtype == np.float32 else 2, "pixels", np.maximum(np.abs(exact), 0.1))


def test_gathered_labels_equal_numpys(backend: Backend) -> None:
    index = np.random.default_rng(0).integers(-2, 22, 1000)
    labels, out = np.arange(100, 120), np.full(1000, 7)
    backend.kernels.gather_labels(labels, index, out)
    np.testing.assert_array_equal(out, np.where((index >= 0) & (index < 20), labels[index.clip(0, 19)], -1))


def test_nothing_to_gather_or_move_is_no_work(backend: Backend) -> None:
    for rows, columns in [(0, 4), (5, 0)]:
        backend.kernels.gather_rows(np.ones((3, columns)), np.zeros(rows, np.int64), np.empty((rows, columns)))
    for shape in [(0, 8, 8), (2, 0, 8), (2, 8, 0)]:
        backend.kernels.transpose(np.empty(shape), np.empty((shape[0], shape[2], shape[1])))
        backend.kernels.copy_strided(np.empty(shape).swapaxes(1, 2), np.empty((shape[0], shape[2], shape[1])))


# Sums within one block and split among several, by packs and by elements, in strips of channels and row by row.
PRELU_SHAPES = [(0, 5), (3, 5, 0), (1, 1), (70_001, 1), (5000, 70), (40, 1031), (3, 3, 30_000), (64, 10, 49), (9, 2, 4)]


@each_dtype
@each_offset
@pytest.mark.parametrize("shape", PRELU_SHAPES, ids=str)
@pytest.mark.parametrize("is_shared", [False, True], ids=["slope per channel", "one slope"])
def test_prelu_equals_numpy(is_shared: bool, shape: tuple, offset: int, dtype: type, backend: Backend) -> None:
    random = np.random.default_rng(5)
    x, grad_out = (placed(random.standard_normal(shape).astype(dtype), offset) for _ in range(2))
    weight = random.uniform(-1, 1, 1 if is_shared else shape[1]).astype(dtype)
    slopes = weight.reshape(-1, *(1,) * (len(shape) - 2))
    axes = tuple(d for d in range(len(shape)) if is_shared or d != 1)
    terms = np.where(x > 0, 0, grad_out.astype(np.float64) * x)
    grad_weights = []
    for _ in range(2):
        out, grad_x, grad_weight = empty(shape, dtype, offset), empty(shape, dtype, offset), np.full_like(weight, 7)
        backend.kernels.prelu_forward(x, weight, out)
        backend.kernels.prelu_backward(x, weight, grad_out, grad_x, grad_weight)
        assert_bitwise_equal(out, np.where(x > 0, x, slopes * x), "out")
        assert_bitwise_equal(grad_x, np.where(x > 0, grad_out, slopes * grad_out), "grad_x")
        scale = np.abs(terms).sum(axes).reshape(weight.shape)
        assert_close(grad_weight, terms.sum(axes).reshape(weight.shape), 2, "grad_weight", scale)
        grad_weights.append(grad_weight)
    assert_bitwise_equal(grad_weights[0], grad_weights[1], "two runs")


# Every activation at its limits: both infinities, nan, zeros, denormal and huge numbers, as the CPU has them.
SCALARS = {"leaky_relu": (0.1,), "elu": (1.5,), "celu": (1.5,), "softplus": (2.0, 20.0), "hardtanh": (-1.0, 2.0)}
ACTIVATIONS = [
    "relu",
    "sigmoid",
    "tanh",
    "selu",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "softsign",
    "logsigmoid",
    *SCALARS,
]


@each_dtype
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_equal_the_cpus(name: str, dtype: type, backend: Backend) -> None:
    limits = np.finfo(dtype)
    extremes = [0.0, limits.smallest_subnormal, limits.tiny, 1e-6, 1, 5, 12, 40, 90, 800, 1e30, limits.max, np.inf]
    x = np.array([*extremes, *(-value for value in extremes), np.nan, *np.linspace(-6, 6, 2000)], dtype)
    grad_out = spread(x.shape, dtype)
    saved = x
    if name in ("sigmoid", "tanh", "relu"):
        saved = np.empty_like(x)
        getattr(_cpu, f"{name}_forward")(x, saved)
    results = []
    for kernels in (backend.kernels, _cpu):
        out, grad_x = np.empty_like(x), np.empty_like(x)
        getattr(kernels, f"{name}_forward")(x, out, *SCALARS.get(name, ()))
        getattr(kernels, f"{name}_backward")(saved, grad_out, grad_x, *SCALARS.get(name, ()))
        results.append((out, grad_x))
    for what, actual, expected in zip(("out", "grad_x"), *results, strict=True):
        # Slopes that cross 0 are exact relative to their terms; tails of gelu_tanh magnify its argument's rounding. On
        # the CPU silu and mish are 0 where e^x is denormal, and may lose |x| < 800 of the smallest normal numbers.
        magnitude = np.maximum(np.abs(expected.astype(np.float64)), np.abs(grad_out) if what == "grad_x" else 0)
        rounding = 64 if name == "gelu_tanh" else 16
        magnitude = scale_with_lost(magnitude, 800 if name in ("silu", "mish") else 0, dtype, rounding)
        assert_close(actual, expected.astype(np.float64), rounding, f"{name}'s {what}", magnitude)
