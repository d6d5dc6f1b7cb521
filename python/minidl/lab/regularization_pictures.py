"""Pictures of `minidl lab regularization`: losses and gaps over the steps, all methods at the end, early stopping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.lab.bands import draw_band, legend_below, line_style
from minidl.lab.experiment import Result
from minidl.lab.words import counted
from minidl.plots.style import MARKERS, colour, finish_axes, new_figure, number_log_axis

if TYPE_CHECKING:
    from minidl.lab.regularization import Regularization


def draw(experiment: Regularization, results: Sequence[Result]) -> dict[str, Any]:
    """Curves, the state at the end, and where early stopping stopped."""
    figures = {"figure": _curves(experiment, results), "end": _end(experiment, results)}
    if {"none", "early-stopping"} <= set(experiment.methods):
        figures["early-stopping"] = _early_stopping(results)
    return figures


def counts_of(results: Sequence[Result]) -> list[int]:
    """The numbers of training images, in the order of the runs."""
    return list(dict.fromkeys(each.run.settings["count"] for each in results))


def group_of(results: Sequence[Result], method: str, count: int) -> list[Result]:
    """The results of a method with so many images, one per seed."""
    return [each for each in results if (each.run.settings["method"], each.run.settings["count"]) == (method, count)]


def _title(method: str) -> str:
    from minidl.lab.regularization import METHODS

    return METHODS[method].title


def _curves(experiment: Regularization, results: Sequence[Result]) -> Any:
    """Validation loss and gap over the steps; a row of panels each, a column per number of images."""
    rows: tuple[tuple[str, Callable[[dict[str, Any]], list[float | None]]], ...] = (
        ("validation loss", lambda figures: figures["val_losses"]),
        ("gap: validation - training loss", _gaps),
    )
    counts = counts_of(results)
    figure, grid = new_figure(2, len(counts), (max(8, 4.2 * len(counts)), 7.8), sharex="col", sharey="row")
    for (label, values_of), line in zip(rows, grid, strict=True):
        for count, axes in zip(counts, line, strict=True):
            for place, method in enumerate(experiment.methods):
                figures = [each.figures for each in group_of(results, method, count)]
                values = [values_of(each) for each in figures]
                steps = [
                    [(i + 1) * each["steps_per_epoch"] for i in range(len(each["val_losses"]))] for each in figures
                ]
                draw_band(axes, steps, values, _title(method), place)
            finish_axes(axes)
            if label == "validation loss":
                axes.set_yscale("log")
                number_log_axis(axes.yaxis)
        line[0].set_ylabel(label)
    for count, axes in zip(counts, grid[0], strict=True):
        axes.set_title(f"{count:,} images", fontsize="medium")
    for axes in grid[-1]:
        axes.set_xlabel("step")
        axes.axhline(0, color="black", linewidth=0.8)
    figure.suptitle(f"Mean of {counted(len(experiment.seeds), 'seed')}, band: standard deviation")
    legend_below(figure, grid, columns=4 if len(counts) > 2 else 3)
    return figure


def _gaps(figures: dict[str, Any]) -> list[float | None]:
    pairs = zip(figures["val_losses"], figures["train_losses"], strict=False)
    return [None if None in (val, train) else val - train for val, train in pairs]


def _end(experiment: Regularization, results: Sequence[Result]) -> Any:
    """Validation loss, gap and validation accuracy at the end, a line per method."""
    from minidl.lab.regularization import gap

    panels: tuple[tuple[str, Callable[[Result], float]], ...] = (
        ("validation loss", lambda each: _number(each.figures["val_loss"])),
        ("gap: validation - training loss", gap),
        ("validation error (%)", lambda each: 100 * (1 - _number(each.figures["val_accuracy"]))),
    )
    counts = counts_of(results)
    figure, grid = new_figure(1, 3, (13, 0.36 * len(experiment.methods) + 2), sharey=True)
    places = np.arange(len(experiment.methods))[::-1]
    for (label, value_of), axes in zip(panels, grid[0], strict=True):
        for i, count in enumerate(counts):
            values = [[value_of(each) for each in group_of(results, method, count)] for method in experiment.methods]
            means = np.mean(values, axis=1)
            deviations = np.std(values, axis=1, ddof=1) if len(experiment.seeds) > 1 else None
            axes.errorbar(
                means,
                places + 0.2 * (i - (len(counts) - 1) / 2),
                xerr=deviations,
                fmt=MARKERS[i],
                color=colour(i),
                markersize=5,
                capsize=2,
                label=f"{count:,} images",
            )
        finish_axes(axes, label)
    grid[0, 0].set_yticks(places, [_title(method) for method in experiment.methods])
    figure.suptitle("At the end, or where early stopping stopped: mean and standard deviation over seeds")
    legend_below(figure, grid, columns=len(counts))
    return figure


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _early_stopping(results: Sequence[Result]) -> Any:
    counts = counts_of(results)
    figure, grid = new_figure(1, len(counts), (max(8, 4.4 * len(counts)), 4.4))
    for count, axes in zip(counts, grid[0], strict=True):
        figures = [each.figures for each in group_of(results, "none", count)]
        epochs = [list(range(1, len(each["val_losses"]) + 1)) for each in figures]
        draw_band(axes, epochs, [each["train_losses"] for each in figures], "training loss of 'none'", 0)
        draw_band(axes, epochs, [each["val_losses"] for each in figures], "validation loss of 'none'", 1)
        for i, each in enumerate(group_of(results, "early-stopping", count)):
            label = "chosen by early stopping (a line per seed)" if i == 0 else None
            axes.axvline(each.figures["best_epoch"], label=label, linewidth=1.2, **(line_style(2) | {"linestyle": ":"}))
        axes.set_yscale("log")
        number_log_axis(axes.yaxis)
        axes.xaxis.get_major_locator().set_params(integer=True)
        finish_axes(axes, "epoch", "loss", f"{count:,} images")
    legend_below(figure, grid, columns=3 if len(counts) > 2 else 2)
    return figure
