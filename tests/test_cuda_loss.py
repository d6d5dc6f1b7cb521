"""CUDA losses and the count of correct rows in every way they are launched: one block, many, rows in turns."""

from typing import Any

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close
from minidl.backends import Backend
from minidl.kinds import Reduction
from minidl.selftest.reduction import cross_entropy, nll
from placement import placed

Array = np.ndarray

pytestmark = pytest.mark.parametrize("backend", ["cuda:emulated", "cuda:gpu"], indirect=True)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
each_offset = pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "unaligned"])
each_reduction = pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
# One block, several, more labels than a block adds up; held by warps and blocks, streamed.
SHAPES = [(128, 10), (600, 10), (70, 64), (5001, 3), (3, 1024), (2, 1025), (3, 5000), (2, 9000)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def logits_and_labels(shape: tuple, dtype: type, offset: int) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    labels = random.integers(0, shape[1], shape[0])
    labels[1::7] = -100
    return placed(random.uniform(-10, 10, shape).astype(dtype), offset), labels


def run(backend: Backend, x: Array, labels: Array, weight: Array | None, smoothing: float, reduction: str) -> Any:
    """The loss and its gradient."""
    loss = np.full(len(labels) if reduction == "none" else (), np.nan, x.dtype)
    grad = placed(np.full_like(x, np.nan), 0 if x.ctypes.data % 64 == 0 else 1)
    backend.kernels.cross_entropy_forward(x, labels, weight, loss, grad, -100, smoothing, getattr(Reduction, reduction))
    return loss, grad


def check_cross_entropy(
    backend: Backend, x: Array, labels: Array, weight: Array | None, smoothing: float, reduction: str
) -> None:
    loss, grad = run(backend, x, labels, weight, smoothing, reduction)
    exact = None if weight is None else weight.astype(np.longdouble)
    expected = cross_entropy(x.astype(np.longdouble), labels, exact, -100, smoothing, reduction)
    assert_close(loss, expected[0].astype(float), 6, "loss", np.maximum(np.abs(expected[0]), 10).astype(float))
    share = 1 / len(x) if reduction == "mean" else 1.0
    assert_close(grad, expected[1].astype(float), 8, "gradient", np.full(x.shape, share))
    without, kind = np.full_like(loss, np.nan), getattr(Reduction, reduction)
    backend.kernels.cross_entropy_forward(x, labels, weight, without, None, -100, smoothing, kind)
    assert_bitwise_equal(without, loss, "loss without its gradient")
    for first, second in zip((loss, grad), run(backend, x, labels, weight, smoothing, reduction), strict=True):
        assert_bitwise_equal(second, first, "a second run")


@each_dtype
@each_offset
@each_reduction
@each_shape
def test_cross_entropy_equals_the_formula(
    shape: tuple, reduction: str, offset: int, dtype: type, backend: Backend
) -> None:
    x, labels = logits_and_labels(shape, dtype, offset)
    class_weight = np.random.default_rng(1).uniform(0.5, 2, shape[1]).astype(dtype)
    for weight, smoothing in ((None, 0.0), (class_weight, 0.0), (None, 0.2), (class_weight, 0.1)):
        check_cross_entropy(backend, x, labels, weight, smoothing, reduction)


@pytest.mark.parametrize("shape", [(9000, 70), (1, 300_007)], ids=str)
def test_cross_entropy_of_more_rows_than_blocks_and_of_many_classes(shape: tuple, backend: Backend) -> None:
    x, labels = logits_and_labels(shape, np.float32, 0)
    check_cross_entropy(backend, x, labels, np.linspace(0.5, 2, shape[1], dtype=np.float32), 0.1, "mean")


@each_dtype
@each_shape
def test_a_label_out_of_range_gives_nan(shape: tuple, dtype: type, backend: Backend) -> None:
    x, labels = logits_and_labels(shape, dtype, 0)
    for bad in (shape[1], -1):
        labels[-1] = bad
        for reduction in ("mean", "sum"):
            loss, grad = run(backend, x, labels, None, 0.0, reduction)
            assert np.isnan(loss)
            assert np.isnan(grad[-1]).all()
            assert np.isnan(grad[:-1]).all() == (reduction == "mean" or len(grad) == 1)
        loss, _ = run(backend, x, labels, None, 0.0, "none")
        assert np.isnan(loss[-1])
        assert np.isfinite(loss[:-1]).all()


def check_nll(backend: Backend, x: Array, labels: Array, weight: Array | None, reduction: str) -> None:
    kind = getattr(Reduction, reduction)
    runs = []
    for keeps_gradient in (True, True, False):
        loss = np.full(len(labels) if reduction == "none" else (), np.nan, x.dtype)
        grad = placed(np.full_like(x, np.nan), 0 if x.ctypes.data % 64 == 0 else 1)
        given = grad if keeps_gradient else None
        backend.kernels.nll_forward(x, labels, weight, loss, given, -100, kind)
        runs.append((loss, grad))
    exact = None if weight is None else weight.astype(np.longdouble)
    expected = nll(x.astype(np.longdouble), labels, exact, -100, reduction)
    (loss, grad), (again, grad_again), (without, _) = runs
    # Products are rounded once; the sum is in double.
    assert_close(loss, expected[0].astype(float), 3, "loss", np.maximum(np.abs(expected[0]), 10).astype(float))
    share = 1 / len(x) if reduction == "mean" else 1.0
    assert_close(grad, expected[1].astype(float), 4, "gradient", np.full(x.shape, share))
    assert_bitwise_equal(again, loss, "a second run")
    assert_bitwise_equal(grad_again, grad, "its gradient")
    assert_bitwise_equal(without, loss, "loss without its gradient")


@each_dtype
@each_offset
@each_reduction
@each_shape
def test_nll_equals_the_formula(shape: tuple, reduction: str, offset: int, dtype: type, backend: Backend) -> None:
    x, labels = logits_and_labels(shape, dtype, offset)
    labels[-1] = shape[1] - 1  # some row counts
    for weight in (None, np.random.default_rng(1).uniform(0.5, 2, shape[1]).astype(dtype)):
        check_nll(backend, x, labels, weight, reduction)


@pytest.mark.parametrize("shape", [(9000, 70), (1, 300_007), (300_007, 1)], ids=str)
def test_nll_of_more_rows_than_blocks_and_of_many_classes(shape: tuple, backend: Backend) -> None:
    x, labels = logits_and_labels(shape, np.float32, 0)
    labels[-1] = shape[1] - 1
    check_nll(backend, x, labels, np.linspace(0.5, 2, shape[1], dtype=np.float32), "mean")


@each_dtype
@each_shape
def test_nll_of_a_label_out_of_range_is_nan(shape: tuple, dtype: type, backend: Backend) -> None:
    x, labels = logits_and_labels(shape, dtype, 0)
    for bad in (shape[1], -1):
        labels[-1] = bad
        for kind in Reduction:
            loss = np.zeros(len(labels) if kind == Reduction.none else (), dtype)
            grad = np.zeros_like(x)
            backend.kernels.nll_forward(x, labels, None, loss, grad, -100, kind)
            assert np.isnan(loss.reshape(-1)[-1])
            assert np.isnan(grad[-1]).all()
            if kind == Reduction.none:
                assert np.isfinite(loss[:-1]).all()
            if kind != Reduction.mean:
                assert np.isfinite(grad[:-1]).all()


@each_dtype
@each_offset
@each_shape
def test_correct_rows_are_counted(shape: tuple, offset: int, dtype: type, backend: Backend) -> None:
    random = np.random.default_rng(0)
    x = placed(np.round(random.uniform(-2, 2, shape)).astype(dtype), offset)  # with ties
    x[5::9, shape[1] // 2] = np.nan
    best = x.argmax(1)
    labels = np.where(random.random(shape[0]) < 0.5, best, random.integers(0, shape[1], shape[0]))
    labels[2::11] = -100
    count = np.full((), -1, np.int64)
    backend.kernels.count_correct(x, labels, count)
    assert count == (best == labels).sum()


ELEMENTWISE: list[tuple[str, Any, Any, tuple[float, ...]]] = [
    ("mse", lambda x, t: (x - t) ** 2, lambda x, t: 2 * (x - t), ()),
    ("l1", lambda x, t: np.abs(x - t), lambda x, t: np.sign(x - t), ()),
    ("bce", lambda p, t: -(t * np.log(p) + (1 - t) * np.log1p(-p)), lambda p, t: (p - t) / (p * (1 - p)), ()),
    (
        "bce_with_logits",
        lambda x, t: np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x))),
        lambda x, t: 1 / (1 + np.exp(-x)) - t,
        (),
    ),
    (
        "smooth_l1",
        lambda x, t, beta: np.where(abs(x - t) < beta, (x - t) ** 2 / (2 * beta), abs(x - t) - beta / 2),
        lambda x, t, beta: np.clip((x - t) / beta, -1, 1),
        (0.3,),
    ),
    (
        "huber",
        lambda x, t, delta: np.where(abs(x - t) <= delta, (x - t) ** 2 / 2, delta * (abs(x - t) - delta / 2)),
        lambda x, t, delta: np.clip(x - t, -delta, delta),
        (0.3,),
    ),
]


@each_dtype
@each_offset
@each_reduction
@pytest.mark.parametrize("size", [0, 1, 255, 4096, 4099, 20_011])
@pytest.mark.parametrize("case", ELEMENTWISE, ids=[name for name, *_ in ELEMENTWISE])
def test_losses_by_element_equal_their_formulas(
    case: tuple, size: int, reduction: str, offset: int, dtype: type, backend: Backend
) -> None:
    name, value, slope, scalars = case
    random, kind = np.random.default_rng(0), getattr(Reduction, reduction)
    x, target = (placed(random.uniform(0.1, 0.9, size).astype(dtype), offset) for _ in range(2))
    losses, slopes = (function(x.astype(float), target.astype(float), *scalars) for function in (value, slope))
    expected = {"none": losses, "sum": losses.sum(), "mean": losses.mean() if size else np.nan}[reduction]
    loss = np.full(np.shape(expected), 7, dtype)
    getattr(backend.kernels, f"{name}_forward")(x, target, loss, kind, *scalars)
    assert_close(loss, np.asarray(expected), 8, "loss", np.maximum(np.abs(expected), 0.1))

    grad_out = np.full(size if reduction == "none" else (), 1.5, dtype)
    grad = placed(np.full(size, np.nan, dtype), offset)
    getattr(backend.kernels, f"{name}_backward")(x, target, grad_out, grad, kind, *scalars)
    share = 1 / size if reduction == "mean" and size else 1.0
    assert_close(grad, 1.5 * slopes * share, 16, "gradient", np.maximum(np.abs(slopes), 1) * share)
