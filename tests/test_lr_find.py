"""lr_find(): where it stops, what it suggests, and that it leaves everything as it was, bit by bit."""

import importlib.util
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn, optim, training
from minidl.data import DataLoader, TensorDataset
from requirements import missing
from training_runs import build, digits_loader


def state_of(model: nn.Module, optimizer: Any) -> dict[str, np.ndarray]:
    """Every array of model and optimizer by name, as copies."""
    arrays = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    for number, kept in optimizer.state_dict()["state"].items():
        arrays |= {f"{number}.{name}": tensor.numpy().copy() for name, tensor in kept.items()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            arrays[f"{name}.grad"] = parameter.grad.numpy().copy()
    return arrays


def prepared() -> dict[str, Any]:
    """A model in the middle of its training, with everything that has state; some modules out of training mode."""
    parts = build()
    loader = digits_loader(generator=minidl.Generator().manual_seed(3))
    training.fit(train_data=loader, epochs=1, **parts)
    parts["model"][3].eval()
    return {**parts, "loader": loader}


def everything(parts: dict[str, Any]) -> tuple[Any, ...]:
    """What must be the same afterwards, beside the arrays."""
    optimizer = parts["optimizer"]
    return (
        [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups],
        [group.schedule(minidl.zeros(1).backend).tolist() for group in optimizer.param_groups],
        optimizer.steps_taken,
        parts["scheduler"].state_dict(),
        [module.training for module in parts["model"].modules()],
        minidl.get_rng_state(),
        parts["loader"].generator.get_state(),
        random.getstate(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),  # noqa: NPY002
    )


def run(parts: dict[str, Any], **options: Any) -> training.LearningRateSweep:
    return minidl.lr_find(parts["model"], parts["loader"], parts["optimizer"], **options)


def breaks_off(after: int) -> Callable[[Any, Any], Any]:
    """A loss that fails, and draws from the generators of Python and NumPy before."""
    calls = []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        calls.append(random.random() + np.random.rand())  # noqa: NPY002
        if len(calls) > after:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(output, target)

    return loss


@pytest.mark.parametrize("ending", ["finished", "diverged", "an exception", "an exception at once"])
def test_everything_is_as_it_was_bit_by_bit(ending: str) -> None:
    parts = prepared()
    model, optimizer = parts["model"], parts["optimizer"]
    arrays, rest, grad = state_of(model, optimizer), everything(parts), model[0].weight.grad
    memory = [tensor.array.ctypes.data for tensor in (*model.parameters(), *model.buffers())]
    if ending.startswith("an exception"):
        with pytest.raises(KeyboardInterrupt):
            run(parts, loss=breaks_off(0 if ending.endswith("at once") else 1))
    else:
        sweep = run(parts, highest=1e-3 if ending == "finished" else 1e4)
        assert sweep.stopped == ending
    after = state_of(model, optimizer)
    assert after.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    assert everything(parts) == rest
    assert model[0].weight.grad is grad
    assert [tensor.array.ctypes.data for tensor in (*model.parameters(), *model.buffers())] == memory


def test_an_optimizer_that_has_not_stepped_has_no_state_afterwards() -> None:
    parts = build()
    before = minidl.get_rng_state()
    minidl.lr_find(parts["model"], digits_loader(), parts["optimizer"], steps=5, highest=1e-3)
    assert parts["optimizer"].state == {}
    assert parts["optimizer"].steps_taken == 0
    assert all(parameter.grad is None for parameter in parts["model"].parameters())
    assert minidl.get_rng_state() == before


def test_a_training_goes_on_as_if_nothing_had_been() -> None:
    losses = []
    for looks in (False, True):
        parts = prepared()
        if looks:
            run(parts)
        loader = parts.pop("loader")
        losses.append(training.fit(train_data=loader, epochs=2, **parts).losses)
    assert losses[0] == losses[1]


def test_a_step_captured_before_stays_valid() -> None:
    parts = prepared()
    model, optimizer = parts["model"], parts["optimizer"]

    def make_step() -> Any:
        @minidl.capture
        def step(x: Tensor, target: Tensor) -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), target)
            loss.backward()
            optimizer.step()
            return loss

        return step

    x, target = minidl.rand(8, 64), minidl.arange(8)
    step = make_step()
    for _ in range(3):
        step(x, target)
    run(parts)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    saved = {i: {k: v.clone() for k, v in kept.items()} for i, kept in optimizer.state_dict()["state"].items()}
    random_state = minidl.get_rng_state()
    replayed = step(x, target).item(), model[0].weight.detach().clone()
    model.load_state_dict(before)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": saved})
    minidl.set_rng_state(random_state)
    assert make_step()(x, target).item() == replayed[0]
    assert minidl.equal(model[0].weight, replayed[1])


# ---- what it measures, in closed form


class Quadratic(nn.Module):
    """curvature / 2 * w^2 in float64, from w = 1."""

    def __init__(self, curvature: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(minidl.ones(1, dtype=minidl.float64))
        self.curvature = curvature

    def forward(self, x: Tensor) -> Tensor:
        return (0.5 * self.curvature * self.weight * self.weight).sum() + 0 * x.sum()


def sweep_quadratic(curvature: float = 4.0, **options: Any) -> training.LearningRateSweep:
    model = Quadratic(curvature)
    batches = [(minidl.zeros(1, dtype=minidl.float64), minidl.zeros(1))]
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    return training.lr_find(model, batches, optimizer, loss=lambda output, target: output, **options)


def test_losses_of_a_quadratic_are_those_of_gradient_descent() -> None:
    """w <- (1 - rate * curvature) w in every step."""
    sweep = sweep_quadratic(lowest=1e-4, highest=10, steps=60)
    np.testing.assert_allclose(sweep.rates, (1e-4 * 1e5 ** (np.arange(60) / 59))[: len(sweep.rates)], rtol=1e-12)
    w = np.cumprod(np.concatenate([[1], 1 - 4 * sweep.rates[:-1]]))
    np.testing.assert_allclose(sweep.losses, 2 * w**2, rtol=1e-9)
    kept = 0.95 ** np.arange(len(w) - 1, -1, -1)
    assert sweep.smoothed[-1] == pytest.approx((kept * sweep.losses).sum() / kept.sum(), rel=1e-9)


@pytest.mark.parametrize("curvature", [0.5, 4.0, 100.0])
def test_a_quadratic_diverges_above_two_over_its_curvature(curvature: float) -> None:
    sweep = sweep_quadratic(curvature, lowest=1e-5 / curvature, highest=1e3 / curvature, steps=200, smoothing=1.0)
    assert sweep.stopped == "diverged"
    limit = 2 / curvature
    assert sweep.rates[-1] > limit
    assert (np.diff(sweep.losses)[sweep.rates[:-1] < limit] <= 0).all()
    assert sweep.rates[sweep.smoothed.argmin()] <= 1.1 * limit
    assert sweep.suggestion < limit
    assert sweep.suggestion == min(sweep.suggestion_steepest, sweep.suggestion_minimum)


def test_it_stops_at_the_highest_rate_or_where_the_loss_is_not_finite() -> None:
    sweep = sweep_quadratic(lowest=1e-6, highest=1e-3, steps=20)
    assert sweep.stopped == "finished"
    assert len(sweep.rates) == 20
    assert sweep.rates[-1] == pytest.approx(1e-3)
    sweep = sweep_quadratic(lowest=1e150, highest=1e300, steps=20, divergence=np.inf)
    assert sweep.stopped == "not finite"
    assert np.isfinite(sweep.losses).all()
    assert sweep.suggestion is None


def test_a_loss_below_zero_is_no_divergence() -> None:
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    batches = [(minidl.ones(2, 1), minidl.ones(2, 1))]
    sweep = training.lr_find(
        model, batches, optimizer, loss=lambda output, target: -output.mean() - 5, lowest=1e-3, highest=1.0, steps=30
    )
    assert sweep.stopped == "finished"
    assert (sweep.losses < 0).all()


def test_a_short_loader_is_gone_through_again() -> None:
    x, target = minidl.randn(40, 3), minidl.randn(40, 1)
    loader = DataLoader(TensorDataset(x, target), 16)
    seen: list[int] = []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        seen.append(len(target))
        return nn.functional.mse_loss(output, target)

    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    sweep = training.lr_find(model, loader, optimizer, loss=loss, highest=1e-3, steps=10)
    assert len(sweep.losses) == 10
    # Python runs each shape twice: the second time for 8 is in another pass.
    assert seen == [16, 16, 8, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 1.0, "highest": 0.1}, "0 < lowest < highest, got 1.0 and 0.1"),
        ({"lowest": 0.0}, "0 < lowest < highest"),
        ({"steps": 1}, "steps must be at least 2, got 1"),
        ({"smoothing": 0.0}, "smoothing must be above 0 and at most 1, got 0.0"),
        ({"divergence": 1.0}, "divergence must be above 1, got 1.0"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep_quadratic(**options)


def test_no_batches_and_a_first_loss_that_is_not_finite_are_refused() -> None:
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="train_data must hold at least one batch"):
        training.lr_find(model, [], optimizer)
    bad = [(minidl.full((2, 1), np.nan), minidl.ones(2, 1))]
    with pytest.raises(ValueError, match="the first loss is not finite"):
        training.lr_find(model, bad, optimizer, loss=nn.functional.mse_loss)


# ---- the picture


def test_the_picture_marks_both_suggestions(tmp_path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        missing("matplotlib", "matplotlib is not installed")
    sweep = sweep_quadratic(lowest=1e-4, highest=10)
    path = tmp_path / "sweep.png"
    axes = sweep.plot(path).axes[0]
    assert path.read_bytes().startswith(b"\x89PNG")
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "loss")
    marked = {line.get_label(): line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2}
    assert marked == {
        f"steepest: {sweep.suggestion_steepest:.2g}": sweep.suggestion_steepest,
        f"minimum / 10: {sweep.suggestion_minimum:.2g}": sweep.suggestion_minimum,
    }


def test_a_picture_without_matplotlib_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        sweep_quadratic(highest=1.0).plot()
