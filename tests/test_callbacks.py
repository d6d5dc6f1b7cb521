"""Callbacks: clipping inside the captured step, learning rates by step, best and last checkpoints, TensorBoard."""

import csv
import importlib.util
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import io, nn, optim, training
from minidl.training import Callback, GradientClipping, LearningRateMonitor, ModelCheckpoint, TensorBoard
from requirements import missing
from training_runs import StopAt, build, digits_loader, held_out, same_weights, train, without_capture


class GradientsOf(Callback):
    """Keeps the norm and the largest element of the gradients of every step."""

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.largest: list[float] = []

    def on_batch_end(self, training: Any) -> None:
        grads = [p.grad.numpy().astype(np.float64).ravel() for p in training.model.parameters()]
        self.norms.append(float(np.linalg.norm(np.concatenate(grads))))
        self.largest.append(max(float(np.abs(grad).max()) for grad in grads))


def test_callbacks_say_whether_they_follow_every_step() -> None:
    followers = [GradientsOf(), LearningRateMonitor(), StopAt(1, 1)]
    others = [GradientClipping(1.0), LearningRateMonitor("epoch"), training.ProgressBar(), training.EarlyStopping()]
    assert all(callback.follows_every_step for callback in followers)
    assert not any(callback.follows_every_step for callback in others)
    plain: Any = Callback()
    plain.on_batch_end = lambda training: None
    assert plain.follows_every_step


# ---- gradient clipping


def test_gradients_of_every_step_are_clipped_to_the_norm() -> None:
    plain, clipped = GradientsOf(), GradientsOf()
    train(epochs=1, callbacks=[plain])
    limit = float(np.median(plain.norms))
    train(epochs=1, callbacks=[GradientClipping(max_norm=limit), clipped])
    assert max(plain.norms) > 1.2 * limit
    assert max(clipped.norms) <= limit * (1 + 1e-6)
    assert min(clipped.norms) < limit * (1 - 1e-3)
    assert len(clipped.norms) == 23


def test_gradients_of_every_step_are_clamped_to_the_value() -> None:
    clamped = GradientsOf()
    train(epochs=1, callbacks=[GradientClipping(max_value=0.01), clamped])
    assert set(clamped.largest) == {float(np.float32(0.01))}


@pytest.mark.parametrize("options", [{"max_norm": 0.1}, {"max_value": 0.01}], ids=str)
def test_clipped_steps_are_replayed_and_give_what_eager_steps_give(options: dict[str, float]) -> None:
    def make() -> training.Training:
        clipping = GradientClipping(**options)
        return training.Training(train_data=digits_loader(), epochs=3, callbacks=[clipping], **build())

    captured = make()
    captured.run()
    assert captured._steps.captured.failure == ""
    assert all(record.is_complete for record in captured._steps.captured.records.values())
    eager = without_capture(make())
    eager.run()
    assert captured.history.losses == eager.history.losses
    assert same_weights(captured.model, eager.model)
    assert captured.history.losses != train(epochs=3)[0].losses


def test_parameters_of_two_number_types_are_clipped_in_a_captured_step() -> None:
    minidl.manual_seed(0)
    single = minidl.ones(3, requires_grad=True)
    double = minidl.ones(4, dtype=minidl.float64, requires_grad=True)
    optimizer = optim.SGD([single, double], lr=1.0, max_grad_norm=0.5)

    @minidl.capture
    def step() -> None:
        optimizer.zero_grad()
        (3 * single.sum()).backward()
        (4 * double.sum()).backward()
        optimizer.step()

    for count in range(1, 6):
        step()
        moved = np.concatenate([1 - single.detach().numpy(), 1 - double.detach().numpy()])
        assert np.linalg.norm(moved) == pytest.approx(0.5 * count, rel=1e-5)


def test_what_is_hooked_before_the_optimizers_step_is_recorded_and_then_replayed() -> None:
    """Python in it runs twice for each of the two shapes of batches."""

    class Frozen(Callback):
        calls = 0

        def on_before_optimizer_step(self, training: Any) -> None:
            self.calls += 1
            training.model[0].weight.grad.zero_()

    frozen = Frozen()
    minidl.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 10))
    before = model[0].weight.detach().clone()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    training.fit(model, digits_loader(), epochs=4, optimizer=optimizer, callbacks=[frozen])
    assert frozen.calls == 4
    assert minidl.equal(model[0].weight, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either max_norm or max_value"),
        ({"max_norm": 1.0, "max_value": 1.0}, "give either max_norm or max_value"),
        ({"max_norm": 0.0}, "max_norm must be above 0, got 0.0"),
        ({"max_value": -1.0}, "max_value must be above 0, got -1.0"),
    ],
)
def test_clipping_to_nothing_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradientClipping(**options)


# ---- learning rates


def test_rates_and_momenta_of_every_step_are_those_of_the_schedule(tmp_path) -> None:
    parts = build()
    monitor = LearningRateMonitor(path=tmp_path / "rates.csv")
    training.fit(train_data=digits_loader(), epochs=4, callbacks=[monitor], **parts)
    minidl.manual_seed(0)
    again = build()
    expected = []
    for _ in range(4 * 23):
        group = again["optimizer"].param_groups[0]
        expected.append((group["lr"], group["betas"][0]))
        again["optimizer"].step()
        again["scheduler"].step()
    assert monitor.steps == list(range(1, 4 * 23 + 1))
    assert [(rates[0], momenta[0]) for rates, momenta in zip(monitor.rates, monitor.momenta, strict=True)] == expected
    with (tmp_path / "rates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["lr_0"]), float(row["momentum_0"])) for row in rows] == expected
    assert [int(row["step"]) for row in rows] == monitor.steps


def test_rates_by_epoch_are_those_of_its_first_step() -> None:
    parts = build()
    schedule = optim.lr_scheduler.StepLR(parts["optimizer"], step_size=1, gamma=0.5)
    by_epoch, by_step = LearningRateMonitor("epoch"), LearningRateMonitor("step")
    options = {"optimizer": parts["optimizer"], "scheduler": schedule, "schedule_every": "epoch"}
    training.fit(parts["model"], digits_loader(), epochs=3, callbacks=[by_epoch, by_step], **options)
    assert by_epoch.steps == [1, 24, 47]
    assert by_epoch.rates == [by_step.rates[step - 1] for step in by_epoch.steps]
    with pytest.raises(ValueError, match="every must be 'step' or 'epoch', got 'hour'"):
        LearningRateMonitor("hour")


def test_rates_of_a_resumed_run_go_on(tmp_path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole = LearningRateMonitor()
    train(callbacks=[whole])
    with pytest.raises(training.TrainingInterrupted):
        train(callbacks=[LearningRateMonitor(), ModelCheckpoint(path), StopAt(1, 7)])
    resumed = LearningRateMonitor()
    train(callbacks=[resumed, ModelCheckpoint(path)], resume=path)
    assert (resumed.steps, resumed.rates, resumed.momenta) == (whole.steps, whole.rates, whole.momenta)


# ---- checkpoints


def test_the_best_epoch_lies_beside_the_last_one(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    values = [3.0, 1.0, 2.0, 1.0]
    checkpoint = ModelCheckpoint(path, monitor="figure", save_best=True, mode="min")
    kept: list[Any] = []

    class Keep(Callback):
        def on_epoch_end(self, training: Any, figures: Any) -> None:
            kept.append({key: value.clone() for key, value in training.model.state_dict().items()})

    metrics = {"figure": lambda output, target: values.pop(0)}
    train(val_data=held_out(), metrics=metrics, callbacks=[checkpoint, Keep()])
    assert checkpoint.best_path == tmp_path / "run-best.safetensors"
    for file, epoch in ((checkpoint.best_path, 2), (path, 4)):
        state = training.load_checkpoint(file)
        assert state["progress"]["epoch"] == epoch
        assert all(minidl.equal(state["model"][key], value) for key, value in kept[epoch - 1].items())


def test_a_resumed_run_knows_the_best_epoch_so_far(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    values = [1.0, 2.0, 3.0, 0.5]
    metrics = {"figure": lambda output, target: values.pop(0)}

    def checkpoint() -> ModelCheckpoint:
        return ModelCheckpoint(path, monitor="figure", save_best=True, mode="min")

    train(epochs=2, val_data=held_out(), metrics=metrics, callbacks=[checkpoint()])
    train(epochs=3, val_data=held_out(), metrics=metrics, callbacks=[checkpoint()], resume=path)
    assert training.load_checkpoint(checkpoint().best_path)["progress"]["epoch"] == 1
    train(epochs=4, val_data=held_out(), metrics=metrics, callbacks=[checkpoint()], resume=path)
    assert training.load_checkpoint(checkpoint().best_path)["progress"]["epoch"] == 4


def test_the_best_of_what_is_not_measured_is_refused_before_the_first_step(tmp_path) -> None:
    with pytest.raises(ValueError, match="ModelCheckpoint: val_loss is not measured in this run; pass val_data to fit"):
        train(epochs=1, callbacks=[ModelCheckpoint(tmp_path / "run", save_best=True)])
    train(epochs=1, callbacks=[ModelCheckpoint(tmp_path / "run")])


def test_two_callbacks_of_one_class_keep_states_of_their_own(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    pair = [training.EarlyStopping("train_loss", patience=9), training.EarlyStopping("val_loss", patience=9)]
    train(epochs=2, val_data=held_out(), callbacks=[*pair, ModelCheckpoint(path)])
    again = [training.EarlyStopping("train_loss", patience=9), training.EarlyStopping("val_loss", patience=9)]
    train(epochs=2, val_data=held_out(), callbacks=[*again, ModelCheckpoint(path)], resume=path)
    assert [callback.best for callback in again] == [callback.best for callback in pair]
    assert again[0].best != again[1].best


def test_checkpoints_of_version_1_are_still_read(tmp_path) -> None:
    """Their max_norm was the clipping of gradients, which has another name now."""
    path = tmp_path / "run.safetensors"
    whole, _ = train()
    train(epochs=2, callbacks=[ModelCheckpoint(path)])
    state = io.load(path)
    state["checkpoint_version"] = 1
    del state["progress"]["accumulate"]
    for group in state["optimizer"]["param_groups"]:
        del group["l1_decay"], group["max_grad_norm"]
        group["max_norm"] = 1e6
    for figures in state["history"]["epochs"]:
        del figures["metrics"]
    io.save(state, path)
    parts = build()
    resumed = training.fit(train_data=digits_loader(), epochs=4, resume=path, **parts)
    group = parts["optimizer"].param_groups[0]
    assert (group["max_grad_norm"], group["max_norm"], group["l1_decay"]) == (1e6, None, 0.0)
    assert resumed.losses == whole.losses


def test_a_checkpoint_of_a_later_version_is_refused(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    io.save({"checkpoint_version": 99}, path)
    with pytest.raises(ValueError, match="version 1 to 2, got version 99"):
        training.load_checkpoint(path)


# ---- TensorBoard


@pytest.fixture
def events(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """Reads the event files of a folder back: tag -> [(step, value)]."""
    if importlib.util.find_spec("tensorboard") is None:
        missing("tensorboard", "tensorboard is not installed")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    def read(folder: Any) -> dict[str, list[tuple[int, np.ndarray]]]:
        found: dict[str, list[tuple[int, np.ndarray]]] = {}
        for file in sorted(folder.iterdir()):
            for event in EventFileLoader(str(file)).Load():
                for value in event.summary.value:
                    found.setdefault(value.tag, []).append((event.step, tensor_util.make_ndarray(value.tensor)))
        return found

    return read


def test_tensorboard_reads_the_figures_of_the_run(tmp_path, events) -> None:
    gradients, monitor = GradientsOf(), LearningRateMonitor()
    board = TensorBoard(tmp_path / "board", gradient_norm=True, histograms=True)
    history, model = train(
        epochs=2,
        val_data=held_out(),
        metrics={"top-5": training.metrics.top_k_accuracy},
        callbacks=[board, gradients, monitor],
    )
    found = events(tmp_path / "board")
    steps = range(1, 47)

    def series(tag: str) -> list[tuple[int, float]]:
        return [(step, float(value)) for step, value in found[tag]]

    def rounded(values: Any) -> list[float]:
        return np.asarray(list(values), np.float32).tolist()

    assert series("loss/step") == list(zip(steps, rounded(history.losses), strict=True))
    assert series("learning_rate/0") == list(zip(steps, rounded(r[0] for r in monitor.rates), strict=True))
    assert series("momentum/0") == list(zip(steps, rounded(m[0] for m in monitor.momenta), strict=True))
    np.testing.assert_allclose(series("gradient_norm"), list(zip(steps, gradients.norms, strict=True)), rtol=1e-6)
    for tag, name in (("loss/train", "train_loss"), ("loss/val", "val_loss"), ("accuracy/val", "val_accuracy")):
        values = rounded(getattr(figures, name) for figures in history.epochs)
        assert series(tag) == list(zip((23, 46), values, strict=True))
    top_5 = rounded(figures.metrics["top-5"] for figures in history.epochs)
    assert series("metric/top-5") == list(zip((23, 46), top_5, strict=True))
    names = [f"weight/{name}" for name, _ in model.named_parameters()]
    assert Counter(tag for tag in found if tag.startswith("weight/")) == Counter(names)
    left, right, count = found["weight/0.weight"][-1][1].T
    assert count.sum() == 64 * 32
    assert left[0] == pytest.approx(model[0].weight.min().item())
    assert right[-1] == pytest.approx(model[0].weight.max().item())


def test_the_gradient_norm_is_taken_inside_the_captured_step(tmp_path, events) -> None:
    captured = training.Training(
        train_data=digits_loader(), epochs=2, callbacks=[TensorBoard(tmp_path, gradient_norm=True)], **build()
    )
    captured.run()
    assert captured._steps.captured.failure == ""
    assert captured.history.losses == train(epochs=2)[0].losses


def test_steps_can_be_recorded_now_and_then(tmp_path, events) -> None:
    train(epochs=1, callbacks=[TensorBoard(tmp_path / "board", every=10)])
    found = events(tmp_path / "board")
    assert [step for step, _ in found["loss/step"]] == [10, 20]
    assert [step for step, _ in found["learning_rate/0"]] == [10, 20]
    assert [step for step, _ in found["loss/train"]] == [23]
    assert "gradient_norm" not in found
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        TensorBoard(tmp_path, every=0)


def test_tensorboard_that_is_not_there_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorboard", "tensorboard.summary.writer.event_file_writer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        TensorBoard("board")
