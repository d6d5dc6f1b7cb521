"""What the pictures of the experiments share: colours that the colour-blind tell apart, and bands over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Okabe and Ito 2008, "Color Universal Design"; yellow is left out, too light for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def new_figure(width: float, height: float) -> Any:
    """A figure without pyplot, its parts laid out so that nothing overlaps; inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def band(
    axes: Any, x: Sequence[float], curves: Sequence[Sequence[float]], label: str, colour: str, **line: Any
) -> None:
    """The mean of some curves as a line, from the lowest to the highest as a band; None in a curve is a gap."""
    values = np.array(curves, dtype=float)
    axes.plot(x, values.mean(0), label=label, color=colour, **line)
    if len(values) > 1:
        axes.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)


def finish(axes: Any, x: str, y: str, title: str = "", legend: bool = True) -> None:
    """Names of the axes with their units, a title, a grid, a legend."""
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.grid(alpha=0.3)
    if legend:
        axes.legend()


def in_words(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c".

    >>> in_words(["xor", "moons", "circles"])
    'xor, moons and circles'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
