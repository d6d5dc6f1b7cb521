"""LRScheduler: counts epochs and writes each group's learning rate."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from minidl.optim.optimizer import Optimizer


class LRScheduler:
    """The base of all schedulers: ``get_lr`` says the groups' learning rates for ``last_epoch``.

    Most give the next rate as a change of the present one, so that several may be chained on one optimizer. An epoch is
    whatever lies between two calls of ``step``. ``last_epoch`` other than -1 continues an earlier run, in which case
    the optimizer's groups must hold "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{name}: optimizer must be an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(f"{name}: group {i} must hold 'initial_lr' to continue at epoch {last_epoch}")
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self.step()

    def get_lr(self) -> list[float]:
        """The learning rate of each group for ``last_epoch``."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The learning rates that the last step wrote."""
        return self._last_lr

    def step(self) -> None:
        """Begins the next epoch. Call it after the optimizer's step."""
        if self._step_count == 1 and self.optimizer.steps_taken == 0:
            warnings.warn(
                f"{type(self).__name__}.step() came before the first optimizer.step(): the first learning rate is "
                "skipped; call optimizer.step() first",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        self.last_epoch += 1
        self._write(self.get_lr())

    def _write(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]

    def _restart(self) -> None:
        """Back to epoch 0 from the base rates: what SequentialLR does when a scheduler's turn comes."""
        self._write(self.base_lrs)
        self.last_epoch = -1
        self._initial_step()

    def _scaled(self, factor: float) -> list[float]:
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions, as plain numbers and lists."""
        return {
            name: value
            for name, value in self.__dict__.items()
            if name != "optimizer" and not callable(value) and not name.endswith("_lambdas")
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues where ``state_dict`` was called; load the optimizer's state, which holds the rates, as well."""
        self.__dict__.update(state_dict)
