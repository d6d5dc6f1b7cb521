"""What a run measured: the loss of every step and the figures of every epoch."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class EpochFigures:
    """One epoch; losses and accuracies are means over samples, None where they were not measured.

    `metrics` are those that `fit` was given, by name, measured on the validation data.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    samples_per_second: float
    metrics: dict[str, float] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """All figures by name in one flat dictionary, the metrics last.

        >>> figures = EpochFigures(1, 0.5, None, 0.6, None, 0.1, 2.0, 50.0, {"top-5": 0.9})
        >>> figures.as_row()["val_loss"], figures.as_row()["top-5"]
        (0.6, 0.9)
        """
        row = {name: getattr(self, name) for name in FIELDS}
        return row | self.metrics


FIELDS = tuple(name for name in EpochFigures.__dataclass_fields__ if name != "metrics")


@dataclass
class History:
    """What `training.fit` measured: the loss of every step and the figures of every epoch."""

    epochs: list[EpochFigures] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the loss sequence: equal where two runs were equal bit by bit."""
        return hashlib.sha256(np.asarray(self.losses, "<f8").tobytes()).hexdigest()[:16]

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": [asdict(figures) for figures in self.epochs], "losses": np.asarray(self.losses, "<f8")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = [EpochFigures(**figures) for figures in state["epochs"]]
        self.losses = [float(loss) for loss in np.asarray(state["losses"])]
