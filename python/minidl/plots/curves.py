"""Loss and accuracy over the epochs, of one run, of several seeds, or of several recipes side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.plots.style import colour, finish, finish_axes, legend_below, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPLITS: dict[str, tuple[str, Any]] = {"train": ("training", "-"), "val": ("validation", "--")}


def learning_curves(
    history: Any,
    *,
    test: tuple[float, float | None] | None = None,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Training and validation figures over the epochs; the mean of several runs, in a band from smallest to largest.

    Args:
        history: a `training.History`, a list of them (seeds of one recipe), or {name: either of these}.
        test: loss and accuracy at the end, drawn as lines across.
        title, path: PNG or SVG.

    Raises ValueError where no history has an epoch, ImportError without matplotlib.

    >>> from minidl.training import EpochFigures, History
    >>> runs = [History([EpochFigures(e, 1 / (e + s), 0.5, None, None, 0.1, 1.0, 9.0) for e in (1, 2)]) for s in (0, 1)]
    >>> figure = learning_curves({"small": runs, "large": runs[0]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'accuracy (%)']
    """
    named = history if isinstance(history, Mapping) else {"": history}
    runs = {name: list(one) if isinstance(one, Sequence) else [one] for name, one in named.items()}
    if not any(run.epochs for several in runs.values() for run in several):
        raise ValueError("learning_curves: the history must hold at least one epoch")
    panels = [panel for panel in (("loss", "", 1.0), ("accuracy", " (%)", 100.0)) if _is_measured(runs, panel[0])]
    is_single = list(runs) == [""]
    # One recipe has short legends inside the axes, and its layout is known.
    margins = {"left": 0.08, "right": 0.985, "bottom": 0.15, "top": 0.87, "wspace": 0.2} if is_single else None
    figure, grid = new_figure(1, len(panels), (4.5 * len(panels), 3.6 if is_single else 4.2), margins)
    for axes, (measure, unit, factor) in zip(grid[0], panels, strict=True):
        for place, (name, several) in enumerate(runs.items()):
            _draw_recipe(axes, several, measure, factor, name, place)
        value = None if test is None else test[measure == "accuracy"]
        if value is not None:
            axes.axhline(factor * value, linestyle=":", linewidth=1.5, color="black", label="test, at the end")
        finish_axes(axes, "epoch", measure + unit)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if is_single:
            axes.legend()
    if not is_single:
        legend_below(figure, *_names_and_splits(runs))
    return finish(figure, title, path)


def _is_measured(runs: dict[str, list[Any]], measure: str) -> bool:
    return any(_values(several, f"{split}_{measure}").size for several in runs.values() for split in _SPLITS)


def _values(runs: list[Any], field: str) -> Any:
    """(runs, epochs), nan where a run has stopped; empty where the field is not measured."""
    rows = [[getattr(figures, field) for figures in run.epochs] for run in runs if run.epochs]
    if not rows or any(value is None for row in rows for value in row):
        return np.empty(0)
    values = np.full((len(rows), max(map(len, rows))), np.nan)
    for place, row in enumerate(rows):
        values[place, : len(row)] = row
    return values


def _draw_recipe(axes: Any, runs: list[Any], measure: str, factor: float, name: str, place: int) -> None:
    for split_place, (split, (label, line)) in enumerate(_SPLITS.items()):
        values = factor * _values(runs, f"{split}_{measure}")
        if not values.size:
            continue
        epochs = np.arange(1, values.shape[1] + 1)
        ink = colour(place if name else split_place)
        if len(runs) > 1:
            low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
            axes.fill_between(epochs, low, high, color=ink, alpha=0.2, linewidth=0)
            label += f" (mean of {len(runs)})"
        mean = np.nanmean(values, axis=0)
        axes.plot(epochs, mean, marker="o", markersize=3, color=ink, linestyle=line, label=label)


def _names_and_splits(runs: dict[str, list[Any]]) -> tuple[list[Any], list[str]]:
    """Colours stand for recipes, line styles for training and validation."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour(place), marker="o", markersize=3) for place in range(len(runs))]
    labels = [f"{name} (mean of {len(several)})" if len(several) > 1 else name for name, several in runs.items()]
    measured = [s for s in _SPLITS if any(_values(several, f"{s}_loss").size for several in runs.values())]
    if len(measured) > 1:
        handles += [Line2D([], [], color="black", linestyle=_SPLITS[split][1]) for split in measured]
        labels += [_SPLITS[split][0] for split in measured]
    return handles, labels
