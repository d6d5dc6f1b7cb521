"""capture(step): replay equals eager bit by bit, follows what changes between steps, and refuses what it cannot see."""

import itertools
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.capture import require_finite
from minidl.tensor import Tensor


def build(kind: str) -> tuple[nn.Module, Any, Any]:
    """A model, its optimizer and a scheduler, always with the same weights."""
    minidl.manual_seed(3)
    layers: list[nn.Module] = []
    width = 20
    for units in (33, 17):
        layers.append(nn.Linear(width, units))
        if "batch norm" in kind:
            layers.append(nn.BatchNorm1d(units))
        layers.append(nn.ReLU())
        if "dropout" in kind:
            layers.append(nn.Dropout(0.3))
        width = units
    model = nn.Sequential(*layers, nn.Linear(width, 5))
    if "sgd" in kind:
        optimizer: Any = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, max_grad_norm=1.0)
    else:
        optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=0.01)
    return model, optimizer, optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=200)


def train(kind: str, wraps: bool, steps: int = 100) -> tuple[list[float], dict[str, np.ndarray], Any]:
    model, optimizer, scheduler = build(kind)

    def step(x: minidl.Tensor, labels: minidl.Tensor) -> minidl.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    run = minidl.capture(step) if wraps else step
    random = np.random.default_rng(0)
    losses = []
    for number in range(steps):
        rows = 9 if number % 10 == 9 else 32  # a last batch of its own size
        x = minidl.tensor(random.standard_normal((rows, 20)).astype(np.float32))
        labels = minidl.tensor(random.integers(0, 5, rows))
        losses.append(run(x, labels).item())
        scheduler.step()
    state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    return losses, state, run


@pytest.mark.parametrize("kind", ["adam", "sgd", "batch norm", "dropout", "batch norm, dropout, sgd"])
def test_replay_equals_eager_bit_by_bit(kind: str) -> None:
    eager_losses, eager_state, _ = train(kind, wraps=False)
    losses, state, run = train(kind, wraps=True)
    assert losses == eager_losses
    for name, value in eager_state.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)
    assert len(run.records) == 2
    assert all(record.is_complete for record in run.records.values())


def test_log_softmax_and_nll_loss_are_captured() -> None:
    x, labels = minidl.randn(8, 5), minidl.tensor([0, 1, 2, 0, 1, 2, 2, -100])

    def losses(wraps: bool) -> list[float]:
        minidl.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(1))
        optimizer = optim.SGD(model.parameters(), lr=0.5)

        def step(x: minidl.Tensor, labels: minidl.Tensor) -> minidl.Tensor:
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(model(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        run = minidl.capture(step) if wraps else step
        return [run(x, labels).item() for _ in range(6)]

    replayed = losses(wraps=True)
    assert replayed == losses(wraps=False)
    assert replayed[-1] < replayed[0]


def counted_step(model: nn.Module) -> tuple[Any, list[int]]:
    """A captured sum of the model's output, and how often Python ran it."""
    calls: list[int] = []

    @minidl.capture
    def step(x: minidl.Tensor) -> minidl.Tensor:
        calls.append(1)
        return model(x).sum()

    return step, calls


def test_a_recorded_step_runs_no_python() -> None:
    step, calls = counted_step(nn.Linear(3, 2))
    for _ in range(10):
        step(minidl.ones(4, 3))
    assert len(calls) == 2


def test_each_shape_has_its_own_record() -> None:
    step, calls = counted_step(nn.Linear(3, 2))
    for _ in range(5):
        step(minidl.ones(4, 3))
        step(minidl.ones(5, 3))
    assert len(calls) == 4


def test_eval_and_hooks_make_it_record_anew() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    step, calls = counted_step(model)
    x = minidl.ones(4, 3)
    for _ in range(3):
        step(x)
    model.eval()
    expected = model(x).sum().item()
    assert [step(x).item() for _ in range(4)] == [expected] * 4
    assert len(calls) == 4
    seen: list[float] = []
    handle = model[0].register_forward_hook(lambda module, args, out: seen.append(1.0))
    step(x)
    handle.remove()
    assert seen == [1.0]


def test_another_option_or_child_makes_it_record_anew() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU(0.5))
    step, calls = counted_step(model)
    x = minidl.tensor([[1.0, -2.0, 3.0]])
    for change in (
        lambda: None,
        lambda: setattr(model[1], "negative_slope", 3.0),
        lambda: setattr(model, "1", nn.ReLU()),
    ):
        change()
        assert [step(x).item() for _ in range(4)] == [model(x).sum().item()] * 4
    del model[1]
    assert [step(x).item() for _ in range(4)] == [model(x).sum().item()] * 4
    assert len(calls) == 8


def test_numbers_in_a_formula_are_recorded_as_constants() -> None:
    weight = nn.Parameter(minidl.tensor([1.0, -2.0, 3.0]))

    @minidl.capture
    def step(x: minidl.Tensor) -> minidl.Tensor:
        weight.grad = None
        loss = (2 * x * weight + 1).mean() - 0.5 * (weight**2).sum() / 3
        loss.backward()
        return loss

    for scale in range(1, 6):
        x = minidl.full((4, 3), float(scale))
        wanted = (2 * x.numpy() * weight.detach().numpy() + 1).mean() - 0.5 * 14 / 3
        assert step(x).item() == pytest.approx(wanted, rel=1e-6)
        np.testing.assert_allclose(weight.grad.numpy(), (2 * scale - weight.detach().numpy()) / 3, rtol=1e-5)
    assert all(record.is_complete for record in step.records.values())


def test_numpy_work_inside_a_step_is_refused_by_name() -> None:
    step = minidl.capture(lambda x: minidl.exp(minidl.Tensor(x.numpy() + 1)))
    x = minidl.ones(3)
    step(x)
    with pytest.raises(RuntimeError, match=r"exp_forward\(\) reads x of shape \(3,\)"):
        step(x)


def test_the_op_that_cannot_be_captured_is_named() -> None:
    x = minidl.zeros(5, 3)
    step = minidl.capture(lambda x: minidl.cumsum(x, 0) * 2)
    step(x)
    with pytest.raises(RuntimeError, match=r"affine_forward\(\) reads x .* \(in mul\(\)\)"):
        step(x)
    weight = nn.Parameter(minidl.ones(3))
    step = minidl.capture(lambda: minidl.prod(weight).backward())
    step()
    with pytest.raises(RuntimeError, match=r"\(in <ProdBackward>\)"):
        step()


def test_an_l1_penalty_is_captured() -> None:
    weight = nn.Parameter(minidl.tensor([1.5, -2.0, 0.0]))

    @minidl.capture
    def step() -> minidl.Tensor:
        weight.grad = None
        penalty = 0.1 * weight.abs().sum()
        penalty.backward()
        return penalty

    for _ in range(4):
        assert step().item() == pytest.approx(0.35)
        np.testing.assert_allclose(weight.grad.numpy(), np.float32([0.1, -0.1, 0.0]))


def test_a_result_made_by_numpy_is_refused() -> None:
    step = minidl.capture(lambda x: minidl.Tensor(minidl.exp(x).numpy() + 1))
    x = minidl.ones(3)
    step(x)
    with pytest.raises(RuntimeError, match="returns a tensor of shape"):
        step(x)


def test_gradients_accumulate_as_in_eager_mode() -> None:
    weight = minidl.ones(3, requires_grad=True)

    @minidl.capture
    def step(x: minidl.Tensor) -> minidl.Tensor:
        loss = (weight * x).sum()
        loss.backward()
        return loss

    for count in range(1, 7):
        step(minidl.full((3,), 2.0))
        assert weight.grad is not None
        assert weight.grad.tolist() == [2.0 * count] * 3


def test_gradients_dropped_outside_the_step_come_back() -> None:
    weight = minidl.ones(3, requires_grad=True)

    @minidl.capture
    def step(x: minidl.Tensor) -> minidl.Tensor:
        loss = (weight * x).sum()
        loss.backward()
        return loss

    for value in (1.0, 2.0, 3.0, 4.0):
        weight.grad = None
        step(minidl.full((3,), value))
        assert weight.grad is not None
        assert weight.grad.tolist() == [value] * 3


def test_one_memory_passed_twice_is_a_signature_of_its_own() -> None:
    step = minidl.capture(lambda a, b: minidl.Tensor.sum(a * b))
    a, b = minidl.full((4,), 2.0), minidl.full((4,), 3.0)
    for _ in range(3):
        assert step(a, a).item() == 16
    for _ in range(3):
        assert step(a, b).item() == 24


def test_an_error_in_the_step_leaves_nothing_behind() -> None:
    step = minidl.capture(lambda x, y: (x @ y).sum())
    with pytest.raises(ValueError, match="matmul"):
        step(minidl.ones(2, 3), minidl.ones(4, 5))
    assert not step.records
    assert step(minidl.ones(2, 3), minidl.ones(3, 5)).item() == 30


def test_without_strict_a_step_that_cannot_be_recorded_goes_on_running() -> None:
    step = minidl.capture(lambda x: minidl.exp(minidl.Tensor(x.numpy() + 1)), strict=False)
    for value in (1.0, 2.0, 3.0, 4.0):
        x = minidl.full((3,), value)
        assert step(x).tolist() == minidl.exp(x + 1).tolist()
    assert "exp_forward" in step.failure


def test_a_finite_check_stops_a_replay_before_what_follows() -> None:
    total = minidl.zeros(1)

    @minidl.capture
    def step(x: minidl.Tensor) -> None:
        require_finite(x, "x")
        total.add_(x)

    for value in (1.0, 2.0, 3.0):
        step(minidl.full((1,), value))
    with pytest.raises(FloatingPointError, match="x became -inf"):
        step(minidl.full((1,), -minidl.inf))
    assert total.item() == 6
    step(minidl.full((1,), 1.0))
    assert total.item() == 7


def test_tensors_inside_lists_and_dicts_are_inputs() -> None:
    step = minidl.capture(lambda batch: batch["x"][0] * batch["x"][1])
    for value in (1.0, 2.0, 3.0, 4.0):
        assert step({"x": [minidl.full((2,), value), minidl.full((2,), 5.0)]}).tolist() == [5 * value] * 2


def test_an_argument_without_hash_is_refused() -> None:
    step = minidl.capture(lambda x, values: x)
    with pytest.raises(TypeError, match="unhashable"):
        step(minidl.ones(2), np.ones(2))


def test_many_signatures_stop_being_recorded() -> None:
    step = minidl.capture(lambda x, factor: x * x * minidl.full((2,), factor))
    for number in range(20):
        for _ in range(3):
            assert step(minidl.full((2,), 2.0), float(number)).tolist() == [4.0 * number] * 2
    assert len(step.records) == 8


def test_temporary_memory_of_a_record_is_not_used_by_others() -> None:
    step = minidl.capture(lambda x: minidl.exp(minidl.exp(minidl.exp(x))))
    results = []
    for value in (0.1, 0.2, 0.3, 0.4):
        results.append(step(minidl.full((1000,), value)).clone())
        others = [minidl.full((1000,), -7.0) for _ in range(20)]
        assert all((other == -7).all().item() for other in others)
    for value, result in zip((0.1, 0.2, 0.3, 0.4), results, strict=True):
        np.testing.assert_allclose(result.numpy(), np.exp(np.exp(np.exp(value))), rtol=1e-6)


def test_a_result_outlives_its_step() -> None:
    step = minidl.capture(lambda x: minidl.exp(x))
    for _ in range(3):
        result = step(minidl.zeros(1000))
    del step
    others = [minidl.zeros(1000) for _ in range(10)]
    assert (result == 1).all().item()
    assert len(others) == 10


def test_changes_in_place_are_replayed() -> None:
    changes = {
        "add_": lambda x: x.add_(1.0),
        "mul_": lambda x: x.mul_(2.0),
        "clamp_": lambda x: x.clamp_(0.0, 3.0),
        "copy_": lambda x: x.copy_(minidl.ops.square(x)),
        "copy_ reversed": lambda x: x.copy_(x.flip(0)),
        "fill_": lambda x: x.fill_(7.0),
    }
    for name, change in changes.items():

        def step(x: Tensor, change: Any = change) -> Tensor:
            change(x)
            return x.sum()

        captured, eager = minidl.arange(4).float(), minidl.arange(4).float()
        run = minidl.capture(step)
        for _ in range(5):
            assert run(captured).item() == step(eager).item(), name
        assert captured.tolist() == eager.tolist(), name


def test_a_step_of_the_optimizer_alone_is_refused_with_a_word_about_its_gradients() -> None:
    weight = minidl.randn(3, requires_grad=True)
    optimizer = optim.SGD([weight], lr=0.1)
    step = minidl.capture(optimizer.step)

    def train() -> None:
        optimizer.zero_grad()
        (weight * weight).sum().backward()
        step()

    train()
    with pytest.raises(RuntimeError, match=r"was not there before: .* gradients of a backward\(\) outside of the step"):
        train()


def test_a_change_in_place_that_no_kernel_makes_is_refused() -> None:
    counter, mask = minidl.tensor([1, 2]), minidl.zeros(2, 3)
    for change in (lambda: counter.add_(1), lambda: mask.T.fill_(1.0), lambda: mask.__setitem__(0, 1.0)):

        def step(x: Tensor, change: Any = change) -> Tensor:
            change()
            return x * 2

        run = minidl.capture(step)
        run(minidl.ones(3))
        with pytest.raises(RuntimeError, match="something other than a kernel"):
            run(minidl.ones(3))
        lenient = minidl.capture(step, strict=False)
        for _ in range(4):
            lenient(minidl.ones(3))
        assert "something other than a kernel" in lenient.failure


def test_a_copy_onto_itself_reads_before_it_writes() -> None:
    x = minidl.arange(9).float().reshape(3, 3)
    expected = x.numpy().T.copy()
    x.copy_(x.T)
    np.testing.assert_array_equal(x.numpy(), expected)


# ---- several steps in one call


def train_in_groups(kind: str, groups: list[int]) -> tuple[list[float], dict[str, np.ndarray], list[int]]:
    """Losses, final state and how often Python ran the step, trained by so many steps in each call of ``each``."""
    model, optimizer, _ = build(kind)
    calls: list[int] = []

    @minidl.capture
    def step(x: Tensor, labels: Tensor, loss_of_step: Tensor) -> None:
        calls.append(1)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        loss_of_step.copy_(loss.detach().reshape(1))

    random, steps = np.random.default_rng(0), sum(groups)
    x = minidl.tensor(random.standard_normal((steps, 32, 20)).astype(np.float32))
    labels, losses = minidl.tensor(random.integers(0, 5, (steps, 32))), minidl.zeros(steps, 1)
    for end, count in zip(itertools.accumulate(groups), groups, strict=True):
        rows = slice(end - count, end)
        step.each(x[rows], labels[rows], losses[rows])
    return (
        losses.reshape(-1).tolist(),
        {name: value.numpy().copy() for name, value in model.state_dict().items()},
        calls,
    )


@pytest.mark.parametrize("kind", ["adam", "batch norm, dropout, sgd"])
def test_several_steps_in_one_call_are_those_steps_bit_by_bit(kind: str) -> None:
    losses, state, _ = train_in_groups(kind, [1] * 61)
    for groups in ([61], [1, 1, 1, 16, 32, 10], [3, 17, 41]):
        again, state_again, calls = train_in_groups(kind, groups)
        assert again == losses
        assert len(calls) == 2
        for name, value in state.items():
            np.testing.assert_array_equal(state_again[name], value, err_msg=name)


def test_each_takes_what_a_step_takes_with_an_axis_before() -> None:
    step = minidl.capture(lambda batch, factor: (batch["x"] * batch["y"][0] * factor).sum())
    x, y = minidl.arange(10.0).reshape(5, 2), minidl.full((5, 2), 3.0)
    for _ in range(2):
        assert step.each({"x": x, "y": [y]}, 2).item() == (8 + 9) * 3 * 2
    assert step.each({"x": x[::2], "y": (y[1:4],)}, 1).item() == (8 + 9) * 3
    with pytest.raises(ValueError, match=r"one length, of at least 1; got \[4, 5\]"):
        step.each({"x": x, "y": [y[1:]]}, 2)
    with pytest.raises(ValueError, match=r"got \[\]"):
        step.each(2)
    with pytest.raises(ValueError, match=r"got \[0\]"):
        step.each(x[:0], 2)


def test_what_each_calls_follows_what_changes_between_the_calls() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU(0.5))
    step, calls = counted_step(model)
    x = minidl.tensor([[[1.0, -2.0, 3.0]]] * 6)
    for change in (lambda: None, lambda: setattr(model[1], "negative_slope", 3.0), lambda: model.eval()):
        change()
        for _ in range(2):
            assert step.each(x).item() == model(x[0]).sum().item()
    assert len(calls) == 6


def test_each_accumulates_gradients_as_single_calls_do() -> None:
    weight = minidl.ones(3, requires_grad=True)

    @minidl.capture
    def step(x: Tensor) -> None:
        (weight * x).sum().backward()

    for count in range(1, 5):
        step.each(minidl.full((5, 3), 2.0))
        assert weight.grad is not None
        assert weight.grad.tolist() == [10.0 * count] * 3
        weight.grad.fill_(10.0 * count)  # in place: where the next call finds it
    weight.grad = None
    step.each(minidl.full((5, 3), 2.0))
    assert weight.grad.tolist() == [10.0] * 3


def test_each_stops_at_an_error_with_the_steps_before_it_done() -> None:
    total = minidl.zeros(1)

    @minidl.capture
    def step(x: Tensor) -> None:
        require_finite(x, "x")
        total.add_(x)

    step.each(minidl.ones(4, 1))
    with pytest.raises(FloatingPointError, match="x became nan"):
        step.each(minidl.tensor([[1.0], [2.0], [minidl.nan], [4.0]]))
    assert total.item() == 7
    step.each(minidl.ones(4, 1))
    assert total.item() == 11


def test_each_of_a_step_that_cannot_be_recorded_just_runs() -> None:
    step = minidl.capture(lambda x: minidl.exp(minidl.Tensor(x.numpy() + 1)), strict=False)
    assert step.each(minidl.zeros(5, 3)).tolist() == minidl.exp(minidl.ones(3)).tolist()
    assert "exp_forward" in step.failure
    assert step.recorded(minidl.zeros(3)) is None


def test_a_step_is_recorded_after_two_calls() -> None:
    step, _ = counted_step(nn.Linear(3, 2))
    x = minidl.ones(4, 3)
    answers = []
    for _ in range(3):
        answers.append(step.recorded(x) is not None)
        step(x)
    assert answers == [False, False, True]
    assert step.recorded(minidl.ones(5, 3)) is None


def test_a_rate_is_read_anew_in_every_replay() -> None:
    weight = nn.Parameter(minidl.zeros(1))
    optimizer = optim.SGD([weight], lr=1.0)

    @minidl.capture
    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        (weight * x).sum().backward()
        optimizer.step()

    wanted = 0.0
    for rate in (1.0, 2.0, 4.0, 8.0):
        optimizer.param_groups[0]["lr"] = 0.5
        optimizer.param_groups[0]["lr"] = rate
        step.each(minidl.ones(3, 1))
        wanted -= 3 * rate
        assert weight.item() == wanted
