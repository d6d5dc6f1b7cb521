"""ReduceLROnPlateau: a smaller rate when a figure stops improving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minidl.optim.lr_scheduler.cyclic import per_group
from minidl.optim.lr_scheduler.scheduler import LRScheduler
from minidl.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """lr = max(lr * factor, min_lr) after more than ``patience`` epochs without improvement of what ``step`` is given.

    Better means, for mode "min", below best * (1 - threshold) or, with threshold_mode="abs", below best - threshold;
    for "max" above best * (1 + threshold) or best + threshold. After a reduction ``cooldown`` epochs are not counted.
    A change of the rate by no more than ``eps`` is not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = per_group("ReduceLROnPlateau", "min_lr", min_lr, optimizer)
        self.eps = eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        super().__init__(optimizer)

    def _initial_step(self) -> None:
        self.last_epoch = 0
        self._write([group["lr"] for group in self.optimizer.param_groups])

    def step(self, metrics: Any = None) -> None:
        """Takes the epoch's figure: a number or a tensor of one element."""
        if metrics is None:
            raise TypeError("ReduceLROnPlateau: step() needs the figure to watch: scheduler.step(validation_loss)")
        current = float(metrics)
        self.last_epoch += 1
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._write(self.get_lr())
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def get_lr(self) -> list[float]:
        """The reduced rates."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        reduced = [max(rate * self.factor, least) for rate, least in zip(rates, self.min_lrs, strict=True)]
        return [new if rate - new > self.eps else rate for rate, new in zip(rates, reduced, strict=True)]

    def _is_better(self, current: float) -> bool:
        margin = self.threshold if self.threshold_mode == "abs" else self.best * self.threshold
        if math.isinf(self.best):
            return current < self.best if self.mode == "min" else current > self.best
        return current < self.best - margin if self.mode == "min" else current > self.best + margin
