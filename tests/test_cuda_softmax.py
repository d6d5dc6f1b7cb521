"""CUDA softmax and its relatives in every way rows are shared: by lanes, warps, a block, several blocks."""

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close
from minidl.backends import Backend
from placement import placed

Array = np.ndarray

pytestmark = pytest.mark.parametrize("backend", ["cuda:emulated", "cuda:gpu"], indirect=True)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
each_offset = pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "unaligned"])
# Held by 4, 8, 32 lanes and 256 threads; streamed by several blocks.
SHAPES = [(37, 10), (130, 16), (9, 64), (3, 65), (5, 256), (2, 257), (3, 1024), (2, 1028), (1, 8192)]
SHAPES += [(3, 8196), (1, 20_001)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
MANY_LONG_ROWS = (132, 8196)  # streamed by one block each


def exact(x: Array) -> Array:
    return x.astype(np.longdouble)


def logsumexp(x: Array) -> Array:
    largest = x.max(1, keepdims=True)
    return np.asarray(largest + np.log(np.exp(x - largest).sum(1, keepdims=True)))


def check_forward(shape: tuple, offset: int, dtype: type, backend: Backend) -> None:
    x = placed(np.random.default_rng(0).uniform(-8, 8, shape).astype(dtype), offset)
    out, column = placed(np.full(shape, np.nan, dtype), offset), np.full(shape[0], np.nan, dtype)
    log_sum = logsumexp(exact(x))
    backend.kernels.softmax_forward(x, out)
    # The difference from the largest, up to 16, is rounded before it is an exponent.
    assert_close(out, np.exp(exact(x) - log_sum).astype(float), 12, "softmax")
    backend.kernels.log_softmax_forward(x, out)
    assert_close(out, (exact(x) - log_sum).astype(float), 4, "log_softmax", np.abs(x) + np.abs(log_sum).astype(float))
    backend.kernels.logsumexp_forward(x, column)
    assert_close(column, log_sum[:, 0].astype(float), 2, "logsumexp")
    backend.kernels.softmax_forward(x, out)
    backend.kernels.softmax_forward(x, x)
    assert_bitwise_equal(x, out, "softmax in place")


def check_backward(shape: tuple, offset: int, dtype: type, backend: Backend) -> None:
    random = np.random.default_rng(0)
    x, grad_out = (placed(random.standard_normal(shape).astype(dtype), offset) for _ in range(2))
    grad_x, g, column = placed(np.full(shape, np.nan, dtype), offset), exact(grad_out), grad_out[:, 0].copy()
    log_sum = logsumexp(exact(x))

    out = placed(np.exp(exact(x) - log_sum).astype(dtype), offset)
    backend.kernels.softmax_backward(out, grad_out, grad_x)
    mean, size = (exact(out) * g).sum(1, keepdims=True), (exact(out) * np.abs(g)).sum(1, keepdims=True)
    assert_close(
        grad_x, (exact(out) * (g - mean)).astype(float), 8, "softmax", out * (np.abs(grad_out) + size).astype(float)
    )

    out = placed((exact(x) - log_sum).astype(dtype), offset)
    backend.kernels.log_softmax_backward(out, grad_out, grad_x)
    probs, size = np.exp(exact(out)), np.abs(g).sum(1, keepdims=True)
    scale = (np.abs(g) + probs * size).astype(float)
    assert_close(grad_x, (g - probs * g.sum(1, keepdims=True)).astype(float), 8, "log_softmax", scale)

    sums = log_sum[:, 0].astype(dtype)
    backend.kernels.logsumexp_backward(x, sums, column, grad_x)
    expected = exact(column)[:, None] * np.exp(exact(x) - exact(sums)[:, None])
    assert_close(grad_x, expected.astype(float), 12, "logsumexp")


@each_dtype
@each_offset
@each_shape
def test_forward_equals_the_formulas(shape: tuple, offset: int, dtype: type, backend: Backend) -> None:
    check_forward(shape, offset, dtype, backend)


@each_dtype
@each_offset
@each_shape
def test_backward_equals_the_formulas(shape: tuple, offset: int, dtype: type, backend: Backend) -> None:
    check_backward(shape, offset, dtype, backend)


def test_many_long_rows(backend: Backend) -> None:
    check_forward(MANY_LONG_ROWS, 0, np.float32, backend)
    check_backward(MANY_LONG_ROWS, 0, np.float32, backend)


@each_dtype
@each_shape
def test_infinities_and_nan_reach_the_whole_row(shape: tuple, dtype: type, backend: Backend) -> None:
    for place, value, sum_of_row in ((slice(None), -np.inf, -np.inf), (1, np.inf, np.inf), (-1, np.nan, np.nan)):
        x = np.zeros(shape, dtype)
        x[:, place] = value
        out, log_out, column = np.zeros(shape, dtype), np.zeros(shape, dtype), np.zeros(shape[0], dtype)
        backend.kernels.softmax_forward(x, out)
        backend.kernels.log_softmax_forward(x, log_out)
        backend.kernels.logsumexp_forward(x, column)
        assert np.isnan(out).all()
        assert np.isnan(log_out).all()
        np.testing.assert_array_equal(column, np.full(shape[0], sum_of_row))


@each_dtype
@each_shape
def test_one_finite_logit_takes_all(shape: tuple, dtype: type, backend: Backend) -> None:
    for place in (0, shape[1] // 2, shape[1] - 1):
        x, out = np.full(shape, -np.inf, dtype), np.full(shape, np.nan, dtype)
        x[:, place] = -300
        backend.kernels.softmax_forward(x, out)
        np.testing.assert_array_equal(out, np.where(np.arange(shape[1]) == place, 1, 0)[None].repeat(shape[0], 0))
        backend.kernels.log_softmax_forward(x, out)
        np.testing.assert_array_equal(out, x + 300)


@each_dtype
def test_rows_of_nothing(dtype: type, backend: Backend) -> None:
    out = np.zeros(3, dtype)
    backend.kernels.logsumexp_forward(np.empty((3, 0), dtype), out)
    np.testing.assert_array_equal(out, np.full(3, -np.inf))
    for shape in ((3, 0), (0, 3)):
        backend.kernels.softmax_forward(np.empty(shape, dtype), np.empty(shape, dtype))
