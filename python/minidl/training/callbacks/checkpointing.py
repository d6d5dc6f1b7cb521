"""ModelCheckpoint: the run as a file, the last epoch's and the best one's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.training.callbacks.best_epoch import BestEpoch, Mode
from minidl.training.history import EpochFigures

if TYPE_CHECKING:
    from minidl.training.loop import Training


class ModelCheckpoint(BestEpoch):
    """Writes the whole run to `path` every `every` epochs and on Ctrl-C; `fit(resume=path)` goes on from there.

    Args:
        path: the file of the last epoch.
        every: epochs between two writes.
        monitor: train_loss, train_accuracy, val_loss, val_accuracy, or the name of one of `fit`'s metrics.
        save_best: whether the epoch that is the best by `monitor` so far is written to `best_path` as well: the name
            of `path` with "-best" before its ending.
        mode: "min" or "max", whether the figure is to fall or to rise; needed for a metric only.

    Raises ValueError, before the first step, for a figure that the run does not measure.

    >>> from minidl import training
    >>> training.ModelCheckpoint("runs/last.safetensors", save_best=True).best_path.name
    'last-best.safetensors'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        monitor: str = "val_loss",
        save_best: bool = False,
        mode: Mode | None = None,
    ) -> None:
        super().__init__(monitor, mode, min_delta=0.0)
        if every < 1:
            raise ValueError(f"ModelCheckpoint: every must be at least 1, got {every}")
        self.path = Path(path)
        self.every = every
        self.save_best = save_best

    @property
    def best_path(self) -> Path:
        """Where the best epoch is written."""
        return self.path.with_name(f"{self.path.stem}-best{self.path.suffix}")

    def on_train_begin(self, training: Training) -> None:
        if self.save_best:
            self.require_measured(training)

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        if self.save_best and self.is_best(figures):
            training.save(self.best_path)
        if figures.epoch % self.every == 0:
            training.save(self.path)

    def on_interrupt(self, training: Training) -> None:
        training.save(self.path)

    def on_train_end(self, training: Training) -> None:
        training.save(self.path)
