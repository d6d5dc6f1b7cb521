"""Softmax and the losses beyond the rows of op_cases.py: extreme values, labels that do not count, what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close
from minidl import _cpu, ops
from minidl.backends import Backend
from minidl.tensor import Tensor

Array = np.ndarray
Reduction = _cpu.Reduction
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
# One class more and fewer than short rows have, and than the lanes
SIZES = [(0, 10), (1, 1), (3, 32), (3, 33), (129, 10), (40, 17), (5, 1009), (2503, 10), (70, 1000)]


def logits_and_labels(rows: int, classes: int, dtype: type) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, rows)
    labels[random.random(rows) < 0.2] = -100
    return (random.standard_normal((rows, classes)) * 3).astype(dtype), labels


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_cross_entropy_does_not_depend_on_threads(size: tuple[int, int], backend: Backend) -> None:
    x, labels = logits_and_labels(*size, np.float32)
    weight = np.linspace(0.5, 2, size[1]).astype(np.float32)
    for reduction in (Reduction.none, Reduction.mean, Reduction.sum):
        results = []
        for threads in (1, 2, 3):
            _cpu.set_thread_count(threads)
            loss, grad = np.empty(size[0] if reduction == Reduction.none else 1, np.float32), np.empty_like(x)
            _cpu.cross_entropy_forward(x, labels, weight, loss, grad, -100, 0.1, reduction)
            results.append((loss, grad))
        for loss, grad in results[1:]:
            assert_bitwise_equal(loss, results[0][0], "loss")
            assert_bitwise_equal(grad, results[0][1], "gradient")


@each_dtype
def test_the_loss_is_the_same_with_and_without_its_gradient(dtype: type, backend: Backend) -> None:
    for size in SIZES:
        x, labels = logits_and_labels(*size, dtype)
        with_grad, without = np.empty(1, dtype), np.empty(1, dtype)
        _cpu.cross_entropy_forward(x, labels, None, with_grad, np.empty_like(x))
        _cpu.cross_entropy_forward(x, labels, None, without, None)
        assert_bitwise_equal(with_grad, without, f"loss of {size}")


@each_dtype
@pytest.mark.parametrize("classes", [3, 100])
def test_extreme_logits_give_finite_losses(classes: int, dtype: type, backend: Backend) -> None:
    x = np.zeros((4, classes), dtype)
    x[0] = 1e4
    x[1, 0] = 1e4
    x[2] = -90
    x[3, 1:] = -np.inf
    labels = Tensor(np.array([1, 1, 0, 0]), backend)
    logits = Tensor(x, backend, requires_grad=True)
    losses = ops.cross_entropy(logits, labels, reduction="none")
    assert_close(losses.array, np.array([np.log(classes), 1e4, np.log(classes), 0]), 2, "losses")
    ops.sum(losses).backward()
    assert np.isfinite(logits.grad.array).all()
    assert_close(ops.softmax(logits, 1).array[1], np.eye(classes)[0], 1, "probabilities")
    assert_close(ops.log_softmax(logits, 1).array[1], np.where(np.arange(classes) == 0, 0, -1e4), 1, "logarithms")


@pytest.mark.parametrize("classes", [3, 100])
def test_rows_without_a_finite_largest_give_nan(classes: int, backend: Backend) -> None:
    x = np.zeros((4, classes), np.float32)
    x[0] = -np.inf
    x[1, 1] = np.inf
    x[2, 1] = np.nan
    logits = Tensor(x, backend)
    for op in (ops.softmax, ops.log_softmax):
        out = op(logits, 1).array
        assert np.isnan(out[:3]).all()
        assert np.isfinite(out[3]).all()
    np.testing.assert_array_equal(ops.logsumexp(logits, 1).array[:3], np.float32([-np.inf, np.inf, np.nan]))


def test_an_empty_batch_has_a_sum_of_zero_and_no_mean(backend: Backend) -> None:
    x, labels = Tensor(np.empty((0, 3), np.float32), backend), Tensor(np.empty(0, np.int64), backend)
    assert ops.cross_entropy(x, labels, reduction="sum").item() == 0
    assert np.isnan(ops.cross_entropy(x, labels).item())
    assert np.isnan(ops.mse_loss(x, x).item())


def test_a_batch_that_is_all_ignored_has_no_mean_and_no_gradient(backend: Backend) -> None:
    x = Tensor(np.ones((2, 3), np.float32), backend, requires_grad=True)
    loss = ops.cross_entropy(x, Tensor(np.array([5, 5]), backend), ignore_index=5)
    assert np.isnan(loss.item())
    loss.backward()
    np.testing.assert_array_equal(x.grad.array, np.zeros((2, 3), np.float32))


def test_the_gradient_scales_with_grad_out(backend: Backend) -> None:
    x = Tensor(np.ones((2, 3), np.float32), backend, requires_grad=True)
    losses = ops.cross_entropy(x, Tensor(np.array([0, 1]), backend), reduction="none")
    losses.backward(Tensor(np.float32([1, -2]), backend))
    expected = np.float32([[-2, 1, 1], [-2, 4, -2]]) / 3
    assert_close(x.grad.array, expected.astype(float), 4, "gradient")


def test_a_single_sample_needs_no_batch(backend: Backend) -> None:
    logits = Tensor(np.float32([1, 2, 3]), backend)
    loss = ops.cross_entropy(logits, Tensor(np.array(2), backend))
    assert loss.shape == ()
    assert_close(loss.array, np.log(np.exp([-2, -1, 0.0]).sum()), 2, "loss")
    assert ops.cross_entropy(logits, Tensor(np.array(2), backend), reduction="none").shape == ()


def test_int32_labels_are_accepted(backend: Backend) -> None:
    x, labels = logits_and_labels(5, 3, np.float32)
    narrow = ops.cross_entropy(Tensor(x, backend), Tensor(labels.astype(np.int32), backend))
    assert narrow.item() == ops.cross_entropy(Tensor(x, backend), Tensor(labels, backend)).item()


def test_bce_is_finite_at_both_ends(backend: Backend) -> None:
    p = Tensor(np.float32([0, 1, 0, 1]), backend, requires_grad=True)
    target = Tensor(np.float32([0, 1, 1, 0]), backend)
    losses = ops.binary_cross_entropy(p, target, reduction="none")
    assert losses.tolist() == [0, 0, 100, 100]
    ops.sum(losses).backward()
    assert np.isfinite(p.grad.array).all()


def test_bce_with_logits_is_exact_for_large_logits(backend: Backend) -> None:
    x = Tensor(np.float32([-1e4, 1e4, -90, 90]), backend, requires_grad=True)
    target = Tensor(np.float32([1, 0, 0, 1]), backend)
    losses = ops.binary_cross_entropy_with_logits(x, target, reduction="none")
    assert_close(losses.array, np.array([1e4, 1e4, np.exp(-90.0), np.exp(-90.0)]), 4, "losses")
    ops.sum(losses).backward()
    np.testing.assert_allclose(x.grad.array, np.float32([-1, 1, 0, 0]), atol=1e-30)


def test_nan_reaches_every_loss(backend: Backend) -> None:
    x, t = Tensor(np.float32([np.nan, 0.5]), backend), Tensor(np.float32([0.5, 0.5]), backend)
    losses = [ops.mse_loss, ops.l1_loss, ops.smooth_l1_loss, ops.huber_loss, ops.binary_cross_entropy]
    for loss in [*losses, ops.binary_cross_entropy_with_logits]:
        assert np.isnan(loss(x, t).item()), loss.__name__


def test_gradients_larger_than_the_caches_have_the_bits_of_few(backend: Backend) -> None:
    random = np.random.default_rng(12)
    x, target = (random.uniform(0.1, 0.9, 8_500_003).astype(np.float32) for _ in range(2))
    grad_out = random.standard_normal(x.size, np.float32)
    for kernel in ("mse_backward", "l1_backward", "bce_backward", "bce_with_logits_backward"):
        grad = np.full_like(x, 7)
        getattr(_cpu, kernel)(x, target, grad_out, grad, Reduction.none)
        for part in (slice(0, 1001), slice(4_250_000, 4_251_001), slice(x.size - 1001, x.size)):
            few = np.empty(1001, np.float32)
            getattr(_cpu, kernel)(x[part], target[part], grad_out[part], few, Reduction.none)
            assert_bitwise_equal(grad[part], few, kernel)


@pytest.mark.parametrize("classes", [7, 10, 33, 1000, 2500])
@pytest.mark.parametrize("kernel", ["cross_entropy_forward", "nll_forward"])
def test_gradients_to_rows_larger_than_the_caches_have_the_bits_of_few(
    kernel: str, classes: int, backend: Backend
) -> None:
    rows = 8_500_000 // classes
    x, labels = logits_and_labels(rows, classes, np.float32)
    settings = {"ignore_index": -100, "reduction": Reduction.none}
    memory = np.full(x.size + 2, 7, np.float32)
    grad, loss = memory[1:-1].reshape(x.shape), np.empty(rows, np.float32)  # begins in the middle of a cache line
    getattr(_cpu, kernel)(x, labels, None, loss, grad, **settings)
    assert memory[0] == memory[-1] == 7
    for part in (slice(0, 101), slice(rows // 2, rows // 2 + 101), slice(rows - 101, rows)):
        few, few_losses = np.empty((101, classes), np.float32), np.empty(101, np.float32)
        getattr(_cpu, kernel)(x[part], labels[part], None, few_losses, few, **settings)
        assert_bitwise_equal(grad[part], few, "gradient")
        assert_bitwise_equal(loss[part], few_losses, "losses")


LABELS = Tensor(np.array([0, 1]))
LOGITS = Tensor(np.zeros((2, 3), np.float32))
REFUSED: list[tuple[Callable[..., Any], type[Exception], str]] = [
    (
        lambda: ops.cross_entropy(LOGITS, Tensor(np.float32([0, 1]))),
        TypeError,
        r"cross_entropy: class indices must be int64, got .*float32 of shape \(2,\)",
    ),
    (
        lambda: ops.cross_entropy(LOGITS, Tensor(np.eye(3, dtype=np.int64)[:2])),
        ValueError,
        r"looks one-hot.*argmax\(1\)",
    ),
    (
        lambda: ops.cross_entropy(LOGITS, Tensor(np.array([0, 1, 2]))),
        ValueError,
        r"target must have shape \(2,\) for an input of shape \(2, 3\), got \(3,\)",
    ),
    (
        lambda: ops.cross_entropy(LOGITS, Tensor(np.array([[0], [1]]))),
        ValueError,
        r"got \(2, 1\); use target.squeeze\(1\)",
    ),
    (
        lambda: ops.cross_entropy(LOGITS, Tensor(np.array([0, 3]))),
        ValueError,
        "0..2 for 3 classes, got 3 at position 1",
    ),
    (lambda: ops.cross_entropy(LOGITS, Tensor(np.array([-1, 0]))), ValueError, "got -1 at position 0"),
    (
        lambda: ops.nll_loss(LOGITS, Tensor(np.array([0, 3]))),
        ValueError,
        "nll_loss: class indices must lie in 0..2 for 3 classes, got 3 at position 1",
    ),
    (lambda: ops.cross_entropy(Tensor(np.array([[1, 2]])), LABELS), TypeError, "must be float32 or float64, got int64"),
    (
        lambda: ops.cross_entropy(LOGITS, LABELS, weight=Tensor(np.ones(2, np.float32))),
        ValueError,
        r"one element per class, shape \(3,\), got \(2,\)",
    ),
    (lambda: ops.cross_entropy(LOGITS, LABELS, reduction="avg"), ValueError, "one of none, mean, sum, got 'avg'"),
    (lambda: ops.cross_entropy(LOGITS, LABELS, label_smoothing=2), ValueError, "must lie in 0..1, got 2"),
    (
        lambda: ops.mse_loss(Tensor(np.zeros((3, 1), np.float32)), Tensor(np.zeros(3, np.float32))),
        ValueError,
        r"mse_loss: target must have the input's shape \(3, 1\), got \(3,\)",
    ),
    (
        lambda: ops.binary_cross_entropy(Tensor(np.float32([0.5, 1.5])), Tensor(np.float32([0, 1]))),
        ValueError,
        "probabilities must lie in 0..1, got values from 0.5 to 1.5",
    ),
    (lambda: ops.smooth_l1_loss(LOGITS, LOGITS, beta=-1), ValueError, "beta must be at least 0"),
    (lambda: ops.huber_loss(LOGITS, LOGITS, delta=0), ValueError, "delta must be above 0"),
    (lambda: ops.kl_div(LOGITS, LOGITS, "batch"), ValueError, "none, mean, sum, batchmean, got 'batch'"),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_bad_input_is_refused_with_the_reason(call: Callable[..., Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
