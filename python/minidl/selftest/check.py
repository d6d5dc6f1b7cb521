"""What a check of a kernel is: arguments to call it with, and what must then stand in its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Expected:
    """An output array and its reference, computed in float64.

    The error of an element is |out - wanted| in units of epsilon * max(|wanted|, scale): `scale` keeps sums whose terms
    cancel from being judged by their small result. At most `epsilons` are allowed, 0 for an exact result.
    """

    out: Array
    wanted: Array
    epsilons: float = 8
    scale: Any = 1.0

    def worst_error(self) -> float:
        """The largest error in epsilons; inf where nan or inf stand on one side only."""
        out, wanted = np.asarray(self.out, np.float64), np.broadcast_to(self.wanted, self.out.shape)
        if out.size == 0:
            return 0.0
        epsilon = np.finfo(self.out.dtype).eps if self.out.dtype.kind == "f" else 1.0
        special = ~np.isfinite(out) | ~np.isfinite(wanted)
        agrees = (out == wanted) | (np.isnan(out) & np.isnan(wanted))
        with np.errstate(invalid="ignore"):
            error = np.abs(out - wanted) / (epsilon * np.maximum(np.abs(wanted), self.scale))
        return float(np.where(special, np.where(agrees, 0.0, np.inf), error).max())


@dataclass(frozen=True)
class Call:
    """One call of a kernel."""

    arguments: tuple[Any, ...]
    expected: tuple[Expected, ...]


class Inputs:
    """Draws the arrays of a check in one number type; outputs start as nan, so that a gap shows.

    With `only`, checks run at that one shape instead of their own.
    """

    def __init__(self, dtype: Any, seed: int = 0, only: Any = None) -> None:
        self.dtype = np.dtype(dtype)
        self.random = np.random.default_rng(seed)
        self.only = only

    def shapes(self, own: Iterable[Any]) -> Iterable[Any]:
        """The shapes to run at: a check's own, or the one asked for."""
        return own if self.only is None else (self.only,)

    def normal(self, *shape: int) -> Array:
        return np.asarray(self.random.normal(size=shape), self.dtype)

    def uniform(self, low: float, high: float, *shape: int) -> Array:
        return np.asarray(self.random.uniform(low, high, shape), self.dtype)

    def integers(self, low: int, high: int, *shape: int) -> Array:
        return np.asarray(self.random.integers(low, high, shape), self.dtype)

    def labels(self, classes: int, count: int) -> npt.NDArray[np.int64]:
        return self.random.integers(0, classes, count)

    def out(self, *shape: int) -> Array:
        return np.full(shape, np.nan, self.dtype)


# Makes the calls that check one kernel in one number type.
Maker = Callable[[Inputs], Iterable[Call]]
# Kernel name -> its makers; a name may have several.
Checks = dict[str, list[Maker]]


def wide(array: Array) -> Array:
    """The array in float64, as references are computed."""
    return array.astype(np.float64)


# A vector width and a bit, less than any vector, and nothing at all.
SIZES = (1003, 3, 0)
