"""LearningRateSweep: what a learning-rate range test measured, what it suggests, and its picture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class LearningRateSweep:
    """The losses of a range test, one for each learning rate.

    `losses` are those of the batches, before the step with the rate; `smoothed` their running mean, in which a new loss
    has the weight `smoothing`. `stopped` says why the sweep ended: "finished" (at the highest rate), "diverged" (the
    smoothed loss went beyond the limit), or "not finite" (the next loss was nan or inf, and is not among the losses).

    >>> rates, losses = np.array([0.001, 0.01, 0.1, 1.0, 10.0]), np.array([2.0, 1.9, 1.0, 0.5, 4.0])
    >>> sweep = LearningRateSweep(rates, losses, losses, 1.0, "diverged")
    >>> sweep.suggestion_steepest, sweep.suggestion_minimum, sweep.suggestion
    (0.1, 0.1, 0.1)
    """

    rates: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]
    smoothed: npt.NDArray[np.float64]
    smoothing: float
    stopped: Literal["finished", "diverged", "not finite"]

    @property
    def suggestion_minimum(self) -> float | None:
        """A tenth of the rate at which the smoothed loss is lowest; None where it never fell."""
        lowest = int(self.smoothed.argmin())
        return float(self.rates[lowest]) / 10 if lowest > 0 else None

    @property
    def suggestion_steepest(self) -> float | None:
        """The rate at which the smoothed loss falls most steeply against the logarithm of the rate, before it is
        lowest; None where it never fell. The first 1 / smoothing steps, whose means are of few losses, do not count,
        unless the lowest one is among them."""
        lowest = int(self.smoothed.argmin())
        if lowest == 0:
            return None
        first = round(1 / self.smoothing) - 1
        first = first if first < lowest else 0
        slopes = np.gradient(self.smoothed[: lowest + 1], np.log(self.rates[: lowest + 1]))
        return float(self.rates[first + slopes[first:].argmin()])

    @property
    def suggestion(self) -> float | None:
        """The smaller of the two: the smoothed loss is late by about 1 / smoothing steps, which moves both to larger
        rates, and a rate that is somewhat too small costs time where one too large costs the run."""
        if self.suggestion_minimum is None or self.suggestion_steepest is None:
            return None
        return min(self.suggestion_minimum, self.suggestion_steepest)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The losses against the rate, both suggestions marked, as a matplotlib Figure; written to `path` if given.

        Raises ImportError where matplotlib is not installed: pip install matplotlib.
        """
        from minidl.plots.style import DOTS_PER_INCH, colour, finish_axes, new_figure

        figure, [[axes]] = new_figure(size=(7, 4.2))
        axes.set_xscale("log")
        axes.plot(self.rates, self.losses, color="0.75", linewidth=1, label="loss of a batch")
        axes.plot(self.rates, self.smoothed, color=colour(0), linewidth=2, label="smoothed")
        marks = (
            ("steepest", self.suggestion_steepest, colour(1), "--"),
            ("minimum / 10", self.suggestion_minimum, colour(2), ":"),
        )
        for name, rate, own_colour, style in marks:
            if rate is not None:
                axes.axvline(rate, color=own_colour, linestyle=style, linewidth=1.8, label=f"{name}: {rate:.2g}")
        # The rise at the end would press the interesting part flat.
        until_lowest = slice(0, int(self.smoothed.argmin()) + 1)
        low, high = float(self.losses[until_lowest].min()), float(self.smoothed[until_lowest].max())
        room = max(high - low, 1e-3 * max(abs(high), 1e-12))
        axes.set_ylim(low - 0.1 * room, high + 0.4 * room)
        endings = {"finished": "to its end", "diverged": "until it diverged", "not finite": "until it was not finite"}
        axes.set_title(f"Learning-rate range test, {endings[self.stopped]}")
        finish_axes(axes, "learning rate", "loss")
        figure.legend(loc="outside lower center", ncols=4)
        if path is not None:
            figure.savefig(path, dpi=DOTS_PER_INCH)
        return figure
