"""TensorBoard: the run's figures as an event file, through tensorboard's own writer."""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl import ops
from minidl.dtypes import float64
from minidl.ops.gradient_clipping import squared_norm
from minidl.tensor import Tensor
from minidl.training.callbacks.callback import Callback
from minidl.training.callbacks.learning_rate_monitor import momentum_of
from minidl.training.history import EpochFigures

if TYPE_CHECKING:
    from minidl.training.loop import Training


class TensorBoard(Callback):
    """Writes what `tensorboard --logdir FOLDER` draws: a new event file in `folder` for every run.

    Tags, all against the number of the step: loss/step, learning_rate/0, momentum/0 (one per parameter group); after
    every epoch loss/train, loss/val, accuracy/train, accuracy/val and metric/NAME, as far as they are measured.

    Args:
        folder: made if it is not there.
        every: steps between two records of what is written step by step; the figures of an epoch are always written.
        gradient_norm: adds gradient_norm, of all parameters as one vector, before `GradientClipping` where this
            callback stands before it. On a GPU every recorded step is then waited for.
        histograms: adds weight/NAME, the distribution of every parameter after each epoch.

    Raises ImportError where the package tensorboard is not installed: pip install tensorboard. ValueError for an
    `every` below 1.

    >>> from minidl import training
    >>> training.TensorBoard("runs/board", every=0)
    Traceback (most recent call last):
    ValueError: TensorBoard: every must be at least 1, got 0
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 1,
        gradient_norm: bool = False,
        histograms: bool = False,
    ) -> None:
        if every < 1:
            raise ValueError(f"TensorBoard: every must be at least 1, got {every}")
        self.folder = Path(folder)
        self.every = every
        self.gradient_norm = gradient_norm
        self.histograms = histograms
        self._events = _Events()
        self._writer: Any = None
        self._losses_written = 0
        self._squared_norm: Tensor | None = None

    def on_train_begin(self, training: Training) -> None:
        self._writer = self._events.open(self.folder)
        self._losses_written = len(training.history.losses)
        if self.gradient_norm:  # one place for all records of the step, each of which has memory of its own
            device = next(training.model.parameters()).device
            self._squared_norm = ops.zeros(1, dtype=float64, device=device)

    def on_batch_begin(self, training: Training) -> None:
        step = training.total_steps + 1
        if step % self.every == 0:
            for i, group in enumerate(training.optimizer.param_groups):
                self._scalar(f"learning_rate/{i}", group["lr"], step)
                self._scalar(f"momentum/{i}", momentum_of(group), step)

    def on_before_optimizer_step(self, training: Training) -> None:
        grads = [parameter.grad for parameter in training.model.parameters() if parameter.grad is not None]
        if self._squared_norm is None or not grads:
            return
        self._squared_norm.copy_(Tensor(squared_norm(grads), grads[0].backend))

    def on_batch_end(self, training: Training) -> None:
        self._write_losses(training.history.losses)
        if self._squared_norm is not None and training.total_steps % self.every == 0:
            self._scalar("gradient_norm", self._squared_norm.item() ** 0.5, training.total_steps)

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        self._write_losses(training.history.losses)
        step = training.total_steps
        for split in ("train", "val"):
            for figure in ("loss", "accuracy"):
                value = getattr(figures, f"{split}_{figure}")
                if value is not None:
                    self._scalar(f"{figure}/{split}", value, step)
        for name, value in figures.metrics.items():
            self._scalar(f"metric/{name}", value, step)
        if self.histograms:
            for name, parameter in training.model.named_parameters():
                values = parameter.detach().cpu().numpy()
                self._add(self._events.histogram(f"weight/{name}", values), step)
        self._writer.flush()

    def on_exit(self, training: Training) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write_losses(self, losses: list[float]) -> None:
        """Those that were not written yet: on a GPU the losses of many steps come at once."""
        for i in range(self._losses_written, len(losses)):
            if (i + 1) % self.every == 0:
                self._scalar("loss/step", losses[i], i + 1)
        self._losses_written = len(losses)

    def _scalar(self, tag: str, value: float, step: int) -> None:
        self._add(self._events.scalar(tag, float(value)), step)

    def _add(self, summary: Any, step: int) -> None:
        self._writer.add_event(self._events.event(wall_time=time.time(), step=step, summary=summary))


class _Events:
    """The parts of the package tensorboard that write; none of them draws in TensorFlow."""

    def __init__(self) -> None:
        try:
            writers = importlib.import_module("tensorboard.summary.writer.event_file_writer")
            scalars = importlib.import_module("tensorboard.plugins.scalar.summary_v2")
            histograms = importlib.import_module("tensorboard.plugins.histogram.summary_v2")
            events = importlib.import_module("tensorboard.compat.proto.event_pb2")
        except ImportError as error:
            raise ImportError(
                f"TensorBoard needs the package tensorboard, which cannot be imported ({error}): "
                "pip install tensorboard"
            ) from error
        self._new_writer = writers.EventFileWriter
        self.scalar, self.histogram, self.event = scalars.scalar_pb, histograms.histogram_pb, events.Event

    def open(self, folder: Path) -> Any:
        """A writer of a new file in the folder."""
        return self._new_writer(str(folder))
