"""Pictures of `minidl lab optimizers`: loss against steps and seconds, learning rates, paths on surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.lab import surfaces
from minidl.lab.bands import draw_band, legend_below, line_style
from minidl.lab.experiment import Result
from minidl.lab.words import counted
from minidl.plots.style import finish_axes, new_figure, number_log_axis

if TYPE_CHECKING:
    from minidl.lab.optimizers import Optimizers

CONTOURS = 25
SHOWN_STEPS = 15  # of plain descent on the quadratic: later ones that diverge would cover the picture


def draw(experiment: Optimizers, results: Sequence[Result]) -> dict[str, Any]:
    """Losses of the chosen learning rates, all learning rates, paths, and three rates on the quadratic."""
    from minidl.lab.optimizers import of_kind

    figures = {"figure": _losses(experiment, results), "rates": _rates(results)}
    paths = of_kind(results, "path")
    if paths:
        figures["paths"] = _paths(paths)
    figures["contraction"] = _contraction(of_kind(results, "rate"))
    return figures


def _losses(experiment: Optimizers, results: Sequence[Result]) -> Any:
    """A row of panels for plain descent with all batch sizes, and one for the rules with batches of 64."""
    from minidl.lab.optimizers import BATCHES, METHODS, chosen_rates, of_method

    chosen = chosen_rates(results)
    batches = [name for name in chosen if name in BATCHES]
    rules = [name for name in chosen if name not in BATCHES or name == "batch-64"]
    rows = [names for names in (batches, rules) if names]
    figure, grid = new_figure(len(rows), 2, (10, 3.9 * len(rows)), sharey=True)
    for names, line in zip(rows, grid, strict=True):
        for place, name in enumerate(names):
            group = of_method(results, name, chosen[name])
            losses = [each.figures["losses"] for each in group]
            label = f"{METHODS[name].title}, lr {chosen[name]:g}"
            seconds = np.mean([each.figures["step_seconds"] for each in group], axis=0)
            # At the start no step is made, and no second gone: that has no place on a logarithmic axis.
            draw_band(
                line[0], [each.figures["steps"][1:] for each in group], [each[1:] for each in losses], label, place
            )
            draw_band(line[1], [list(seconds[1:])] * len(group), [each[1:] for each in losses], label, place)
        for axes, unit in zip(line, ("step", "seconds of steps"), strict=True):
            axes.set_xscale("log")
            axes.set_yscale("log")
            number_log_axis(axes.yaxis)
            finish_axes(axes, unit)
        line[0].set_ylabel("training loss")
        line[1].legend(fontsize=7.5, loc="lower left")
    figure.suptitle(
        "Each with its best learning rate on validation images: "
        f"mean of {counted(len(experiment.seeds), 'seed')}, band: standard deviation"
    )
    return figure


def _rates(results: Sequence[Result]) -> Any:
    from minidl.lab.optimizers import METHODS, of_kind, of_method, rates_of

    figure, grid = new_figure(1, 1, (7.5, 5))
    axes = grid[0, 0]
    names = list(dict.fromkeys(each.run.settings["method"] for each in of_kind(results, "network")))
    for place, name in enumerate(names):
        points = []
        for lr in rates_of(results, name):
            losses = [each.figures["val_loss"] for each in of_method(results, name, lr)]
            if None not in losses:
                points.append((lr, np.mean(losses), np.std(losses, ddof=1) if len(losses) > 1 else 0.0))
        if points:
            rates, means, deviations = zip(*points, strict=True)
            style = line_style(place)
            axes.errorbar(
                rates, means, deviations, marker="o", markersize=3, capsize=2, label=METHODS[name].title, **style
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    number_log_axis(axes.yaxis)
    finish_axes(axes, "learning rate", "validation loss at the end", "A rate at which a run diverged has no point")
    legend_below(figure, grid, columns=4)
    return figure


def _contours(axes: Any, surface: surfaces.Surface) -> None:
    """Levels that grow geometrically, so that a flat valley shows."""
    left, right, bottom, top = surface.window
    x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
    values = np.log10(surface.value(x, y) + 1e-3)
    axes.contour(x, y, values, CONTOURS, cmap="Greys", linewidths=0.5, alpha=0.7)
    axes.plot(*surface.minimum, "*", color="black", markersize=10)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    finish_axes(axes, "x", "y", surface.title)


def _paths(results: Sequence[Result]) -> Any:
    from minidl.lab.optimizers import METHODS

    figure, grid = new_figure(1, 2, (12, 5.6))
    for (name, surface), axes in zip(surfaces.SURFACES.items(), grid[0], strict=True):
        _contours(axes, surface)
        chosen = [each for each in results if each.run.settings["surface"] == name]
        for place, each in enumerate(chosen):
            x, y = zip(*each.figures["path"], strict=True)
            label = METHODS[each.run.settings["method"]].title.removesuffix(" (all images)")
            label = f"{label}, lr {each.figures['lr']:g}"
            axes.plot(x, y, label=label, marker=".", markersize=2.5, linewidth=1.1, **line_style(place))
            axes.plot(x[-1], y[-1], "o", color=line_style(place)["color"], markersize=5)
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False)
    figure.suptitle("Paths with the learning rate that ends lowest; star: minimum, dot: end of the path")
    return figure


def _contraction(results: Sequence[Result]) -> Any:
    figure, grid = new_figure(1, 2, (11, 4.6))
    surface = surfaces.SURFACES["quadratic"]
    _contours(grid[0, 0], surface)
    for place, each in enumerate(results):
        path, style = np.array(each.figures["path"]), line_style(place)
        label = f"{each.run.settings['rate']}: lr {each.run.settings['lr']:.3g}"
        shown = path[: SHOWN_STEPS + 1]
        grid[0, 0].plot(shown[:, 0], shown[:, 1], marker=".", markersize=4, linewidth=1, label=label, **style)
        steps = np.arange(len(path))
        start, factors = np.abs(path[0]), np.array(surfaces.predicted_contraction(each.run.settings["lr"]))
        predicted = np.linalg.norm(start * factors ** steps[:, None], axis=1)
        grid[0, 1].plot(steps, np.linalg.norm(path, axis=1), ".", markersize=4, color=style["color"], label=label)
        grid[0, 1].plot(steps, predicted, linewidth=1, color=style["color"])
    grid[0, 0].set_title(f"{surface.title}: the first {SHOWN_STEPS} steps", fontsize="medium")
    grid[0, 1].set_yscale("log")
    finish_axes(
        grid[0, 1], "step", "distance to the minimum", "Dots: measured; lines: predicted by |1 - lr · curvature|"
    )
    legend_below(figure, grid[0, 0], columns=3)
    return figure
