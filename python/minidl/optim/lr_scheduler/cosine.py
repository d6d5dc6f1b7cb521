"""Half a cosine wave down, once or with warm restarts (SGDR, Loshchilov and Hutter 2017)."""

from __future__ import annotations

import math

from minidl.optim.lr_scheduler.scheduler import LRScheduler
from minidl.optim.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """eta_min + (lr - eta_min) * (1 + cos(pi * epoch / T_max)) / 2: down in ``T_max`` epochs, and up again after."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        return 1 + math.cos(math.pi * epoch / self.T_max)

    def get_lr(self) -> list[float]:
        low, epoch = self.eta_min, self.last_epoch
        pairs = [(group["lr"], base) for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True)]
        if epoch == 0:
            return [rate for rate, _ in pairs]
        if self._step_count == 1:  # continues an earlier run
            return [low + (base - low) * self._height(epoch) / 2 for _, base in pairs]
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # at the bottom, where a factor leads nowhere
            return [rate + (base - low) * (1 - math.cos(math.pi / self.T_max)) / 2 for rate, base in pairs]
        return [self._height(epoch) / self._height(epoch - 1) * (rate - low) + low for rate, _ in pairs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down from lr to ``eta_min`` in ``T_0`` epochs, then from the start in ``T_0 * T_mult``, and so on.

    ``step(epoch)`` takes fractions of epochs: ``step(epoch + batch / batches)`` after every batch.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 < 1 or T_mult < 1:
            raise ValueError(f"CosineAnnealingWarmRestarts: T_0 and T_mult must be at least 1, got {T_0} and {T_mult}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Begins the next epoch, or moves to any place of the schedule."""
        if epoch is None:
            self.last_epoch += 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        else:
            self._move_to(epoch)
        self._step_count += 1
        self._write(self.get_lr())

    def _move_to(self, epoch: float) -> None:
        if epoch < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: epoch must be at least 0, got {epoch}")
        self.last_epoch = math.floor(epoch)
        self.T_i, begin = self.T_0, 0
        while epoch >= begin + self.T_i and self.T_mult > 1:
            begin += self.T_i
            self.T_i *= self.T_mult
        self.T_cur = epoch % self.T_0 if self.T_mult == 1 else epoch - begin

    def _restart(self) -> None:
        self.step(0)
