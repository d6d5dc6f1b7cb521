"""LearningRateMonitor: which learning rate and momentum every step used."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from minidl.training.callbacks.callback import Callback
from minidl.training.history import EpochFigures

if TYPE_CHECKING:
    from minidl.training.loop import Training


def momentum_of(group: Mapping[str, Any]) -> float:
    """The momentum of a parameter group, Adam's beta1; 0 for an optimizer without."""
    return float(group["betas"][0] if "betas" in group else group.get("momentum", 0.0))


class LearningRateMonitor(Callback):
    """Records the learning rate and the momentum of every parameter group, as they are before a step.

    `steps` are the numbers of the steps recorded, from 1 over the whole run; `rates` and `momenta` hold one list for
    each, with one number per group.

    Args:
        every: "step" or "epoch", in which case the first step of every epoch is recorded.
        path: a CSV file, written after every epoch: step, then lr and momentum of each group.

    >>> import minidl
    >>> from minidl import nn, optim, training
    >>> model = nn.Linear(2, 1)
    >>> optimizer = optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    >>> monitor = training.LearningRateMonitor()
    >>> history = training.fit(
    ...     model, [(minidl.ones(4, 2), minidl.zeros(4, 1))] * 3, epochs=1, loss=nn.functional.mse_loss,
    ...     optimizer=optimizer, scheduler=optim.lr_scheduler.ExponentialLR(optimizer, 0.5), callbacks=[monitor],
    ... )
    >>> monitor.steps, monitor.rates, monitor.momenta[0]
    ([1, 2, 3], [[1.0], [0.5], [0.25]], [0.5])
    """

    def __init__(self, every: Literal["step", "epoch"] = "step", path: str | os.PathLike[str] | None = None) -> None:
        if every not in ("step", "epoch"):
            raise ValueError(f"LearningRateMonitor: every must be 'step' or 'epoch', got {every!r}")
        self.every = every
        self.path = None if path is None else Path(path)
        self.steps: list[int] = []
        self.rates: list[list[float]] = []
        self.momenta: list[list[float]] = []

    @property
    def follows_every_step(self) -> bool:
        return self.every == "step"

    def on_batch_begin(self, training: Training) -> None:
        if self.every == "epoch" and training.step > 0:
            return
        groups = training.optimizer.param_groups
        self.steps.append(training.total_steps + 1)
        self.rates.append([float(group["lr"]) for group in groups])
        self.momenta.append([momentum_of(group) for group in groups])

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        if self.path is None:
            return
        with self.path.open("w", newline="") as file:
            writer = csv.writer(file)
            count = len(training.optimizer.param_groups)
            writer.writerow(["step", *(f"{name}_{i}" for i in range(count) for name in ("lr", "momentum"))])
            for step, rates, momenta in zip(self.steps, self.rates, self.momenta, strict=True):
                writer.writerow([step, *(x for pair in zip(rates, momenta, strict=True) for x in pair)])

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": np.asarray(self.steps, np.int64),
            "rates": np.asarray(self.rates, np.float64),
            "momenta": np.asarray(self.momenta, np.float64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.steps = [int(step) for step in np.asarray(state["steps"])]
            self.rates = np.asarray(state["rates"]).tolist()
            self.momenta = np.asarray(state["momenta"]).tolist()
