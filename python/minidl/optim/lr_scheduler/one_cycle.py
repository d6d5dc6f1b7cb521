"""OneCycleLR: up to a large rate, then down to almost nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minidl.optim.lr_scheduler.cyclic import per_group, require_momentum, set_momentum
from minidl.optim.lr_scheduler.scheduler import LRScheduler
from minidl.optim.optimizer import Optimizer


class OneCycleLR(LRScheduler):
    """One cycle over the whole training, stepped after every batch (Smith and Topin 2018).

    The rate rises from max_lr / div_factor to ``max_lr`` in the first ``pct_start`` of the steps and falls to
    max_lr / div_factor / final_div_factor in the rest - with ``three_phase`` as fast as it rose, and then on. Momentum,
    or beta1, runs the other way between ``max_momentum`` and ``base_momentum``. Give ``total_steps``, or ``epochs`` and
    ``steps_per_epoch``. ``anneal_strategy`` is "cos" or "linear". ValueError for a step beyond the last.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None and epochs is not None and steps_per_epoch is not None:
            total_steps = epochs * steps_per_epoch
        if total_steps is None or total_steps < 1:
            raise ValueError(
                f"OneCycleLR: give total_steps, or epochs and steps_per_epoch, of at least 1; got {total_steps}"
            )
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must lie in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.phases = self._phases(pct_start * total_steps, three_phase)
        if last_epoch == -1:
            self._start_groups(optimizer, max_lr, div_factor, final_div_factor)
        if cycle_momentum:
            require_momentum("OneCycleLR", optimizer)
            self.base_momentums = per_group("OneCycleLR", "base_momentum", base_momentum, optimizer)
            self.max_momentums = per_group("OneCycleLR", "max_momentum", max_momentum, optimizer)
        super().__init__(optimizer, last_epoch)

    def _phases(self, rise: float, three_phase: bool) -> list[tuple[float, str, str]]:
        """The last step of each phase, with the rates between which it moves."""
        last = float(self.total_steps - 1)
        if three_phase:
            return [
                (rise - 1, "initial_lr", "max_lr"),
                (2 * rise - 2, "max_lr", "initial_lr"),
                (last, "initial_lr", "min_lr"),
            ]
        return [(rise - 1, "initial_lr", "max_lr"), (last, "max_lr", "min_lr")]

    @staticmethod
    def _start_groups(
        optimizer: Optimizer, max_lr: float | Sequence[float], div_factor: float, final_div_factor: float
    ) -> None:
        rates = per_group("OneCycleLR", "max_lr", max_lr, optimizer)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["max_lr"] = rate
            group["lr"] = group["initial_lr"] = rate / div_factor
            group["min_lr"] = rate / div_factor / final_div_factor

    def _between(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * part
        return end + (start - end) / 2 * (1 + math.cos(math.pi * part))

    def get_lr(self) -> list[float]:
        """The rates for ``last_epoch``; writes the momenta as well."""
        step, begin = self.last_epoch, 0.0
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR: step {step} lies beyond total_steps = {self.total_steps}")
        for phase in self.phases[:-1]:
            if step > phase[0]:
                begin = phase[0]
        end, start_name, end_name = next((phase for phase in self.phases if step <= phase[0]), self.phases[-1])
        part = (step - begin) / (end - begin) if end != begin else 1.0
        if self.cycle_momentum:
            for group, low, high in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                ends = {"max_lr": low}  # where the rate is at its largest, the momentum is at its smallest
                set_momentum(group, self._between(ends.get(start_name, high), ends.get(end_name, high), part))
        return [self._between(group[start_name], group[end_name], part) for group in self.optimizer.param_groups]
