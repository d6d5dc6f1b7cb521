"""fit(): it learns, repeats bit by bit, resumes from any step, stops at the first bad loss, calls its callbacks."""

import csv
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import minidl
from minidl import nn, optim, training
from minidl.data import DataLoader, TensorDataset
from minidl.nn import functional
from minidl.training import Callback, EarlyStopping, ModelCheckpoint, NonFiniteLossError, fit
from minidl.training.evaluation import Evaluator
from training_runs import StopAt, build, digits_loader, held_out, same_weights, train, without_capture

# ---- learning


def test_digits_are_learnt():
    history, model = train(val_data=held_out())
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss / 3
    loss, accuracy = training.evaluate(model, held_out())
    assert accuracy > 0.93
    assert (loss, accuracy) == (history.epochs[-1].val_loss, history.epochs[-1].val_accuracy)
    assert len(history.losses) == 4 * 23
    assert [figures.epoch for figures in history.epochs] == [1, 2, 3, 4]


def test_epoch_figures_are_means_over_samples():
    history, _ = train(epochs=1)
    counts = np.array([64] * 22 + [1438 - 22 * 64])
    assert history.epochs[0].train_loss == pytest.approx(np.average(history.losses, weights=counts), rel=1e-12)


def test_steps_are_replayed_and_give_what_eager_steps_give():
    """Batches are gathered inside the captured step; the last one of an epoch has a record of its own."""
    captured = training.Training(train_data=digits_loader(), epochs=3, **build())
    captured.run()
    assert captured._steps.captured.failure == ""
    assert [record.is_complete for record in captured._steps.captured.records.values()] == [True, True]
    eager = without_capture(training.Training(train_data=digits_loader(), epochs=3, **build()))
    eager.run()
    assert captured.history.losses == eager.history.losses
    assert captured.history.epochs[-1].train_accuracy == eager.history.epochs[-1].train_accuracy
    assert same_weights(captured.model, eager.model)


def test_regression_has_no_accuracy():
    x = minidl.rand(40, 3)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 8)
    model = nn.Linear(3, 1)
    history = fit(model, loader, epochs=3, optimizer=optim.SGD(model.parameters(), lr=0.1), loss=functional.mse_loss)
    assert history.epochs[-1].train_accuracy is None
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss


def test_evaluate_leaves_the_mode_of_the_model():
    _, model = train(epochs=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    training.evaluate(model, held_out())
    assert model.training
    assert all(minidl.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_measure_that_counts_is_evaluated_like_a_loss():
    batches = [
        (minidl.tensor([[2.0, 0.0], [0.0, 2.0]]), minidl.tensor([0, 0])),
        (minidl.zeros(1, 2), minidl.tensor([1])),
    ]
    errors, accuracy = training.evaluate(nn.Identity(), batches, lambda x, labels: x.argmax(1).ne(labels).sum())
    assert (errors, accuracy) == (1.0, 1 / 3)  # the mean over samples of 1 for two and 1 for one


@pytest.mark.parametrize("metrics", [{}, {"accuracy": training.metrics.accuracy}], ids=["plain", "metrics"])
def test_captured_evaluations_are_those_of_python(metrics: dict[str, object]):
    """Three batches, the last one shorter, again and again while the weights change."""
    _, model = train(epochs=1)
    captured = Evaluator(model, held_out(), functional.cross_entropy, metrics)
    for _ in range(4):
        with minidl.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.9)
        plain = Evaluator(model, held_out(), functional.cross_entropy, metrics, captures=False)
        assert captured.measure() == plain.measure()
    assert all(record.is_complete for record in captured._step.records.values())


# ---- bit by bit


def test_two_runs_are_equal_and_seeds_differ():
    first, model = train(epochs=2)
    second, again = train(epochs=2)
    assert first.losses == second.losses
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 16
    assert same_weights(model, again)
    assert train(epochs=2, seed=1)[0].fingerprint != first.fingerprint


def test_the_number_of_threads_does_not_change_a_run():
    fingerprints = []
    for threads in (1, 2, 3):
        minidl.set_num_threads(threads)
        fingerprints.append(train(epochs=1, loader=digits_loader(512))[0].fingerprint)
    assert len(set(fingerprints)) == 1


@pytest.mark.parametrize("place", [(0, 1), (1, 7), (2, 23), (3, 22)])
def test_an_interrupted_run_resumes_bit_by_bit(tmp_path, place):
    whole, model = train(val_data=held_out())
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(training.TrainingInterrupted, match=f"epoch {place[0] + 1} after step {place[1]} of 23"):
        train(val_data=held_out(), callbacks=[ModelCheckpoint(path), StopAt(*place)])
    minidl.manual_seed(99)
    resumed, again = train(seed=5, val_data=held_out(), resume=path)
    assert resumed.losses == whole.losses
    assert same_weights(model, again)
    for ours, theirs in zip(resumed.epochs, whole.epochs, strict=True):
        assert (ours.train_loss, ours.train_accuracy) == (theirs.train_loss, theirs.train_accuracy)
        assert (ours.val_loss, ours.learning_rate) == (theirs.val_loss, theirs.learning_rate)


def test_a_run_with_its_own_generator_resumes_bit_by_bit(tmp_path):
    path = tmp_path / "checkpoint.safetensors"

    def loader() -> DataLoader:
        return digits_loader(generator=minidl.Generator().manual_seed(3))

    whole, _ = train(loader=loader())
    with pytest.raises(training.TrainingInterrupted):
        train(loader=loader(), callbacks=[ModelCheckpoint(path), StopAt(1, 5)])
    assert train(seed=5, loader=loader(), resume=path)[0].losses == whole.losses


def test_a_run_killed_between_epochs_resumes_from_its_last_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    whole, _ = train()

    class Killed(Callback):
        def on_epoch_begin(self, training) -> None:
            if training.epoch == 2:
                raise SystemExit

    with pytest.raises(SystemExit):
        train(callbacks=[ModelCheckpoint(path), Killed()])
    assert train(seed=5, resume=path)[0].losses == whole.losses


KILLED_SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import test_training as t
t.train(epochs=4, callbacks=[t.ModelCheckpoint({path!r}), t.Slow()])
"""


class Slow(Callback):
    """Gives the test time to kill the process between two steps of the second epoch or later."""

    def on_batch_end(self, training) -> None:
        if training.epoch >= 1:
            time.sleep(0.05)


def test_a_run_killed_by_the_system_resumes_bit_by_bit(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    script = KILLED_SCRIPT.format(tests=os.path.dirname(__file__), path=str(path))
    environment = {**os.environ, "PYTHONPATH": str(Path(minidl.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert path.exists()
    assert train(seed=5, resume=path)[0].losses == train()[0].losses


# ---- bad losses, bad checkpoints


class Poison(Callback):
    """Puts inf into a weight after a step."""

    def __init__(self, epoch: int, step: int, name: str) -> None:
        self.place, self.name = (epoch, step), name

    def on_batch_end(self, training) -> None:
        if (training.epoch, training.step) == self.place:
            with minidl.no_grad():
                dict(training.model.named_parameters())[self.name].fill_(float("inf"))


def test_a_bad_loss_stops_with_epoch_step_and_layer_and_keeps_the_checkpoint(tmp_path):
    path = tmp_path / "good.safetensors"
    with pytest.raises(NonFiniteLossError) as caught:
        train(callbacks=[ModelCheckpoint(path), Poison(1, 4, "1.weight")])
    text = str(caught.value)
    assert "loss became nan at epoch 2, step 5 of 23" in text
    assert "layer '1', BatchNorm1d(32" in text
    assert "parameter 'weight' holds nan or inf" in text
    assert str(path) in text
    state = training.load_checkpoint(path)
    assert state["progress"]["epoch"] == 1
    assert all(bool(minidl.isfinite(value).all()) for value in state["model"].values())


def test_weights_that_go_bad_in_the_last_step_of_an_epoch_are_not_saved(tmp_path):
    path = tmp_path / "good.safetensors"
    with pytest.raises(NonFiniteLossError, match=r"a weight became nan or inf at epoch 2, step 23.*'4\.bias'"):
        train(callbacks=[ModelCheckpoint(path), Poison(1, 23, "4.bias")])
    assert training.load_checkpoint(path)["progress"]["epoch"] == 1


def test_bad_input_is_named_as_input():
    x = minidl.rand(8, 64)
    x[3, 5] = float("nan")
    loader = DataLoader(TensorDataset(x, minidl.zeros(8, dtype=minidl.int64)), 8)
    with pytest.raises(NonFiniteLossError, match="the input batch, which holds nan or inf"):
        train(loader=loader)


def test_a_checkpoint_of_another_architecture_names_key_and_shapes(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train(epochs=1, callbacks=[ModelCheckpoint(path)])
    for layers, message in (
        ([nn.Linear(64, 16)], r"'0.weight' has shape \(16, 64\) in the model, \(32, 64\) in the file"),
        ([nn.Linear(64, 32)], r"'1.weight' has shape absent in the model, \(32,\) in the file"),
    ):
        model = nn.Sequential(*layers)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(ValueError, match=message):
            fit(model, digits_loader(), epochs=1, optimizer=optimizer, resume=path)


def test_other_safetensors_files_are_no_checkpoints(tmp_path):
    minidl.save({"x": minidl.zeros(2)}, tmp_path / "x")
    with pytest.raises(ValueError, match="must be a checkpoint of minidl's trainer"):
        train(resume=tmp_path / "x")


# ---- callbacks


def test_early_stopping_puts_the_best_weights_back():
    class Spoil(Callback):
        """Makes every epoch after the first worse."""

        def on_epoch_begin(self, training) -> None:
            if training.epoch >= 1:
                for group in training.optimizer.param_groups:
                    group["lr"] = 0.0
                with minidl.no_grad():
                    training.model[4].weight.fill_(0.0)

    parts = build()
    stopping = EarlyStopping("val_loss", patience=2)
    history = fit(
        parts["model"],
        digits_loader(),
        epochs=9,
        optimizer=parts["optimizer"],
        val_data=held_out(),
        callbacks=[Spoil(), stopping],
    )
    assert len(history.epochs) == 3
    assert stopping.best_epoch == 1
    assert training.evaluate(parts["model"], held_out())[0] == history.epochs[0].val_loss


def test_early_stopping_needs_something_to_watch():
    with pytest.raises(ValueError, match="monitor must be one of train_loss, train_accuracy, val_loss"):
        train(epochs=1, callbacks=[EarlyStopping("loss")])
    with pytest.raises(ValueError, match="val_loss is not measured"):
        train(epochs=1, callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        EarlyStopping(patience=0)


def test_csv_logger_writes_every_epoch(tmp_path):
    history, _ = train(epochs=2, callbacks=[training.CSVLogger(tmp_path / "log.csv")])
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == [figures.train_loss for figures in history.epochs]
    assert rows[0]["val_loss"] == ""


def test_progress_bar_prints_a_row_per_epoch():
    console = Console(record=True, width=120, file=io.StringIO())
    train(epochs=2, val_data=held_out(), callbacks=[training.ProgressBar(console)])
    lines = console.export_text().splitlines()
    assert lines[0].split()[:3] == ["epoch", "loss", "accuracy"]
    assert "val loss" in lines[0]
    assert [line.split()[0] for line in lines[1:3]] == ["1", "2"]


def test_schedulers_can_step_per_epoch():
    parts = build()
    schedule = optim.lr_scheduler.StepLR(parts["optimizer"], step_size=1, gamma=0.5)
    history = fit(
        parts["model"],
        digits_loader(),
        epochs=3,
        optimizer=parts["optimizer"],
        scheduler=schedule,
        schedule_every="epoch",
    )
    rates = [figures.learning_rate for figures in history.epochs]
    assert rates[1] == pytest.approx(rates[0] / 2)
    with pytest.raises(ValueError, match="schedule_every must be 'step' or 'epoch', got 'hour'"):
        fit(parts["model"], digits_loader(), epochs=1, optimizer=parts["optimizer"], schedule_every="hour")
