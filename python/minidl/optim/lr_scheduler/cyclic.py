"""CyclicLR: up and down between two rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from minidl.optim.lr_scheduler.scheduler import LRScheduler
from minidl.optim.optimizer import Optimizer
from minidl.optim.param_group import ParamGroup


def per_group(scheduler: str, name: str, value: float | Sequence[float], optimizer: Optimizer) -> list[float]:
    """The value of each group: one number for all, or a list."""
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, Sequence) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"{scheduler}: {name} must be a number or one per group, got {len(values)} for {groups}")
    return values


def require_momentum(scheduler: str, optimizer: Optimizer) -> None:
    """ValueError unless the optimizer has a momentum to cycle."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(
            f"{scheduler}: {type(optimizer).__name__} has neither momentum nor betas; pass cycle_momentum=False"
        )


def set_momentum(group: ParamGroup, momentum: float) -> None:
    """Writes the momentum, which for Adam's relatives is beta1."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


class CyclicLR(LRScheduler):
    """From ``base_lr`` to ``max_lr`` in ``step_size_up`` steps and back in ``step_size_down`` (Smith 2017).

    ``mode``: "triangular" keeps the height, "triangular2" halves it each cycle, "exp_range" scales it by gamma^step;
    ``scale_fn`` (of the cycle, or of the step with scale_mode="iterations") replaces it. The momentum, or beta1, runs
    the other way between ``max_momentum`` and ``base_momentum`` unless ``cycle_momentum`` is False.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}")
        if scale_fn is not None and scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"CyclicLR: scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}")
        if last_epoch == -1:
            for group, rate in zip(
                optimizer.param_groups, per_group("CyclicLR", "base_lr", base_lr, optimizer), strict=True
            ):
                group["lr"] = group["initial_lr"] = rate
        self.max_lrs = per_group("CyclicLR", "max_lr", max_lr, optimizer)
        self.step_size_up = float(step_size_up)
        self.total_size = self.step_size_up + float(step_size_down if step_size_down is not None else step_size_up)
        self.mode = mode
        self.gamma = gamma
        self.scale_fn = scale_fn
        self.scale_mode = "iterations" if scale_fn is None and mode == "exp_range" else scale_mode
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            require_momentum("CyclicLR", optimizer)
            self.base_momentums = per_group("CyclicLR", "base_momentum", base_momentum, optimizer)
            self.max_momentums = per_group("CyclicLR", "max_momentum", max_momentum, optimizer)
        super().__init__(optimizer, last_epoch)

    def _scale(self, x: float) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(x)
        if self.mode == "triangular2":
            return float(2.0 ** (1 - x))
        return float(self.gamma**x) if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[float]:
        """The rates for ``last_epoch``; writes the momenta as well."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1 + self.last_epoch / self.total_size - cycle
        turn = self.step_size_up / self.total_size
        height = place / turn if place <= turn else (place - 1) / (turn - 1)
        height *= self._scale(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for group, low, high in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                set_momentum(group, high - (high - low) * height)
        return [base + (high - base) * height for base, high in zip(self.base_lrs, self.max_lrs, strict=True)]
