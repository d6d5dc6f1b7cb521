"""Schedules that the user gives as functions of the epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minidl.optim.lr_scheduler.scheduler import LRScheduler
from minidl.optim.optimizer import Optimizer

Function = Callable[[int], float]


class _FunctionScheduler(LRScheduler):
    def __init__(self, optimizer: Optimizer, lr_lambda: Function | Sequence[Function], last_epoch: int = -1) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(
                f"{type(self).__name__}: lr_lambda must be a function or one per group, got {len(self.lr_lambdas)} "
                f"for {groups} groups"
            )
        super().__init__(optimizer, last_epoch)


class LambdaLR(_FunctionScheduler):
    """The first lr times lr_lambda(epoch); a list gives each group a function of its own."""

    def get_lr(self) -> list[float]:
        return [base * function(self.last_epoch) for base, function in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(_FunctionScheduler):
    """lr *= lr_lambda(epoch) every epoch; a list gives each group a function of its own."""

    def get_lr(self) -> list[float]:
        groups = self.optimizer.param_groups
        if self._step_count == 1:
            return [group["lr"] for group in groups]
        return [group["lr"] * f(self.last_epoch) for group, f in zip(groups, self.lr_lambdas, strict=True)]

    def _restart(self) -> None:
        self.last_epoch = 0
        self._step_count += 1  # not the first step: goes on from the present rate
        self._write(self.get_lr())
