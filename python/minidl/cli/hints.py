"""Hints while `minidl train` runs: what `diagnose` finds in the first images, before training and after an epoch."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from minidl import ops
from minidl.training import Callback, EpochFigures, Training, diagnose

IMAGES = 256


class Hints(Callback):
    """Prints each finding once. A look at one batch of 256 images that leaves no trace in the run."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.told: set[str] = set()

    def look(self, training: Training) -> None:
        """Prints what is new."""
        dataset: Any = training.train_data.dataset
        index = ops.arange(min(IMAGES, len(dataset))).to(dataset.device)
        batch = dataset.get_batch(index)
        for finding in diagnose(training.model, batch, training.loss, training.optimizer):
            if finding.name + finding.layer not in self.told:
                self.told.add(finding.name + finding.layer)
                self.console.print(f"[yellow]hint:[/] {escape(finding.sentence)}", highlight=False, soft_wrap=True)

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        if figures.epoch == 1:
            self.look(training)
