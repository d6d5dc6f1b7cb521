"""Checks of an experiment's settings; every message names what is allowed."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from minidl.data import DATASET_NAMES

VAL_SHARE = 10  # every tenth training image is held out to validate


def require(name: str, holds: bool, wanted: str, value: Any) -> None:
    """ValueError "name must wanted, got value" unless it holds."""
    if not holds:
        raise ValueError(f"{name} must {wanted}, got {value!r}")


def require_known(name: str, values: Sequence[Any], known: Collection[Any]) -> None:
    """ValueError unless there are values, all known, none twice; the message lists the known ones."""
    names = ", ".join(map(str, known))
    require(name, bool(values), f"name at least one of {names}", tuple(values))
    for value in values:
        require(name, value in known, f"be among {names}", value)
    require(name, len(set(values)) == len(values), "differ from one another", tuple(values))


def require_whole(name: str, values: Sequence[int], lowest: int, highest: int | None = None) -> None:
    """ValueError unless there are whole numbers in the range, none twice."""
    wanted = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
    require(name, bool(values), f"hold at least one number of {wanted}", tuple(values))
    for value in values:
        in_range = isinstance(value, int) and lowest <= value and (highest is None or value <= highest)
        require(name, in_range, f"be {wanted}", value)
    require(name, len(set(values)) == len(values), "differ from one another", tuple(values))


def require_positive(name: str, value: float) -> None:
    """ValueError unless the number is finite and above 0."""
    require(name, 0 < value < math.inf, "be above 0 and finite", value)


def require_common(dataset: str, seeds: Sequence[int]) -> None:
    """What every experiment on images has."""
    require_known("dataset", [dataset], DATASET_NAMES)
    require_whole("seeds", seeds, 0, 2**63 - 1)
