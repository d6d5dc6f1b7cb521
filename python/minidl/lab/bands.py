"""Curves over seeds: the mean as a line, the standard deviation as a band, a cross where runs diverged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.plots.style import COLOURS, colour

DASHES = ("-", (0, (4, 1.5)))


def line_style(place: int) -> dict[str, Any]:
    """Colour and dashes of the place-th line: neighbours differ in both, and no two of the first sixteen are equal."""
    return {"color": colour(place), "linestyle": DASHES[(place + place // len(COLOURS)) % 2]}


def draw_band(
    axes: Any, x: Sequence[Sequence[float]], y: Sequence[Sequence[float | None]], label: str, place: int
) -> None:
    """A line of the means of `y` over the seeds with a band of one standard deviation, as far as the shortest goes.

    x[i] are the places of y[i]; None, for nan or inf, ends a curve. A cross marks an end that comes before the others'.
    """
    curves = [_finite_part(values) for values in y]
    length = min((len(values) for values in curves), default=0)
    if length == 0:
        return
    rows = np.array([values[:length] for values in curves])
    mean, style = rows.mean(axis=0), line_style(place)
    axes.plot(x[0][:length], mean, label=label, linewidth=1.3, **style)
    if len(rows) > 1:
        deviation = rows.std(axis=0, ddof=1)
        axes.fill_between(
            x[0][:length], mean - deviation, mean + deviation, color=style["color"], alpha=0.15, linewidth=0
        )
    if length < max(len(values) for values in y):
        axes.plot(x[0][length - 1], mean[-1], "x", color=style["color"], markersize=6)


def _finite_part(values: Sequence[float | None]) -> list[float]:
    """What comes before the first None."""
    finite: list[float] = []
    for value in values:
        if value is None or not math.isfinite(value):
            break
        finite.append(value)
    return finite


def legend_below(figure: Any, axes: Any, columns: int = 4) -> None:
    """One legend for all panels, made of the lines of all `axes`."""
    handles: dict[str, Any] = {}
    for each in np.ravel(axes):
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False)
