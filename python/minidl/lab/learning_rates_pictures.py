"""Pictures of `minidl lab lr-find`: the sweeps, and the losses after training with three rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.lab.bands import legend_below, line_style
from minidl.lab.experiment import Result
from minidl.lab.words import counted
from minidl.plots.style import MARKERS, colour, finish_axes, new_figure, number_log_axis

if TYPE_CHECKING:
    from minidl.lab.learning_rates import LearningRates


def draw(experiment: LearningRates, results: Sequence[Result]) -> dict[str, Any]:
    """Sweeps by optimizer and batch size, and what came of the suggestions."""
    return {"figure": _sweeps(experiment, results), "trained": _trained(experiment, results)}


def _group(results: Sequence[Result], optimizer: str, size: int) -> list[Result]:
    return [
        each
        for each in results
        if (each.run.settings["optimizer"], each.run.settings["batch_size"]) == (optimizer, size)
    ]


def _title(optimizer: str) -> str:
    from minidl.lab.learning_rates import OPTIMIZERS

    return OPTIMIZERS[optimizer][0]


def _sweeps(experiment: LearningRates, results: Sequence[Result]) -> Any:
    rows, columns = experiment.optimizers, experiment.batch_sizes
    size = (max(8, 3.6 * len(columns)), 2.5 * len(rows) + 1)
    figure, grid = new_figure(len(rows), len(columns), size, sharex=True, sharey=True)
    for optimizer, line in zip(rows, grid, strict=True):
        for batch_size, axes in zip(columns, line, strict=True):
            for each in _group(results, optimizer, batch_size):
                rates, smoothed = each.figures["rates"], each.figures["smoothed"]
                axes.plot(rates, smoothed, color=colour(0), linewidth=1, label="smoothed loss, a line per seed")
                if each.figures["suggestion"] is not None:
                    axes.axvline(
                        each.figures["suggestion"], color=colour(1), linestyle="--", linewidth=1, label="suggestion"
                    )
            axes.set_xscale("log")
            finish_axes(axes, title=f"{_title(optimizer)}, batches of {batch_size}")
    tops = [max(each.figures["smoothed"][: int(np.argmin(each.figures["smoothed"])) + 1]) for each in results]
    grid[0, 0].set_ylim(0, 1.3 * max(tops))  # the rise at the end would press the rest flat
    for axes in grid[-1]:
        axes.set_xlabel("learning rate")
    for axes in grid[:, 0]:
        axes.set_ylabel("training loss")
    legend_below(figure, grid, columns=2)
    return figure


def _trained(experiment: LearningRates, results: Sequence[Result]) -> Any:
    from minidl.lab.learning_rates import FACTORS, losses_with

    figure, grid = new_figure(
        1, len(experiment.optimizers), (max(8, 3.3 * len(experiment.optimizers)), 4.2), sharey=True
    )
    for optimizer, axes in zip(experiment.optimizers, grid[0], strict=True):
        for i, size in enumerate(experiment.batch_sizes):
            group = _group(results, optimizer, size)
            losses = np.array([losses_with(group, place) for place in range(len(FACTORS))])
            deviations = losses.std(axis=1, ddof=1) if len(group) > 1 else None
            axes.errorbar(
                FACTORS,
                losses.mean(axis=1),
                deviations,
                marker=MARKERS[i],
                markersize=5,
                capsize=3,
                label=f"batches of {size}",
                **line_style(i),
            )
        axes.set_xscale("log")
        axes.set_xticks(FACTORS, ["1/10", "1", "10"])
        axes.set_xlim(0.05, 20)
        axes.minorticks_off()
        axes.set_yscale("log")
        number_log_axis(axes.yaxis)
        finish_axes(axes, "learning rate / suggestion", title=_title(optimizer))
    grid[0, 0].set_ylabel(f"validation loss after {counted(experiment.epochs, 'epoch')}")
    figure.suptitle("Mean and standard deviation over seeds; no point where a run diverged")
    legend_below(figure, grid, columns=len(experiment.batch_sizes))
    return figure
