"""What follows an optimizer's step: the largest norm of a weight's rows (max_norm) and exact zeros (l1_decay)."""

import math
from typing import Any

import numpy as np
import pytest

import minidl
from comparison import assert_bitwise_equal, assert_close
from minidl import Tensor, _cpu, nn, optim
from minidl.backends import Backend

Array = np.ndarray
OPTIMIZERS = [optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad, optim.RMSprop, optim.Adadelta, optim.Adamax]
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def row_norms(weight: Array) -> Array:
    """Correctly rounded norms of the rows, in float64."""
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    return np.array([math.sqrt(math.fsum((row * row).tolist())) for row in rows])


def random_weights(dtype: type, columns: tuple[int, ...] = (1, 3, 17, 64, 129, 1000)) -> list[Array]:
    random = np.random.default_rng(0)
    return [(random.standard_normal((37, width)) * 10.0 ** random.integers(-3, 4)).astype(dtype) for width in columns]


# ---- the largest norm of a row


@each_dtype
@pytest.mark.parametrize("max_norm", [0.1, 1.0, 3.7, 1e-20, 1e20])
def test_no_norm_is_beyond_the_largest_and_scaled_rows_are_next_to_it(
    dtype: type, max_norm: float, backend: Backend
) -> None:
    epsilon = np.finfo(dtype).eps
    # In float64 the kernel's own sum of squares rounds, too.
    above = 0 if dtype is np.float32 else 8 * epsilon
    for weight in random_weights(dtype):
        before = weight.copy()
        backend.kernels.limit_row_norms([weight], max_norm)
        norms, norms_before = row_norms(weight), row_norms(before)
        is_scaled = norms_before > max_norm
        assert (norms <= max_norm * (1 + above)).all()
        assert (norms[is_scaled] >= max_norm * (1 - 2.5 * epsilon - above)).all()
        np.testing.assert_array_equal(weight[~is_scaled], before[~is_scaled])
        expected = before.astype(np.float64) * np.minimum(1, max_norm / norms_before)[:, None]
        assert_close(weight, expected, 3 if dtype is np.float32 else 6, "weight", np.abs(expected))


def test_limiting_twice_is_limiting_once(backend: Backend) -> None:
    for weight in random_weights(np.float32):
        backend.kernels.limit_row_norms([weight], 0.3)
        once = weight.copy()
        backend.kernels.limit_row_norms([weight], 0.3)
        assert_bitwise_equal(weight, once, "weight")


@each_dtype
def test_rows_of_zeros_and_rows_with_nan_or_inf_stay_as_they_are(dtype: type, backend: Backend) -> None:
    weight = np.full((5, 19), 2, dtype)
    weight[0] = 0
    weight[1, 3] = np.nan
    weight[2, 18] = -np.inf
    weight[3, :2] = np.inf, np.nan
    before = weight.copy()
    backend.kernels.limit_row_norms([weight], 1.0)
    np.testing.assert_array_equal(weight[:4], before[:4])
    np.testing.assert_allclose(weight[4], 1 / math.sqrt(19), rtol=1e-6)


@each_dtype
def test_a_largest_norm_of_0_gives_zeros(dtype: type, backend: Backend) -> None:
    weight = np.ones((3, 5), dtype)
    backend.kernels.limit_row_norms([weight], 0.0)
    np.testing.assert_array_equal(weight, 0)


def test_numbers_whose_squares_overflow_in_float32_are_scaled(backend: Backend) -> None:
    weight = np.full((2, 4), 3e38, np.float32)
    backend.kernels.limit_row_norms([weight], 2.0)
    np.testing.assert_allclose(weight, 1.0, rtol=1e-6)


def test_many_matrices_of_any_shape_go_through_one_call(backend: Backend) -> None:
    """More than a launch takes, some of them empty, the first dimension as rows."""
    shapes: list[tuple[int, ...]] = [(3, 4), (0, 5), (4, 0), (2, 3, 5), (1, 1)] * 30
    random = np.random.default_rng(1)
    weights = [random.standard_normal(shape).astype(np.float32) for shape in shapes]
    expected = []
    for weight in weights:
        norms = row_norms(weight) if weight.size else np.ones(len(weight))
        scale = np.minimum(1, 0.5 / norms).reshape(-1, *[1] * (weight.ndim - 1))
        expected.append(weight.astype(np.float64) * scale)
    backend.kernels.limit_row_norms(weights, 0.5)
    for i, (weight, wanted) in enumerate(zip(weights, expected, strict=True)):
        assert_close(weight, wanted, 3, f"weight {i}", np.abs(wanted))


def test_vectors_are_refused_by_the_kernel() -> None:
    with pytest.raises(
        ValueError, match=r"limit_row_norms\(\): weight must have at least 2 dimensions, got shape \(3,\)"
    ):
        _cpu.limit_row_norms([np.ones(3, np.float32)], 1.0)
    with pytest.raises(TypeError, match="weight must be float32, got float64"):
        _cpu.limit_row_norms([np.ones((3, 1), np.float32), np.ones((3, 1))], 1.0)


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_max_norm_holds_for_every_row_after_every_step(kind: type[optim.Optimizer], backend: Backend) -> None:
    model = nn.Linear(13, 7)
    optimizer = kind(model.parameters(), lr=0.5, max_norm=0.25)
    random = np.random.default_rng(0)
    bias = model.bias.detach().clone()
    for _ in range(10):
        model.weight.grad = Tensor(random.standard_normal((7, 13)).astype(np.float32))
        model.bias.grad = Tensor(np.ones(7, np.float32))
        optimizer.step()
        assert (row_norms(model.weight.detach().numpy()) <= 0.25).all()
    assert (model.bias < bias).all().item()


def test_max_norm_scales_what_the_step_made_and_leaves_vectors_alone() -> None:
    weight = minidl.tensor([[3.0, 0.0], [0.5, 0.0]], requires_grad=True)
    bias = minidl.tensor([5.0], requires_grad=True)
    optimizer = optim.SGD([weight, bias], lr=1.0, max_norm=1.0)
    weight.grad, bias.grad = minidl.tensor([[0.0, 4.0], [0.0, 0.0]]), minidl.zeros(1)
    optimizer.step()  # the first row is (3, -4) before it is scaled
    np.testing.assert_allclose(weight.detach().numpy(), [[0.6, -0.8], [0.5, 0.0]], rtol=1e-6)
    assert bias.item() == 5.0


def test_a_weight_of_any_layout_is_constrained_in_its_own_memory() -> None:
    memory = np.full((4, 3), 2.0, np.float32)
    weight = Tensor(memory.T, requires_grad=True)
    weight.grad = minidl.zeros(3, 4)
    optim.SGD([weight], lr=1.0, l1_decay=0.5, max_norm=1.5).step()
    assert weight.array.base is memory
    np.testing.assert_allclose(memory, 0.75, rtol=1e-6)  # 1.5 is left of 2, and 4 of them have the norm 3


def test_a_weight_without_a_gradient_is_not_constrained() -> None:
    weight = minidl.full((2, 2), 3.0, requires_grad=True)
    optimizer = optim.SGD([weight], lr=1.0, max_norm=1.0, l1_decay=1.0)
    optimizer.step()
    assert weight.tolist() == [[3.0, 3.0]] * 2


# ---- the soft threshold


@each_dtype
def test_small_weights_become_zero_and_the_others_shrink(dtype: type, backend: Backend) -> None:
    random = np.random.default_rng(0)
    params = [random.standard_normal(size).astype(dtype) for size in (1, 0, 17, 5003)]
    before = [param.copy() for param in params]
    backend.kernels.soft_threshold(params, np.array([0.5, 0.0, 0.0]), 0.75)
    threshold = dtype(0.375)
    for param, w in zip(params, before, strict=True):
        expected = np.sign(w) * np.maximum(np.abs(w) - threshold, dtype(0))
        np.testing.assert_array_equal(param, expected)
        assert not np.signbit(param[np.abs(w) <= threshold]).any()
    assert (params[3] == 0).any()


def test_the_threshold_keeps_nan_and_inf(backend: Backend) -> None:
    param = np.array([np.nan, np.inf, -np.inf, 2.0, -0.5], np.float32)
    backend.kernels.soft_threshold([param], np.array([1.0, 0.0, 0.0]), 1.0)
    np.testing.assert_array_equal(param, [np.nan, np.inf, -np.inf, 1.0, 0.0])


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_the_threshold_follows_the_rate_of_the_step_alone(kind: type[optim.Optimizer]) -> None:
    """The same step without it, then the published proximal operator."""
    results = []
    for l1_decay in (0.0, 0.3):
        weight = minidl.linspace(-1, 1, 101).requires_grad_()
        weight.grad = minidl.linspace(1, 2, 101)
        kind([weight], lr=0.5, l1_decay=l1_decay).step()
        results.append(weight.detach().numpy())
    plain, shrunk = results
    np.testing.assert_allclose(shrunk, np.sign(plain) * np.maximum(np.abs(plain) - 0.15, 0), atol=1e-7)


def test_lasso_is_solved_with_exact_zeros() -> None:
    """The minimum of |w - target|^2 / 2 + 0.5 |w|_1 is the soft threshold of target: known in closed form."""
    target = minidl.tensor([2.0, -1.0, 0.3, -0.4, 0.0])
    weight = minidl.ones(5, requires_grad=True)
    optimizer = optim.SGD([weight], lr=0.5, l1_decay=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        (0.5 * (weight - target) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(weight.detach().numpy(), [1.5, -0.5, 0.0, 0.0, 0.0], atol=1e-6)
    assert weight.tolist()[2:] == [0.0, 0.0, 0.0]


# ---- both, in captured steps and on threads


def train(wraps: bool, device: str = "cpu", steps: int = 12, **options: Any) -> tuple[list[Array], Any]:
    minidl.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 33), nn.Tanh(), nn.Linear(33, 5)).to(device)
    optimizer = optim.Adam(model.parameters(), lr=0.05, **options)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    def step(x: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    run = minidl.capture(step) if wraps else step
    random = np.random.default_rng(0)
    for _ in range(steps):
        x, labels = Tensor(random.standard_normal((16, 20)).astype(np.float32)), random.integers(0, 5, 16)
        run(x.to(device), minidl.tensor(labels).to(device))
        schedule.step()
    return [parameter.detach().cpu().numpy() for parameter in model.parameters()], run


@pytest.mark.parametrize("options", [{"max_norm": 0.5}, {"l1_decay": 0.1}, {"max_norm": 0.5, "l1_decay": 0.1}], ids=str)
def test_replayed_steps_are_those_of_python(options: dict[str, float]) -> None:
    """With a rate that falls from step to step: a replay must see the threshold fall."""
    eager, _ = train(wraps=False, **options)
    replayed, run = train(wraps=True, **options)
    assert all(record.is_complete for record in run.records.values())
    for ours, theirs in zip(replayed, eager, strict=True):
        assert_bitwise_equal(ours, theirs, "parameter")
    without, _ = train(wraps=False)
    assert not np.array_equal(without[0], eager[0])


def test_replayed_steps_on_a_gpu_are_those_of_python(cuda: Backend) -> None:
    options = {"max_norm": 0.5, "l1_decay": 0.1}
    eager, _ = train(wraps=False, device="cuda", steps=5, **options)
    replayed, run = train(wraps=True, device="cuda", steps=5, **options)
    assert all(record.is_complete for record in run.records.values())
    for ours, theirs, on_cpu in zip(replayed, eager, train(wraps=False, steps=5, **options)[0], strict=True):
        assert_bitwise_equal(ours, theirs, "parameter")
        np.testing.assert_allclose(ours, on_cpu, rtol=1e-4, atol=1e-6)


def test_another_max_norm_makes_a_step_be_recorded_anew() -> None:
    weight = minidl.full((1, 4), 2.0, requires_grad=True)
    optimizer = optim.SGD([weight], lr=0.0, max_norm=2.0)

    @minidl.capture
    def step() -> None:
        optimizer.zero_grad()
        weight.sum().backward()
        optimizer.step()

    for max_norm in (2.0, 1.0):
        optimizer.param_groups[0]["max_norm"] = max_norm
        for _ in range(3):
            step()
        assert row_norms(weight.detach().numpy())[0] == pytest.approx(max_norm, rel=1e-6)


def test_results_do_not_depend_on_the_threads(backend: Backend) -> None:
    def result(threads: int) -> list[Array]:
        _cpu.set_thread_count(threads)
        weights = [np.linspace(-1, 1, 60 * 1001, dtype=np.float32).reshape(60, 1001), np.ones((7, 3), np.float32)]
        backend.kernels.soft_threshold(weights, np.array([0.1, 0.0, 0.0]), 1.0)
        backend.kernels.limit_row_norms(weights, 3.0)
        return weights

    expected = result(1)
    for threads in (2, 3):
        for weight, wanted in zip(result(threads), expected, strict=True):
            assert_bitwise_equal(weight, wanted, f"{threads} threads")


@pytest.mark.parametrize("option", ["max_norm", "max_grad_norm", "l1_decay"])
def test_negative_options_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"SGD: {option} must be at least 0 and not nan, got -1"):
        optim.SGD([minidl.ones(1, requires_grad=True)], **{option: -1})
