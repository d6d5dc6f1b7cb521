"""What can be hooked into training.fit: stopping early, checkpoints, a CSV file, progress bars."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.training.evaluation import evaluate
from minidl.training.history import EpochFigures

if TYPE_CHECKING:
    from minidl.training.loop import Training


class Callback:
    """Called by `fit` at fixed places; a subclass overrides what it needs.

    `training` gives `model`, `optimizer`, `history`, `epoch` (finished ones), `step`, `epoch_loss`, `epoch_accuracy`;
    setting `training.should_stop` ends the run after the epoch.
    """

    def on_train_begin(self, training: Training) -> None:
        """Before the first step, after a checkpoint was loaded."""

    def on_epoch_begin(self, training: Training) -> None:
        """Before the first step of an epoch."""

    def on_batch_end(self, training: Training) -> None:
        """After every step."""

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        """After the last step of an epoch and its validation."""

    def on_train_end(self, training: Training) -> None:
        """After the last epoch."""

    def on_interrupt(self, training: Training) -> None:
        """After Ctrl-C, between two steps."""

    def on_exit(self, training: Training) -> None:
        """Last of all, however the run ended."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes `state_dict` back."""


class EarlyStopping(Callback):
    """Ends the run when a figure has not improved for `patience` epochs, and puts the best weights back.

    Args:
        monitor: a field of EpochFigures; accuracies are to rise, all else to fall.
        patience: epochs without improvement that are waited for.
        min_delta: an improvement is more than this.
        restore_best: whether the weights of the best epoch are put back at the end.
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 3, min_delta: float = 0.0, restore_best: bool = True
    ) -> None:
        if monitor not in EpochFigures.__dataclass_fields__:
            known = ", ".join(EpochFigures.__dataclass_fields__)
            raise ValueError(f"EarlyStopping: monitor must be one of {known}, got {monitor!r}")
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be at least 1, got {patience}")
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.restore_best = restore_best
        self.best: float | None = None
        self.best_epoch = 0
        self.best_model: dict[str, Any] | None = None

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        value = getattr(figures, self.monitor)
        if value is None:
            raise ValueError(f"EarlyStopping: {self.monitor} is not measured in this run; pass val_data to fit")
        sign = 1 if "accuracy" in self.monitor else -1
        if self.best is None or sign * (value - self.best) > self.min_delta:
            self.best, self.best_epoch = value, figures.epoch
            if self.restore_best:
                self.best_model = {key: tensor.clone() for key, tensor in training.model.state_dict().items()}
        elif figures.epoch - self.best_epoch >= self.patience:
            training.should_stop = True

    def on_train_end(self, training: Training) -> None:
        if self.best_model is not None:
            training.model.load_state_dict(self.best_model)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "best_model": self.best_model}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.best, self.best_epoch, self.best_model = state["best"], state["best_epoch"], state["best_model"]


class StopAtAccuracy(Callback):
    """Ends the run after the epoch with which the accuracy on `data` reaches `accuracy`: to time how long that takes.

    What `data` has decided on, it cannot judge any more: figures of such a run say nothing about new data. `measured`
    is the loss and the accuracy after the last epoch, None before the first.
    """

    measured: tuple[float, float] | None = None

    def __init__(self, data: Iterable[Any], accuracy: float) -> None:
        if not 0 < accuracy <= 1:
            raise ValueError(f"StopAtAccuracy: accuracy must be above 0 and at most 1, got {accuracy}")
        self.data = data
        self.accuracy = accuracy

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        loss, reached = evaluate(training.model, self.data, training.loss)
        if reached is None:
            raise ValueError("StopAtAccuracy: these targets are not class labels, so there is no accuracy")
        self.measured = loss, reached
        if reached >= self.accuracy:
            training.should_stop = True


class ModelCheckpoint(Callback):
    """Writes the whole run to `path` every `every` epochs and on Ctrl-C; `fit(resume=path)` goes on from there."""

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"ModelCheckpoint: every must be at least 1, got {every}")
        self.path = Path(path)
        self.every = every

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        if figures.epoch % self.every == 0:
            training.save(self.path)

    def on_interrupt(self, training: Training) -> None:
        training.save(self.path)

    def on_train_end(self, training: Training) -> None:
        training.save(self.path)


class CSVLogger(Callback):
    """Writes the figures of every epoch to a CSV file, a header first."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        names = list(EpochFigures.__dataclass_fields__)
        with self.path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            for row in training.history.epochs:
                writer.writerow([getattr(row, name) for name in names])


class ProgressBar(Callback):
    """A bar for the epoch under way (loss, accuracy, samples per second, time left), a row for each finished one."""

    REFRESH_SECONDS = 0.1

    def __init__(self, console: Any = None) -> None:
        self.console = console
        self._bars: Any = None
        self._started = 0.0
        self._steps_before = 0
        self._refreshed = 0.0

    def on_train_begin(self, training: Training) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.console = self.console or Console()
        columns = (TextColumn("epoch {task.description}"), BarColumn(24))
        figures = TextColumn("{task.fields[figures]}")
        # A file gets the rows of the table only.
        options = {"console": self.console, "transient": True, "auto_refresh": False}
        self._bars = Progress(*columns, figures, disable=not self.console.is_terminal, **options)
        self._print(_table_header(training.val_data is not None), "bold")
        for row in training.history.epochs:
            self._print(_table_row(row), "dim")
        self._bars.start()

    def on_epoch_begin(self, training: Training) -> None:
        self._started = self._refreshed = time.perf_counter()
        self._steps_before = training.step
        description = f"{training.epoch + 1}/{training.epochs}"
        self._task = self._bars.add_task(
            description, total=training.steps_per_epoch, completed=training.step, figures=""
        )

    def on_batch_end(self, training: Training) -> None:
        now = time.perf_counter()
        if now - self._refreshed < self.REFRESH_SECONDS:
            return
        self._refreshed = now
        per_step = (now - self._started) / max(1, training.step - self._steps_before)
        steps_left = (training.epochs - training.epoch) * training.steps_per_epoch - training.step
        parts = [f"loss {training.epoch_loss:.4f}"]
        if training.epoch_accuracy is not None:
            parts.append(f"accuracy {training.epoch_accuracy:.2%}")
        samples_per_step = training.samples / max(1, training.step)
        parts += [f"{samples_per_step / per_step:,.0f} samples/s", f"{per_step * steps_left:.0f} s left"]
        self._bars.update(self._task, completed=training.step, figures="  ".join(parts))
        self._bars.refresh()

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        self._bars.remove_task(self._task)
        self._print(_table_row(figures))

    def on_exit(self, training: Training) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _print(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, highlight=False)


def _table_header(has_validation: bool) -> str:
    validation = "   val loss   val acc." if has_validation else ""
    return f"epoch   loss      accuracy{validation}   learning rate   samples/s   seconds"


def _table_row(figures: EpochFigures) -> str:
    accuracy = f"{figures.train_accuracy:8.2%}" if figures.train_accuracy is not None else "       -"
    text = f"{figures.epoch:5}   {figures.train_loss:7.4f}   {accuracy}"
    if figures.val_loss is not None:
        measured = f"{figures.val_accuracy:8.2%}" if figures.val_accuracy is not None else "       -"
        text += f"   {figures.val_loss:8.4f}   {measured}"
    return f"{text}   {figures.learning_rate:13.2e}   {figures.samples_per_second:9,.0f}   {figures.seconds:7.2f}"
