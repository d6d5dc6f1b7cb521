"""Checks of an experiment's settings; their messages name the setting and what it may be."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any


def require_range(name: str, value: float, lowest: float, highest: float = math.inf) -> None:
    """ValueError unless lowest <= value <= highest.

    >>> require_range("epochs", 0, 1, 100)
    Traceback (most recent call last):
        ...
    ValueError: epochs must be 1 to 100, got 0
    """
    if not lowest <= value <= highest or not math.isfinite(value):
        wanted = f"at least {lowest:g}" if math.isinf(highest) else f"{lowest:g} to {highest:g}"
        raise ValueError(f"{name} must be {wanted}, got {value}")


def require_above_zero(name: str, value: float) -> None:
    """ValueError unless 0 < value < inf."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0, got {value}")


def require_known(name: str, values: Iterable[Any], known: Collection[Any]) -> None:
    """ValueError unless all values are known ones; the message lists them.

    >>> require_known("planes", ["moon"], ["moons", "xor"])
    Traceback (most recent call last):
        ...
    ValueError: planes must be of moons, xor, got 'moon'
    """
    for value in values:
        if value not in known:
            raise ValueError(f"{name} must be of {', '.join(map(str, known))}, got {value!r}")


def require_distinct(name: str, values: Sequence[Any]) -> None:
    """ValueError for no values, or one of them twice."""
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{name} must be at least one, and differ from one another, got {list(values)}")


def require_seeds(seeds: Sequence[int]) -> None:
    """ValueError unless the seeds are distinct and from 0 to 2^63 - 1."""
    require_distinct("seeds", seeds)
    for seed in seeds:
        if not 0 <= seed < 2**63:
            raise ValueError(f"seeds must be 0 to 2^63 - 1, got {seed}")
