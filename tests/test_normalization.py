"""Batch norm and layer norm beyond the rows of op_cases.py: running statistics, large means, threads, bad input."""

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close
from minidl import _cpu, ops
from minidl.backends import Backend
from minidl.tensor import Tensor

Array = np.ndarray
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
# Channels on each side of a vector and of a strip of four; few and many rows; inner dimensions short and long; a matrix
# too tall for the caches
BATCHES = [(2, 1), (33, 17), (128, 65), (4001, 3), (65, 1021), (3, 2, 1000), (129, 5, 3), (2, 17, 5, 13), (2099, 1021)]


def batch_norm_kernels(x: Array, grad_out: Array) -> list[Array]:
    """Output, mean, inv_std, running mean and variance, and the three gradients."""
    channels = x.shape[1]
    weight, bias = (np.linspace(low, 2, channels).astype(x.dtype) for low in (0.5, -1))
    vectors = [np.full(channels, value, x.dtype) for value in (0, 0, 0, 1, 0, 0)]
    mean, inv_std, running_mean, running_var, grad_weight, grad_bias = vectors
    out, grad_x = np.empty_like(x), np.empty_like(x)
    _cpu.batch_norm_forward_training(x, weight, bias, running_mean, running_var, out, mean, inv_std, 0.1, 1e-5)
    _cpu.batch_norm_backward(x, weight, mean, inv_std, grad_out, grad_x, grad_weight, grad_bias)
    return [out, mean, inv_std, running_mean, running_var, grad_x, grad_weight, grad_bias]


def layer_norm_kernels(x: Array, grad_out: Array) -> list[Array]:
    """Output, mean, inv_std and the three gradients."""
    rows, columns = x.shape
    weight, bias = (np.linspace(low, 2, columns).astype(x.dtype) for low in (0.5, -1))
    mean, inv_std = np.empty(rows, x.dtype), np.empty(rows, x.dtype)
    grad_weight, grad_bias = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    out, grad_x = np.empty_like(x), np.empty_like(x)
    _cpu.layer_norm_forward(x, weight, bias, out, mean, inv_std, 1e-5)
    _cpu.layer_norm_backward(x, weight, mean, inv_std, grad_out, grad_x, grad_weight, grad_bias)
    return [out, mean, inv_std, grad_x, grad_weight, grad_bias]


@each_dtype
@pytest.mark.parametrize("shape", BATCHES, ids=str)
def test_kernels_do_not_depend_on_threads(shape: tuple, dtype: type, backend: Backend) -> None:
    random = np.random.default_rng(0)
    x, grad_out = (random.standard_normal(shape).astype(dtype) for _ in range(2))
    for kernels in [batch_norm_kernels, *([layer_norm_kernels] if len(shape) == 2 else [])]:
        results = []
        for threads in (1, 2, 3):
            _cpu.set_thread_count(threads)
            results.append(kernels(x, grad_out))
        for other in results[1:]:
            for result, expected in zip(other, results[0], strict=True):
                assert_bitwise_equal(result, expected, f"{kernels.__name__} of {shape}")


@each_dtype
@pytest.mark.parametrize("shape", BATCHES, ids=str)
def test_statistics_equal_numpys(shape: tuple, dtype: type, backend: Backend) -> None:
    x = (np.random.default_rng(0).standard_normal(shape) * 2 + 5).astype(dtype)
    _, mean, inv_std, running_mean, running_var, *_ = batch_norm_kernels(x, x)
    axes, exact, count = (0, *range(2, x.ndim)), x.astype(np.longdouble), x.size / shape[1]
    exact_mean, exact_var = exact.mean(axes).astype(float), exact.var(axes).astype(float)
    assert_close(mean, exact_mean, 4, "mean", np.abs(exact_mean) + 5)
    assert_close(inv_std, 1 / np.sqrt(exact_var + 1e-5), 8, "inv_std")
    assert_close(running_mean, 0.1 * exact_mean, 8, "running mean", np.abs(exact_mean) + 5)
    assert_close(running_var, 0.9 + 0.1 * exact_var * count / (count - 1), 8, "running variance")


@each_dtype
def test_a_large_mean_does_not_cancel(dtype: type, backend: Backend) -> None:
    offset = 4096.0 if dtype == np.float32 else 1e10
    x = (np.random.default_rng(0).integers(0, 4, (513, 33)) + offset).astype(dtype)
    exact = (x.astype(np.longdouble) - offset).var(0).astype(float)
    _, _, inv_std, *_ = batch_norm_kernels(x, x)
    assert_close(inv_std, 1 / np.sqrt(exact + 1e-5), 16, "inv_std")
    rows = np.ascontiguousarray(x.T)
    _, _, inv_std, *_ = layer_norm_kernels(rows, rows)
    assert_close(inv_std, 1 / np.sqrt(exact + 1e-5), 16, "inv_std")


def test_one_value_per_channel_has_a_defined_result_in_the_kernel(backend: Backend) -> None:
    x = np.float32([[1, -2, 3]])
    out, mean, _, _, running_var, grad_x, grad_weight, grad_bias = batch_norm_kernels(x, x)
    assert_bitwise_equal(out, np.linspace(-1, 2, 3).astype(np.float32)[None], "output is the bias")
    assert_bitwise_equal(mean, x[0], "mean")
    assert_close(running_var, np.full(3, 0.9), 1, "running variance")
    np.testing.assert_array_equal(grad_x, np.zeros((1, 3)))
    np.testing.assert_array_equal(grad_weight, np.zeros(3))
    assert_bitwise_equal(grad_bias, x[0], "gradient of the bias")


def test_training_writes_the_running_statistics_and_evaluation_reads_them(backend: Backend) -> None:
    x = Tensor(np.float32([[1, 2], [3, 6]]), backend)
    mean, var = Tensor(np.zeros(2, np.float32), backend), Tensor(np.ones(2, np.float32), backend)
    ops.batch_norm(x, mean, var, training=True, momentum=0.5)
    assert_close(mean.array, np.array([1.0, 2.0]), 1, "running mean")
    assert_close(var.array, np.array([1.5, 4.5]), 1, "running variance")
    out = ops.batch_norm(x, mean, var, eps=0.0)
    expected = (x.array - np.array([1.0, 2.0])) / np.sqrt([1.5, 4.5])
    assert_close(out.array, expected, 4, "output", np.abs(expected) + 1)


def test_momentum_of_one_over_n_averages_batches(backend: Backend) -> None:
    mean, var = Tensor(np.zeros(1, np.float32), backend), Tensor(np.ones(1, np.float32), backend)
    for n, offset in enumerate((1.0, 2.0, 6.0), start=1):
        batch = Tensor(np.float32([[offset - 1], [offset + 1]]), backend)
        ops.batch_norm(batch, mean, var, training=True, momentum=1 / n)
    assert_close(mean.array, np.array([3.0]), 2, "running mean")
    assert_close(var.array, np.array([2.0]), 2, "running variance")


def test_nan_stays_in_its_channel(backend: Backend) -> None:
    x = np.ones((8, 3), np.float32)
    x[4, 1] = np.nan
    out = ops.batch_norm(Tensor(x, backend), None, None, training=True).array
    assert np.isnan(out[:, 1]).all()
    assert np.isfinite(out[:, [0, 2]]).all()


def test_bad_input_is_refused_with_the_reason(backend: Backend) -> None:
    x, vector = Tensor(np.ones((4, 3), np.float32), backend), Tensor(np.ones(2, np.float32), backend)
    with pytest.raises(ValueError, match=r"training needs more than 1 value per channel, got shape \(1, 3\)"):
        ops.batch_norm(Tensor(np.ones((1, 3), np.float32), backend), None, None, training=True)
    with pytest.raises(ValueError, match="batch_norm: evaluation needs running_mean and running_var, got None"):
        ops.batch_norm(x, None, None)
    with pytest.raises(ValueError, match=r"weight must have shape \(3,\) for an input of shape \(4, 3\), got \(2,\)"):
        ops.batch_norm(x, None, None, vector, training=True)
    with pytest.raises(ValueError, match=r"batch_norm: input must have at least 2 dimensions, got shape \(2,\)"):
        ops.batch_norm(vector, None, None, training=True)
    with pytest.raises(ValueError, match=r"layer_norm: input must end in the normalized shape \(2,\), got \(4, 3\)"):
        ops.layer_norm(x, 2)
    with pytest.raises(TypeError, match="layer_norm: input must be float32 or float64, got int64"):
        ops.layer_norm(Tensor(np.ones((2, 2), np.int64), backend), 2)


# ---- batch norm with the relu and the dropout that follow it

TICKET = np.array([42, 7], np.int64)
CHAIN_SHAPES = [*BATCHES, (128, 128), (100, 320), (70, 10)]
each_chain = pytest.mark.parametrize(
    ("is_relu", "p"), [(True, None), (True, 0.2), (False, 0.5), (True, 1.0)], ids=["relu", "both", "dropout", "p=1"]
)


def scale_of(p: float | None) -> float:
    kept = 65536 if p is None else round((1 - p) * 65536)
    return 65536 / kept if kept else 0.0


def separate_forward(x: Array, is_relu: bool, p: float | None) -> list[Array]:
    """Output, mean, inv_std and running statistics by one kernel per step of the chain."""
    results = batch_norm_kernels(x, x)[:5]
    if is_relu:
        _cpu.relu_forward(results[0].copy(), results[0])
    if p is not None:
        _cpu.dropout_forward(results[0].copy(), TICKET, results[0], p)
    return results


def fused_forward(x: Array, is_relu: bool, p: float | None) -> list[Array]:
    """The same by one kernel."""
    channels = x.shape[1]
    weight, bias = (np.linspace(low, 2, channels).astype(x.dtype) for low in (0.5, -1))
    mean, inv_std, running_mean, running_var = (np.full(channels, value, x.dtype) for value in (0, 0, 0, 1))
    out = np.full_like(x, 7)
    activation = _cpu.Activation.relu if is_relu else _cpu.Activation.none
    chain = (activation, None, 0.0) if p is None else (activation, TICKET, p)
    _cpu.batch_norm_forward_training(x, weight, bias, running_mean, running_var, out, mean, inv_std, 0.1, 1e-5, *chain)
    return [out, mean, inv_std, running_mean, running_var]


@each_dtype
@each_chain
@pytest.mark.parametrize("shape", CHAIN_SHAPES, ids=str)
def test_fused_chain_equals_its_separate_kernels(
    shape: tuple, is_relu: bool, p: float | None, dtype: type, backend: Backend
) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    _cpu.set_thread_count(1)
    expected = separate_forward(x, is_relu, p)
    for threads in (1, 2, 3):
        _cpu.set_thread_count(threads)
        for actual, separate in zip(fused_forward(x, is_relu, p), expected, strict=True):
            assert_bitwise_equal(actual, separate, f"{shape}, {threads} threads")


@each_dtype
@pytest.mark.parametrize("p", [None, 0.2, 1.0])
@pytest.mark.parametrize("shape", CHAIN_SHAPES, ids=str)
def test_fused_backward_equals_its_separate_kernels(
    shape: tuple, p: float | None, dtype: type, backend: Backend
) -> None:
    random = np.random.default_rng(0)
    x, grad_out = (random.standard_normal(shape).astype(dtype) for _ in range(2))
    active, mean, inv_std, *_ = separate_forward(x, True, None)
    out, *_ = separate_forward(x, True, p)
    weight = np.linspace(0.5, 2, shape[1]).astype(dtype)
    dropped, grad = grad_out.copy(), np.empty_like(x)
    if p is not None:
        _cpu.dropout_forward(grad_out, TICKET, dropped, p)
    _cpu.relu_backward(active, dropped, grad)
    grad += 0  # what dropout multiplied by 0 may be -0; the fused gradient is 0 there

    def gradients(incoming: Array, *chain: object) -> list[Array]:
        grads = [np.full_like(x, 7), np.full_like(weight, 7), np.full_like(weight, 7)]
        _cpu.batch_norm_backward(x, weight, mean, inv_std, incoming, *grads, *chain)
        return grads

    _cpu.set_thread_count(1)
    expected = gradients(grad)
    for threads in (1, 2, 3):
        _cpu.set_thread_count(threads)
        for actual, separate in zip(gradients(grad_out, out, scale_of(p)), expected, strict=True):
            assert_bitwise_equal(actual, separate, f"{shape}, {threads} threads")
    through_relu = np.full_like(x, 7)
    _cpu.relu_backward(out, grad_out, through_relu, scale_of(p))
    assert_bitwise_equal(through_relu, grad, "relu_backward with a scale")


@each_dtype
def test_fused_chain_carries_nan_and_infinity_like_its_separate_kernels(dtype: type, backend: Backend) -> None:
    x = np.random.default_rng(0).standard_normal((40, 37)).astype(dtype)
    x[3, 5], x[7, 20], x[9, 36] = np.nan, np.inf, np.finfo(dtype).max
    with np.errstate(all="ignore"):
        for actual, separate in zip(fused_forward(x, True, 0.3), separate_forward(x, True, 0.3), strict=True):
            np.testing.assert_array_equal(actual, separate)
    out, *_ = fused_forward(x, True, 0.3)
    assert np.isnan(out[:, 5]).all()
    assert np.isfinite(np.delete(out, [5, 20, 36], axis=1)).all()


@each_dtype
def test_gradient_of_a_dropped_unit_is_zero_whatever_comes_in(dtype: type, backend: Backend) -> None:
    x = np.random.default_rng(0).standard_normal((40, 37)).astype(dtype)
    out, mean, inv_std, *_ = fused_forward(x, True, 0.3)
    grad_out = np.where(out > 0, 1, np.where(np.arange(37) % 2, np.inf, np.nan)).astype(dtype)
    grad_x, grad_weight, grad_bias = np.empty_like(x), np.empty(37, dtype), np.empty(37, dtype)
    _cpu.batch_norm_backward(x, None, mean, inv_std, grad_out, grad_x, grad_weight, grad_bias, out, scale_of(0.3))
    assert all(np.isfinite(grad).all() for grad in (grad_x, grad_weight))
    assert_close(grad_bias, (out > 0).sum(0) * scale_of(0.3), 40, "gradient of the bias")


def test_chain_refuses_what_it_cannot_fuse() -> None:
    x, vector = np.ones((4, 3), np.float32), np.ones(3, np.float32)
    arguments = (x, None, None, None, None, np.empty_like(x), vector.copy(), vector.copy(), 0.1, 1e-5)
    with pytest.raises(ValueError, match=r"activation must be none or relu"):
        _cpu.batch_norm_forward_training(*arguments, _cpu.Activation.tanh)
    with pytest.raises(ValueError, match="ticket must have 2 elements"):
        _cpu.batch_norm_forward_training(*arguments, _cpu.Activation.relu, np.zeros(3, np.int64), 0.5)
    with pytest.raises(ValueError, match=r"out must have shape \(4, 3\) like x"):
        _cpu.batch_norm_backward(x, None, vector, vector, x, None, None, None, np.ones((3, 4), np.float32))


@pytest.mark.parametrize("shape", [(2099, 1021), (8209, 1031)], ids=["beyond a core's caches", "34 MB"])
def test_tall_matrices_equal_numpy(shape: tuple, backend: Backend) -> None:
    random = np.random.default_rng(7)
    x, grad_out = (random.standard_normal(shape, np.float32) + np.float32(2) for _ in range(2))
    columns = shape[1]
    weight, bias = np.linspace(0.5, 2, columns), np.linspace(-1, 2, columns)
    for kernels, axis in [(batch_norm_kernels, 0), (layer_norm_kernels, 1)]:
        results = kernels(x, grad_out)
        out, (grad_x, grad_weight, grad_bias) = results[0], results[-3:]
        inv_std = 1 / np.sqrt(x.var(axis, dtype=np.float64, keepdims=True) + 1e-5)
        normal = (x - x.mean(axis, dtype=np.float64, keepdims=True)) * inv_std
        grad_normal = grad_out * weight
        level, slope = (v.mean(axis, keepdims=True) for v in (grad_normal, grad_normal * normal))
        name = kernels.__name__
        assert_close(out, normal * weight + bias, 16, f"{name}: out", np.abs(normal * weight) + np.abs(bias) + 1)
        assert_close(
            grad_x, inv_std * (grad_normal - level - normal * slope), 32, f"{name}: grad_x", np.full(shape, 8.0)
        )
        products = grad_out * normal
        assert_close(grad_weight, products.sum(0), 16, f"{name}: grad_weight", np.abs(products).sum(0))
        assert_close(grad_bias, grad_out.sum(0, dtype=np.float64), 16, f"{name}: grad_bias", np.abs(grad_out).sum(0))
