"""ParamGroup: an optimizer's options for some parameters, those that schedulers change mirrored in device memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.backends import Backend
from minidl.changes import setting_changed, write_later

_float64 = np.dtype(np.float64)

# What each option may be: lowest, highest, and whether the highest itself is allowed.
_ranges: dict[str, tuple[float, float, bool]] = {
    "lr": (0, math.inf, True),
    "momentum": (0, math.inf, True),
    "weight_decay": (0, math.inf, True),
    "eps": (0, math.inf, True),
    "betas": (0, 1, False),
    "alpha": (0, 1, True),
    "rho": (0, 1, True),
    "lr_decay": (0, math.inf, True),
    "initial_accumulator_value": (0, math.inf, True),
    "momentum_decay": (0, math.inf, True),
    "max_grad_norm": (0, math.inf, True),
    "max_norm": (0, math.inf, True),
    "l1_decay": (0, math.inf, True),
}


def _is_seen_by_replay(option: str, before: Any, value: Any) -> bool:
    """Whether a recorded step goes on as it should; kernels read beta1 from memory, beta2 is an argument."""
    if option == "betas" and before is not None:
        return bool(before[1:] == value[1:])
    return option != "params" and bool(before == value)


class ParamGroup(dict[str, Any]):
    """A dictionary of options. ``schedule(backend)`` is the array {lr, momentum or beta1, weight_decay} that the
    kernels read; what is assigned to the dictionary is written there before a step reads it, replayed ones included."""

    _scheduled = ("lr", "momentum", "betas", "weight_decay")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._schedules: dict[str, tuple[Backend, Any]] = {}  # by the name of the back end
        self._are_written = True

    def scheduled_values(self) -> tuple[float, float, float]:
        """What ``schedule`` holds."""
        momentum = self["betas"][0] if "betas" in self else self.get("momentum", 0.0)
        return float(self["lr"]), float(momentum), float(self.get("weight_decay", 0.0))

    def schedule(self, backend: Backend) -> Any:
        """float64[3] on the back end, up to date."""
        if backend.name not in self._schedules:
            self._schedules[backend.name] = backend, backend.empty((3,), _float64)
            self._are_written = False
        self._write_schedules()
        return self._schedules[backend.name][1]

    def _write_schedules(self) -> None:
        if self._are_written:
            return
        for backend, array in self._schedules.values():
            backend.write(array, self.scheduled_values())
        self._are_written = True

    def __setitem__(self, option: str, value: Any) -> None:
        before = self.get(option)
        super().__setitem__(option, value)
        if option in self._scheduled and self._schedules:
            self._are_written = False
            write_later(self, self._write_schedules)
        if option not in ("lr", "momentum", "weight_decay") and not _is_seen_by_replay(option, before, value):
            setting_changed()

    def update(self, *args: Any, **options: Any) -> None:
        """Like dict.update."""
        for option, value in dict(*args, **options).items():
            self[option] = value

    def require_valid(self, optimizer: str) -> None:
        """ValueError for an option outside its range."""
        for option, (lowest, highest, is_closed) in _ranges.items():
            value = self.get(option)
            if value is None:
                continue
            for number in value if option == "betas" else (value,):
                if not (lowest <= number <= highest if is_closed else lowest <= number < highest):
                    wanted = f"lie in [0, 1{']' if is_closed else ')'}" if highest == 1 else "be at least 0 and not nan"
                    raise ValueError(f"{optimizer}: {option} must {wanted}, got {value}")
