"""StepSchedule: what a scheduler says for each of several steps, where a captured step reads it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import backends, optim
from minidl.optim.param_group import ParamGroup
from minidl.tensor import Tensor


class StepSchedule:
    """A scheduler that steps after every step of training, or none.

    The kernels of an optimizer's step read rates and momenta from arrays. A captured step that is given these arrays as
    arguments can be replayed with others, a row of numbers for each of the steps to come.
    """

    def __init__(self, scheduler: Any, optimizer: Any, device: Any) -> None:
        self.scheduler = scheduler
        self.optimizer = optimizer
        self.device = device

    @property
    def is_known_ahead(self) -> bool:
        """Whether what the scheduler says depends on the number of the step alone, and reaches kernels by arrays."""
        if self.scheduler is None:
            return True
        is_own = type(self.scheduler).__module__.startswith(optim.lr_scheduler.__name__)
        return is_own and all(isinstance(group, ParamGroup) for group in self.optimizer.param_groups)

    def step(self) -> None:
        """After a step of training."""
        if self.scheduler is not None:
            self.scheduler.step()

    def arrays(self) -> list[Tensor]:
        """One array for each parameter group, which the optimizer's kernels read."""
        if self.scheduler is None:
            return []
        backend = backends.load(self.device)
        return [Tensor(group.schedule(backend), backend) for group in self.optimizer.param_groups]

    def stacked_arrays(self, steps: int) -> list[Tensor]:
        """Such arrays for each of so many steps, along a first axis; the scheduler is then as far."""
        if self.scheduler is None:
            return []
        values: list[float] = []
        for _ in range(steps):
            for group in self.optimizer.param_groups:
                values += group.scheduled_values()
            self.step()
        backend = backends.load(self.device)
        groups = len(self.optimizer.param_groups)
        array = backend.empty((len(values),), np.dtype(np.float64))
        backend.write(array, values)
        by_step = array.reshape(steps, groups, -1)
        return [Tensor(by_step[:, i], backend) for i in range(groups)]
