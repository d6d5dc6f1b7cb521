"""Matrix products of the CUDA kernels: every tile, every split of k, aligned or not, and the rounded ones."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close
from minidl import _cpu
from minidl.backends import Backend

Array = np.ndarray
on_cuda = pytest.mark.parametrize("backend", ["cuda:emulated", "cuda:gpu"], indirect=True)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
LAYOUTS = list(itertools.product([False, True], repeat=2))

# m, n, k: one for each thing that the choice of a plan, a tile's edge or a thread's share can do.
SHAPES = [
    (33, 31, 65),  # one small tile and a bit; an odd depth
    (32, 32, 64),  # exactly a small tile and a stage
    (10, 12, 7000),  # a single tile in many splits
    (64, 128, 784),  # a few tiles in splits
    (300, 120, 36),  # some tiles, no split
    (1, 300, 1100),  # a line times a matrix, in splits
    (300, 1, 700),
    (1, 9, 20),
]


def aligned(values: Array, offset: int) -> Array:
    """A copy that begins `offset` elements after a multiple of 64 bytes, between neighbours that are nan."""
    memory = np.full(values.size + 80, np.nan, values.dtype)
    begin = 16 + -memory.ctypes.data % 64 // memory.itemsize + offset
    inner = memory[begin : begin + values.size].reshape(values.shape)
    inner[...] = values
    return inner


def make(*shape: int, dtype: type, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def product(a: Array, b: Array) -> tuple[Array, Array]:
    """a b in float64 and the sum of absolute products, which rounding errors are measured by."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return a @ b, np.abs(a) @ np.abs(b)


@pytest.fixture
def precision(backend: Backend) -> Iterator[None]:
    """Leaves a back end that multiplies in float32."""
    yield
    backend.kernels.set_allows_tf32(False)
    backend.kernels.set_allows_bfloat16(False)


@on_cuda
@each_dtype
@pytest.mark.parametrize("offsets", [(0, 0), (1, 0), (0, 1)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_of_every_plan(
    shape: tuple[int, int, int], offsets: tuple[int, int], dtype: type, backend: Backend
) -> None:
    m, n, k = shape
    a, b = make(m, k, dtype=dtype, seed=1), make(k, n, dtype=dtype, seed=2)
    expected, scale = product(a, b)
    for transpose_a, transpose_b in LAYOUTS:
        out: Array = np.full((m, n), np.nan, dtype)
        left, right = aligned(a.T if transpose_a else a, offsets[0]), aligned(b.T if transpose_b else b, offsets[1])
        backend.kernels.matmul(left, right, out, transpose_a, transpose_b)
        assert_close(out, expected, 4 + k**0.5, f"transposed {transpose_a} {transpose_b}", scale)
        again: Array = np.full((m, n), np.nan, dtype)
        backend.kernels.matmul(left, right, again, transpose_a, transpose_b)
        assert_bitwise_equal(again, out, "the second run")


@on_cuda
@pytest.mark.parametrize("shape", [(1010, 1000, 90), (2010, 2020, 60)], ids=str)
def test_products_in_larger_tiles(shape: tuple[int, int, int], backend: Backend) -> None:
    """Tiles of 64 x 64 and 128 x 128, cut off on both sides."""
    m, n, k = shape
    a, b = make(m, k, dtype=np.float32, seed=1), make(k, n, dtype=np.float32, seed=2)
    expected, scale = product(a, b)
    for transpose_a, transpose_b in LAYOUTS:
        out = np.empty((m, n), np.float32)
        left, right = (x.T.copy() if t else x for x, t in ((a, transpose_a), (b, transpose_b)))
        backend.kernels.matmul(left, right, out, transpose_a, transpose_b)
        assert_close(out, expected, 4 + k**0.5, f"transposed {transpose_a} {transpose_b}", scale)


@on_cuda
@each_dtype
def test_a_batch_repeats_the_factor_without_one(dtype: type, backend: Backend) -> None:
    for m, n, k in [(5, 7, 11), (40, 36, 12), (1, 30, 90), (8, 1, 200)]:
        a, b = make(3, m, k, dtype=dtype, seed=1), make(3, k, n, dtype=dtype, seed=2)
        for left, right in [(a, b), (a[:1], b), (a, b[:1])]:
            before = make(3, m, n, dtype=dtype, seed=3)
            out = before.copy()
            backend.kernels.matmul(left.copy(), right.copy(), out, accumulate=True)
            expected, scale = product(left, right)
            assert_close(out, before + expected, 4 + k**0.5, f"{left.shape} {right.shape}", scale + np.abs(before))


@on_cuda
@each_dtype
@pytest.mark.parametrize("offsets", [(0, 0), (1, 0), (0, 1)], ids=str)
@pytest.mark.parametrize(
    ("rows", "in_features", "out_features"),
    [
        (7, 64, 16),  # a warp for each row on the way there, a thread for each vector on the way back
        (41, 197, 10),
        (9, 1021, 2),
        (9, 1030, 3),  # too many inputs for that on the way there
        (33, 45, 16),  # too few
        (130, 7, 9),
        (2, 65, 17),  # too many outputs for either
        (2, 3, 2),
    ],
)
def test_layers_of_few_outputs(
    rows: int, in_features: int, out_features: int, offsets: tuple[int, int], dtype: type, backend: Backend
) -> None:
    x, weight = make(rows, in_features, dtype=dtype, seed=1), make(out_features, in_features, dtype=dtype, seed=2)
    bias, grad_out = make(out_features, dtype=dtype, seed=3), make(rows, out_features, dtype=dtype, seed=4)
    expected, scale = product(x, weight.T)
    expected_grad, grad_scale = product(grad_out, weight)
    x, weight = aligned(x, offsets[0]), aligned(weight, offsets[1])
    out: Array = np.full((rows, out_features), np.nan, dtype)
    backend.kernels.linear_forward(x, weight, bias, out, 0)
    assert_close(out, expected + bias, 4 + in_features**0.5, "out", scale + np.abs(bias))
    backend.kernels.linear_forward(x, weight, None, out, 1)
    assert_close(out, np.maximum(expected, 0), 4 + in_features**0.5, "relu(out)", scale)
    grad_x: Array = np.full_like(x, np.nan)
    backend.kernels.linear_backward_input(grad_out, weight, grad_x)
    assert_close(grad_x, expected_grad, 4 + out_features**0.5, "grad_x", grad_scale)
    backend.kernels.linear_backward_input(grad_out, weight, grad_x, x, 1)
    assert_close(grad_x, np.where(x > 0, expected_grad, 0), 4 + out_features**0.5, "grad_x behind relu", grad_scale)


@on_cuda
@each_dtype
@pytest.mark.parametrize(
    ("rows", "in_features", "out_features"), [(3, 0, 4), (128, 784, 10), (4000, 12, 20), (1, 300, 8), (40, 300, 1)]
)
def test_a_layers_kernels_agree_with_the_cpus(
    rows: int, in_features: int, out_features: int, dtype: type, backend: Backend
) -> None:
    x, grad_out = make(rows, in_features, dtype=dtype, seed=1), make(rows, out_features, dtype=dtype, seed=2)
    weight, bias = make(out_features, in_features, dtype=dtype, seed=3), make(out_features, dtype=dtype, seed=4)
    weight /= max(1, in_features) ** 0.5
    for activation in range(4):
        for given in (bias, None):
            outs: list[Array] = [np.full((rows, out_features), np.nan, dtype) for _ in range(2)]
            for kernels, out in zip((backend.kernels, _cpu), outs, strict=True):
                kernels.linear_forward(x, weight, given, out, activation)
            assert_close(outs[0], outs[1], 4 + in_features**0.5, f"forward {activation}", np.ones_like(outs[0]) * 8)
        grads: list[Array] = [np.full((rows, in_features), np.nan, dtype) for _ in range(2)]
        for kernels, grad_x in zip((backend.kernels, _cpu), grads, strict=True):
            kernels.linear_backward_input(grad_out, weight, grad_x, x, activation)
        scale = (np.abs(grad_out) @ np.abs(weight)) * (1 + x * x)
        assert_close(grads[0], grads[1], 4 + out_features**0.5, f"backward input {activation}", scale)
    for accumulate in (False, True):
        results = [(np.ones_like(weight), np.ones_like(bias)) for _ in range(2)]
        for kernels, (grad_weight, grad_bias) in zip((backend.kernels, _cpu), results, strict=True):
            kernels.linear_backward_weight(grad_out, x, grad_weight, grad_bias, accumulate)
        (grad_weight, grad_bias), (expected_weight, expected_bias) = results
        assert_close(grad_weight, expected_weight, 8 + rows**0.5, "weight", 1 + np.abs(grad_out).T @ np.abs(x))
        assert_close(grad_bias, expected_bias, 8 + rows**0.5, "bias", 1 + np.abs(grad_out).sum(0))


@on_cuda
@pytest.mark.parametrize("shape", [(10, 12, 500), (70, 66, 40), (1, 20, 200)], ids=str)
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rounding", ["none", "tf32", "bfloat16"])
def test_nan_and_infinity_reach_their_row_and_column(
    rounding: str, special: float, shape: tuple[int, int, int], backend: Backend, precision: None
) -> None:
    m, n, k = shape
    backend.kernels.set_allows_tf32(rounding == "tf32")
    backend.kernels.set_allows_bfloat16(rounding == "bfloat16")
    a, b = make(m, k, dtype=np.float32, seed=1), np.abs(make(k, n, dtype=np.float32, seed=2)) + 0.1
    a[m // 2, k // 3] = special
    out = np.empty((m, n), np.float32)
    backend.kernels.matmul(a, b, out)
    assert_bitwise_equal(np.isnan(out[m // 2]), np.full(n, np.isnan(special)), "nan")
    assert np.isnan(special) or (out[m // 2] == special).all()
    assert np.isfinite(np.delete(out, m // 2, axis=0)).all()
    # All bits of a nan set: rounding must not carry into the sign.
    a[m // 2, k // 3] = np.array(0x7FFFFFFF, np.uint32).view(np.float32)
    backend.kernels.matmul(a, b, out)
    assert np.isnan(out[m // 2]).all()


def rounded(x: Array, mantissa_bits: int, ties_to_even: bool) -> Array:
    """x to the nearest number of so many bits after the leading one."""
    dropped = 23 - mantissa_bits
    bits = x.view(np.uint32).astype(np.uint64)
    half = np.uint64(1 << (dropped - 1))
    if ties_to_even:
        half = half - np.uint64(1) + (bits >> np.uint64(dropped) & np.uint64(1))
    nearest: Array = (bits + half) >> np.uint64(dropped) << np.uint64(dropped)
    return nearest.astype(np.uint32).view(np.float32)


@on_cuda
@pytest.mark.parametrize("rounding", ["tf32", "bfloat16"])
@pytest.mark.parametrize(
    "shape", [(33, 31, 65), (10, 12, 7000), (64, 128, 784), (100, 90, 40), (1030, 1100, 20)], ids=str
)
def test_rounded_products_are_those_of_rounded_factors(
    shape: tuple[int, int, int], rounding: str, backend: Backend, precision: None
) -> None:
    m, n, k = shape
    a, b = make(m, k, dtype=np.float32, seed=1), make(k, n, dtype=np.float32, seed=2)
    nearest = (10, False) if rounding == "tf32" else (7, True)
    expected, scale = product(rounded(a, *nearest), rounded(b, *nearest))
    exact, _ = product(a, b)
    getattr(backend.kernels, f"set_allows_{rounding}")(True)
    for transpose_a, transpose_b in LAYOUTS:
        out = np.full((m, n), np.nan, np.float32)
        left, right = (x.T.copy() if t else x for x, t in ((a, transpose_a), (b, transpose_b)))
        backend.kernels.matmul(left, right, out, transpose_a, transpose_b)
        assert_close(out, expected, 8 + k**0.5, f"transposed {transpose_a} {transpose_b}", scale)
        assert np.abs(out - exact).max() > 100 * np.abs(out - expected).max()
    bias_sums = np.empty(n, np.float32)
    grad_weight = np.empty((n, k), np.float32)
    grad_out = np.ascontiguousarray(expected, np.float32)
    backend.kernels.linear_backward_weight(grad_out, a, grad_weight, bias_sums)
    assert_close(bias_sums, grad_out.sum(0, dtype=np.float64), 8 + m**0.5, "bias", np.abs(grad_out).sum(0))


# m, n, k: both tiles of sm_90's warpgroups, whole and cut off, with and without a second split of k. A product of 10
# columns and one of unaligned lines go other ways.
LARGE_SHAPES = [
    (1024, 1024, 1024),
    (1028, 1100, 300),
    (260, 1036, 2052),
    (2052, 4100, 68),
    (1024, 10, 1024),
    (515, 1031, 77),
]


@pytest.mark.parametrize("backend", ["cuda:gpu"], indirect=True)
@pytest.mark.parametrize("rounding", ["tf32", "bfloat16"])
@pytest.mark.parametrize("shape", LARGE_SHAPES, ids=str)
def test_rounded_products_of_a_large_layer(
    shape: tuple[int, int, int], rounding: str, backend: Backend, precision: None
) -> None:
    m, n, k = shape
    nearest = (10, False) if rounding == "tf32" else (7, True)
    a, b = make(m, k, dtype=np.float32, seed=1), make(k, n, dtype=np.float32, seed=2)
    bias, saved = make(n, dtype=np.float32, seed=3), make(m, n, dtype=np.float32, seed=4)
    expected, scale = product(rounded(a, *nearest), rounded(b, *nearest))
    getattr(backend.kernels, f"set_allows_{rounding}")(True)
    for transpose_a, transpose_b in LAYOUTS:
        left, right = (x.T.copy() if t else x for x, t in ((a, transpose_a), (b, transpose_b)))
        outs = [saved.copy() for _ in range(2)]
        for out in outs:
            backend.kernels.matmul(left, right, out, transpose_a, transpose_b, accumulate=True)
        what = f"transposed {transpose_a} {transpose_b}"
        assert_close(outs[0], expected + saved, 8 + k**0.5, what, scale + np.abs(saved))
        assert_bitwise_equal(outs[1], outs[0], f"{what}, the second run")

    relu, out = int(_cpu.Activation.relu), np.full((m, n), np.nan, np.float32)
    backend.kernels.linear_forward(a, b.T.copy(), bias, out, relu)
    assert_close(out, np.maximum(expected + bias, 0), 8 + k**0.5, "forward", scale + np.abs(bias))
    backend.kernels.linear_backward_input(a, b, out, saved, relu)
    assert_close(out, expected * (saved > 0), 8 + k**0.5, "backward input", scale)
    line_sums = np.full(m, np.nan, np.float32)
    backend.kernels.linear_backward_weight(a.T.copy(), b, out, line_sums)
    assert_close(out, expected, 8 + k**0.5, "weight", scale)
    assert_close(line_sums, a.sum(1, dtype=np.float64), 8 + k**0.5, "bias", np.abs(a).sum(1))
