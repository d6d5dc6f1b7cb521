"""CSVLogger: the figures of every epoch as a table."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.training.callbacks.callback import Callback
from minidl.training.history import EpochFigures

if TYPE_CHECKING:
    from minidl.training.loop import Training


class CSVLogger(Callback):
    """Writes the figures of every epoch to a CSV file, a header first, the metrics of `fit` last.

    >>> import csv, minidl
    >>> from minidl import nn, optim, training
    >>> model = nn.Linear(2, 1)
    >>> history = training.fit(
    ...     model, [(minidl.ones(4, 2), minidl.zeros(4, 1))], epochs=2, loss=nn.functional.mse_loss,
    ...     optimizer=optim.SGD(model.parameters(), lr=0.1), callbacks=[training.CSVLogger("run.csv")],
    ... )
    >>> with open("run.csv", newline="") as file:
    ...     [row["epoch"] for row in csv.DictReader(file)]
    ['1', '2']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(figures.as_row()), extrasaction="ignore")
            writer.writeheader()
            writer.writerows(row.as_row() for row in training.history.epochs)
