"""ProgressBar: a bar for the epoch under way, a row for each finished one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from minidl.training.callbacks.callback import Callback
from minidl.training.history import EpochFigures

if TYPE_CHECKING:
    from minidl.training.loop import Training

METRIC_WIDTH = 8


class ProgressBar(Callback):
    """A bar for the epoch under way (loss, accuracy, samples per second, time left), a row for each finished one."""

    REFRESH_SECONDS = 0.1
    follows_every_step = False

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
        self._print(_table_header(training.val_data is not None, training.metrics), "bold")
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


def _table_header(has_validation: bool, metrics: Iterable[str]) -> str:
    validation = "   val loss   val acc." if has_validation else ""
    validation += "".join(f"   {name:>{METRIC_WIDTH}}" for name in metrics)
    return f"epoch   loss      accuracy{validation}   learning rate   samples/s   seconds"


def _table_row(figures: EpochFigures) -> str:
    accuracy = f"{figures.train_accuracy:8.2%}" if figures.train_accuracy is not None else "       -"
    text = f"{figures.epoch:5}   {figures.train_loss:7.4f}   {accuracy}"
    if figures.val_loss is not None:
        measured = f"{figures.val_accuracy:8.2%}" if figures.val_accuracy is not None else "       -"
        text += f"   {figures.val_loss:8.4f}   {measured}"
    for name, value in figures.metrics.items():
        text += f"   {value:{max(METRIC_WIDTH, len(name))}.4f}"
    return f"{text}   {figures.learning_rate:13.2e}   {figures.samples_per_second:9,.0f}   {figures.seconds:7.2f}"
