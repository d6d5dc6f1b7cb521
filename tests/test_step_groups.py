"""fit takes steps between which nothing is to happen in Python in groups: with the numbers of single steps."""

import copy
import io
import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import minidl
from minidl import nn, optim, training
from minidl.data import DataLoader, TensorDataset
from minidl.training import fit, steps
from minidl.training.steps import Steps
from training_runs import make_data, make_model


class EveryStep(training.Callback):
    """Keeps fit from taking several steps at a time."""

    def on_batch_end(self, training: Any) -> None:
        pass


def run_fit(device: str, schedule: str, callbacks: list[Any], **options: Any) -> tuple[Any, ...]:
    minidl.manual_seed(0)
    model = make_model().to(device)
    x, labels = (tensor.to(device) for tensor in make_data(16 * 37 + 5))
    loader = DataLoader(TensorDataset(x, labels), 16, shuffle=True)
    groups = [{"params": [p for p in model.parameters() if p.dim() == d]} for d in (1, 2)]
    optimizer = optim.AdamW(groups, lr=1e-2)
    scheduler: Any = None
    if schedule == "step":
        scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=3 * len(loader))
    elif schedule == "epoch":
        scheduler = optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    history = fit(
        model, loader, epochs=3, optimizer=optimizer, callbacks=callbacks, scheduler=scheduler,
        schedule_every="epoch" if schedule == "epoch" else "step", val_data=DataLoader(TensorDataset(x, labels), 100),
        **options,
    )  # fmt: skip
    figures = [(e.train_loss, e.train_accuracy, e.val_loss, e.val_accuracy, e.learning_rate) for e in history.epochs]
    return history.losses, figures, {name: tensor.tolist() for name, tensor in model.state_dict().items()}


def count_replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps each replay takes, from now on."""
    counts: list[int] = []
    replay = Steps._replay

    def counting(own: Steps, record: Any, stack: Any) -> int:
        counts.append(len(stack[0]))
        return replay(own, record, stack)

    monkeypatch.setattr(Steps, "_replay", counting)
    return counts


@pytest.mark.parametrize("schedule", ["none", "step", "epoch"])
def test_groups_of_steps_do_what_single_steps_do(device: str, schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "CPU_SECONDS_PER_GROUP", 1e9)
    counts = count_replays(monkeypatch)
    expected = run_fit(device, schedule, [EveryStep()])
    assert counts == []
    bar = training.ProgressBar(Console(file=io.StringIO()))
    assert run_fit(device, schedule, [training.GradientClipping(1e9), bar])[:2] == expected[:2]
    counts.clear()
    assert run_fit(device, schedule, []) == expected
    # Two batches of each size are recorded; on the CPU one more is timed.
    assert counts == [*([1, 13] if device == "cpu" else [14]), 16, 5, 16, 16, 5, 16, 16, 5, 1]


def test_slow_steps_of_the_cpu_are_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "CPU_SECONDS_PER_GROUP", 0.0)
    counts = count_replays(monkeypatch)
    run_fit("cpu", "step", [])
    assert counts == [1] * (3 * 38 - 4)


def test_ctrl_c_is_obeyed_after_the_group_of_steps(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "CPU_SECONDS_PER_GROUP", 1e9)
    expected = run_fit(device, "step", [])
    replay, calls = Steps._replay, itertools.count()

    def interrupting(own: Steps, record: Any, stack: Any) -> int:
        if len(stack[0]) == 16 and next(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return replay(own, record, stack)

    monkeypatch.setattr(Steps, "_replay", interrupting)
    keeper = training.ModelCheckpoint(tmp_path / "run")
    with pytest.raises(training.TrainingInterrupted, match="epoch 2 after step 32 of 38"):
        run_fit(device, "step", [keeper])
    losses, figures, weights = run_fit(device, "step", [], resume=tmp_path / "run")
    assert (losses, figures, weights) == expected


class KeepLosses(training.Callback):
    def on_exit(self, training: Any) -> None:
        self.losses = list(training.history.losses)


@pytest.mark.parametrize("schedule", ["none", "step"])
def test_a_loss_that_is_not_finite_is_found_in_a_group(
    device: str, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "CPU_SECONDS_PER_GROUP", 1e9)
    x, labels = make_data(16 * 40)

    def run(model: nn.Module, count: int, keeper: KeepLosses) -> None:
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        scheduler = optim.lr_scheduler.LinearLR(optimizer, total_iters=50) if schedule == "step" else None
        loader = DataLoader(TensorDataset(x[:count].to(device), labels[:count].to(device)), 16)
        fit(model, loader, epochs=1, optimizer=optimizer, scheduler=scheduler, callbacks=[keeper])

    good = nn.Linear(12, 5).to(device)
    bad, before, until = copy.deepcopy(good), KeepLosses(), KeepLosses()
    run(good, 16 * 35, before)
    x[16 * 35 + 3] = minidl.nan
    where = "the input batch, which holds nan or inf" if device == "cpu" else "parameter 'weight'"
    with pytest.raises(training.NonFiniteLossError, match=f"epoch 1, step 36 of 40; went bad first: {where}"):
        run(bad, 16 * 40, until)
    assert until.losses == before.losses
    assert len(until.losses) == 35
    if device == "cpu":  # which looks at each loss before it changes the weights
        assert [parameter.tolist() for parameter in bad.parameters()] == [p.tolist() for p in good.parameters()]


def test_settings_that_change_between_groups_are_followed(device: str) -> None:
    class Changing(training.Callback):
        def on_epoch_end(self, training: Any, figures: Any) -> None:
            for layer in training.model:
                if isinstance(layer, nn.Dropout):
                    layer.p = 0.5

    assert run_fit(device, "step", [Changing(), EveryStep()]) == run_fit(device, "step", [Changing()])
