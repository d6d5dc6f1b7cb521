"""Calls that a replay on a GPU joins into one: the same bits as one after the other, and only where that is right."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
from comparison import assert_bitwise_equal
from minidl import bench, nn, optim
from minidl.backends import Backend
from minidl.bench.profile import summarize
from minidl.bench.row import Operand
from minidl.tensor import Tensor

JOINED = "linear_cross_entropy"
Loss = Callable[[Tensor, Tensor], Tensor]


def make_batches(rows: int, features: int, classes: int, dtype: Any) -> list[tuple[Tensor, Tensor]]:
    rng = np.random.default_rng(rows)
    return [
        (
            minidl.tensor(rng.standard_normal((rows, features)), dtype=dtype, device="cuda"),
            minidl.tensor(rng.integers(0, classes, rows), device="cuda"),
        )
        for _ in range(4)
    ]


def make_step(model: nn.Module, loss_of: Loss) -> tuple[optim.Optimizer, Loss]:
    optimizer = optim.SGD(model.parameters(), lr=0.05)

    def step(x: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return optimizer, step


def train(
    make_model: Callable[[], nn.Module],
    batches: list[tuple[Tensor, Tensor]],
    loss_of: Loss,
    wrap: Callable[[Loss], Any],
) -> tuple[list[np.ndarray], Any]:
    """Every loss and what the parameters are after it, and the wrapped step."""
    minidl.manual_seed(0)
    model = make_model()
    step = wrap(make_step(model, loss_of)[1])
    seen = []
    for x, labels in batches:
        seen.append(step(x, labels).cpu().numpy().copy())
        seen += [parameter.detach().cpu().numpy().copy() for parameter in model.parameters()]
    return seen, step


def compare(
    make_model: Callable[[], nn.Module], batches: list[tuple[Tensor, Tensor]], loss_of: Loss
) -> tuple[set[str], Any]:
    """Trains eagerly and captured, compares every loss and parameter bit by bit; the calls' names and their plan."""
    eager, _ = train(make_model, batches, loss_of, lambda step: step)
    replayed, step = train(make_model, batches, loss_of, minidl.capture)
    for i, (actual, expected) in enumerate(zip(replayed, eager, strict=True)):
        assert_bitwise_equal(actual, expected, f"array {i}")
    (record,) = step.records.values()
    return {name for name, _, _ in step.profile(*batches[0], repeats=1)}, record.plan


def classifier(features: int, classes: int, dtype: Any, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(nn.Linear(5, features), activation(), nn.Linear(features, classes)).to("cuda", dtype)


@pytest.mark.parametrize("dtype", [minidl.float32, minidl.float64], ids=str)
@pytest.mark.parametrize(
    ("rows", "features", "classes"),
    [(2, 64, 2), (17, 67, 3), (128, 128, 10), (130, 200, 16), (300, 68, 12), (1024, 64, 4)],
)
def test_the_end_of_a_classifier_is_one_call(rows: int, features: int, classes: int, dtype: Any, cuda: Backend) -> None:
    names, plan = compare(
        lambda: classifier(features, classes, dtype),
        make_batches(rows, 5, classes, dtype),
        nn.functional.cross_entropy,
    )
    assert JOINED in names
    assert not names & {"cross_entropy_forward", "linear_backward_input"}
    assert len(plan) == 5  # the first layer, the joined call, two weight gradients, the optimizer
    assert plan.longest_chain == 4


@pytest.mark.parametrize("order", ["reverse", "random:1", "random:2"])
def test_the_order_of_threads_does_not_matter(order: str, cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_EMULATOR_ORDER", order)
    names, _ = compare(
        lambda: classifier(70, 11, minidl.float32),
        make_batches(150, 5, 11, minidl.float32),
        nn.functional.cross_entropy,
    )
    assert JOINED in names


@pytest.mark.parametrize(
    "options",
    [
        {"reduction": "sum"},
        {"label_smoothing": 0.1},
        {"ignore_index": 1},
        {"weight": True},
        {"weight": True, "label_smoothing": 0.2, "ignore_index": 0, "reduction": "sum"},
    ],
    ids=str,
)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Identity, nn.GELU])
def test_losses_and_activations_of_all_kinds(
    options: dict[str, Any], activation: type[nn.Module], cuda: Backend
) -> None:
    if "weight" in options:
        options = {**options, "weight": minidl.tensor([0.5, 2.0, 1.0, 0.0, 3.0], device="cuda")}
    names, _ = compare(
        lambda: classifier(70, 5, minidl.float32, activation),
        make_batches(140, 5, 5, minidl.float32),
        lambda logits, labels: nn.functional.cross_entropy(logits, labels, **options),
    )
    assert (JOINED in names) == ("weight" not in options)


@pytest.mark.parametrize("poison", [np.inf, -np.inf, np.nan, 1e30])
def test_what_is_not_finite_spreads_alike(poison: float, cuda: Backend) -> None:
    batches = make_batches(20, 5, 4, minidl.float32)
    batches[3][0][7, 2] = poison

    replayed, eager = (
        train(lambda: classifier(64, 4, minidl.float32), batches, nn.functional.cross_entropy, wrap)[0]
        for wrap in (minidl.capture, lambda step: step)
    )
    for actual, expected in zip(replayed, eager, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_a_label_out_of_range_gives_nan(cuda: Backend) -> None:
    batches = make_batches(20, 5, 4, minidl.float32)
    batches[3][1][5] = 4
    model = classifier(64, 4, minidl.float32)
    step = minidl.capture(make_step(model, nn.functional.cross_entropy)[1])
    assert [bool(step(*batch).isnan()) for batch in batches] == [False, False, False, True]


@pytest.mark.parametrize("comes_first", [False, True])
def test_accuracy_is_a_hindrance_only_before_the_loss(comes_first: bool, cuda: Backend) -> None:
    batches = make_batches(40, 5, 4, minidl.float32)
    hits: list[list[int]] = []
    for wrap in (minidl.capture, lambda step: step):
        minidl.manual_seed(0)
        model = classifier(64, 4, minidl.float32)
        optimizer = optim.SGD(model.parameters(), lr=0.05)

        def step(x: Tensor, labels: Tensor, model: Any = model, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            logits = model(x)
            if comes_first:
                hits = minidl.ops.count_correct(logits.detach(), labels)
            nn.functional.cross_entropy(logits, labels).backward()
            optimizer.step()
            return hits if comes_first else minidl.ops.count_correct(logits.detach(), labels)

        wrapped: Any = wrap(step)
        hits.append([int(wrapped(*batch)) for batch in batches])
        if wrap is minidl.capture:
            names = {name for name, _, _ in wrapped.profile(*batches[0], repeats=1)}
            assert (JOINED in names) == (not comes_first)
    assert hits[0] == hits[1]


# ---- where nothing may be joined


def cross_entropy_of_twice(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits * 2, labels)


def mean_of_rows(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels, reduction="none").mean()


def with_penalty(logits: Tensor, labels: Tensor) -> Tensor:
    return 0.01 * (logits * logits).sum() + nn.functional.cross_entropy(logits, labels)


@pytest.mark.parametrize(
    ("rows", "features", "classes", "loss_of"),
    [
        (20, 64, 17, nn.functional.cross_entropy),
        (20, 63, 4, nn.functional.cross_entropy),
        (20, 1025, 4, nn.functional.cross_entropy),
        (1, 64, 4, nn.functional.cross_entropy),
        (1025, 64, 2, nn.functional.cross_entropy),
        (20, 64, 4, cross_entropy_of_twice),
        (20, 64, 4, mean_of_rows),
        (20, 64, 4, with_penalty),
    ],
)
def test_other_steps_stay_as_they_are(rows: int, features: int, classes: int, loss_of: Loss, cuda: Backend) -> None:
    names, _ = compare(
        lambda: classifier(features, classes, minidl.float32), make_batches(rows, 5, classes, minidl.float32), loss_of
    )
    assert JOINED not in names


def test_a_single_layer_has_no_input_gradient_to_join(cuda: Backend) -> None:
    names, _ = compare(
        lambda: nn.Linear(80, 4).to("cuda"), make_batches(20, 80, 4, minidl.float32), nn.functional.cross_entropy
    )
    assert JOINED not in names


@pytest.mark.parametrize("overwritten", ["x", "logits", "none"])
def test_parts_that_overwrite_each_other_stay_apart(overwritten: str, cuda: Backend) -> None:
    """Kernels called by hand, the last of which writes where the first one reads or writes."""
    rng = np.random.default_rng(0)
    rows = features = 64
    classes = 16
    x, weight = (
        minidl.tensor(rng.standard_normal(shape), dtype=minidl.float32, device="cuda")
        for shape in ((rows, features), (classes, features))
    )
    labels = minidl.tensor(rng.integers(0, classes, rows), device="cuda")
    logits, grad = (minidl.zeros(rows, classes, device="cuda") for _ in range(2))
    memory = {"x": x.clone(), "none": minidl.zeros(rows, features, device="cuda")}
    memory["logits"] = minidl.zeros(rows * features, device="cuda")
    loss = minidl.zeros((), device="cuda")
    source = memory["x"]
    if overwritten == "logits":
        logits = memory["logits"][-rows * classes :].reshape(rows, classes)
    grad_x = memory[overwritten].reshape(rows, features)
    kernels = cuda.kernels

    def step(labels: Tensor) -> Tensor:
        kernels.linear_forward(source.array, weight.array, None, logits.array, 0)
        kernels.cross_entropy_forward(logits.array, labels.array, None, loss.array, grad.array, -100, 0.0, 1)
        kernels.linear_backward_input(grad.array, weight.array, grad_x.array, None, 0)
        return loss.detach()

    def results(run: Callable[[Tensor], Any]) -> list[np.ndarray]:
        seen = []
        for _ in range(4):
            if overwritten == "x":
                source.copy_(x)
            run(labels)
            seen += [loss.cpu().numpy().copy(), grad.cpu().numpy().copy(), grad_x.cpu().numpy().copy()]
        return seen

    expected = results(step)
    captured = minidl.capture(step)
    for actual, wanted in zip(results(captured), expected, strict=True):
        assert_bitwise_equal(actual, wanted, overwritten)
    names = {name for name, _, _ in captured.profile(labels, repeats=1)}
    assert (JOINED in names) == (overwritten == "none")


def test_a_joined_call_has_the_work_of_its_parts(cuda: Backend) -> None:
    (x, labels), *_ = make_batches(20, 5, 4, minidl.float32)
    model = classifier(64, 4, minidl.float32)
    calls = minidl.capture(make_step(model, nn.functional.cross_entropy)[1]).profile(x, labels, repeats=1)
    ((name, parts, seconds),) = (call for call in calls if call[0] == JOINED)
    assert [kernel for kernel, _ in parts] == ["linear_forward", "cross_entropy_forward", "linear_backward_input"]
    in_operands = tuple((kernel, tuple(Operand(*array) for array in arrays)) for kernel, arrays in parts)
    costs = [bench.ROWS[kernel].cost(operands) for kernel, operands in in_operands]
    roofs = bench.Roofs(1e12, {1: 1e12})
    (line,) = summarize([(name, in_operands, seconds)], roofs)
    assert line.cost == bench.Cost(sum(cost.flops for cost in costs), sum(cost.bytes for cost in costs))
    assert line.cost.flops > 2 * 2 * 20 * 64 * 4
