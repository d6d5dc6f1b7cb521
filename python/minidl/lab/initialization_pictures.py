"""Pictures of `minidl lab init`: learning curves, figures by layer, histograms of activations and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.lab.bands import draw_band, legend_below, line_style
from minidl.lab.experiment import Result
from minidl.lab.words import counted
from minidl.plots.style import finish_axes, new_figure

if TYPE_CHECKING:
    from minidl.lab.initialization import Initialization

# What is drawn by layer: the name in the figures, the label, and whether its axis is logarithmic.
BY_LAYER = (
    ("sum_gradient", "|gradient| of the sums", True),
    ("weight_gradient", "|gradient| of the weights", True),
    ("inactive", "dead or saturated (%)", False),
)
LOWEST_NORM = 1e-12  # of the axes: one network of zeros would squeeze all others
WHEN = ("at the start", "after an epoch")


def draw(experiment: Initialization, results: Sequence[Result]) -> dict[str, Any]:
    """Learning curves, figures by layer of the deepest networks, histograms per activation."""
    figures = {"figure": _learning_curves(experiment, results), "layers": _by_layer(experiment, results)}
    for activation in experiment.activations:
        figures[f"histograms-{activation}"] = _histograms(experiment, results, activation)
    return figures


def _chosen(results: Sequence[Result], **settings: Any) -> list[Result]:
    return [each for each in results if all(each.run.settings[name] == value for name, value in settings.items())]


def _names(experiment: Initialization) -> dict[str, str]:
    from minidl.lab.initialization import INITS

    return {init: INITS[init][0] for init in experiment.inits}


def _learning_curves(experiment: Initialization, results: Sequence[Result]) -> Any:
    rows, columns = experiment.activations, experiment.depths
    figure, grid = new_figure(
        len(rows), len(columns), (max(8, 3.6 * len(columns)), 2.6 * len(rows) + 1), sharex=True, sharey=True
    )
    chance = results[0].figures["chance_loss"]
    for activation, line in zip(rows, grid, strict=True):
        for depth, axes in zip(columns, line, strict=True):
            for place, (init, name) in enumerate(_names(experiment).items()):
                group = _chosen(results, activation=activation, depth=depth, init=init)
                draw_band(
                    axes,
                    [each.figures["steps"] for each in group],
                    [each.figures["losses"] for each in group],
                    name,
                    place,
                )
            axes.axhline(chance, color="black", linewidth=0.8, linestyle=":", label="guessing")
            axes.set_ylim(0, 1.4 * chance)
            finish_axes(axes, title=f"{activation}, {depth} hidden layers")
    for axes in grid[-1]:
        axes.set_xlabel("step")
    for axes in grid[:, 0]:
        axes.set_ylabel("training loss")
    figure.suptitle(f"Training loss: mean of {counted(len(experiment.seeds), 'seed')}, band: standard deviation")
    legend_below(figure, grid, columns=5 if len(columns) > 2 else 3)
    return figure


def _by_layer(experiment: Initialization, results: Sequence[Result]) -> Any:
    depth = max(experiment.depths)
    panels = [(when, *rest) for rest in BY_LAYER for when in range(2)]
    columns = experiment.activations
    figure, grid = new_figure(
        len(panels), len(columns), (max(8, 3.6 * len(columns)), 2.0 * len(panels) + 1), sharex=True, sharey="row"
    )
    for (when, key, label, is_logarithmic), line in zip(panels, grid, strict=True):
        for activation, axes in zip(columns, line, strict=True):
            for place, (init, name) in enumerate(_names(experiment).items()):
                group = _chosen(results, activation=activation, depth=depth, init=init)
                _draw_layers(axes, group, when, key, name, place)
            if is_logarithmic:
                axes.set_yscale("log")
                axes.set_ylim(bottom=max(axes.get_ylim()[0], LOWEST_NORM))
            else:
                axes.set_ylim(-3, 103)
            finish_axes(axes)
        line[0].set_ylabel(f"{label}\n{WHEN[when]}")
    for activation, axes in zip(columns, grid[0], strict=True):
        axes.set_title(activation, fontsize="medium")
    for axes in grid[-1]:
        axes.set_xlabel("hidden layer")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(f"Layers of the networks with {depth} hidden layers (no line in a logarithmic panel: exactly 0)")
    legend_below(figure, grid, columns=4 if len(columns) > 2 else 3)
    return figure


def _draw_layers(axes: Any, group: Sequence[Result], when: int, key: str, name: str, place: int) -> None:
    """The mean over the seeds that got so far, layer by layer."""
    measured = [each.figures["layers"][when][key] for each in group if len(each.figures["layers"]) > when]
    rows = [[np.nan if value is None else value for value in row] for row in measured]
    if not rows:
        return
    mean = np.mean(rows, axis=0) * (100 if key == "inactive" else 1)
    if key != "inactive":
        mean = np.where(mean > 0, mean, np.nan)
    axes.plot(range(1, len(mean) + 1), mean, marker=".", markersize=4, linewidth=1.2, label=name, **line_style(place))


def _histograms(experiment: Initialization, results: Sequence[Result], activation: str) -> Any:
    import matplotlib
    from matplotlib.colors import Normalize

    names, depth = _names(experiment), experiment.shown_depth
    columns = [(when, key) for key in ("output_histograms", "gradient_histograms") for when in range(2)]
    height = 1.45 * len(names) + 1.6
    # Finding the layout of so many panels takes 2 s.
    margins = {"left": 0.07, "right": 0.985, "wspace": 0.08, "hspace": 0.45}
    margins |= {"bottom": 0.7 / height, "top": 1 - 0.75 / height}
    figure, grid = new_figure(len(names), 4, (12, height), margins, sharey=True)
    colours = matplotlib.colormaps["viridis"]
    scale = Normalize(1, depth + 0.4 * depth)  # the end of the map, yellow, is hard to see on white
    for (init, name), line in zip(names.items(), grid, strict=True):
        group = [
            each
            for each in _chosen(results, activation=activation, depth=depth, init=init)
            if each.run.seed == experiment.seeds[0]
        ]
        layers = group[0].figures["layers"]
        for (when, key), axes in zip(columns, line, strict=True):
            if len(layers) <= when:
                axes.text(0.5, 0.5, "diverged before", ha="center", va="center", transform=axes.transAxes)
                axes.set_xticks([])
                continue
            for layer, (counts, edges) in enumerate(layers[when][key], start=1):
                shares = np.array(counts, float) / max(1, sum(counts))
                axes.stairs(shares, edges, color=colours(scale(layer)), linewidth=1.1, label=f"layer {layer}")
            axes.set_yscale("log")
            axes.set_ylim(1e-3, 1.5)
            axes.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
            axes.xaxis.get_major_locator().set_params(nbins=4)
            axes.tick_params(labelsize=7)
            axes.xaxis.get_offset_text().set_fontsize(7)
            axes.grid(alpha=0.3)
        line[0].set_ylabel(name.replace(" N(", "\nN("), fontsize=8)
    for (when, key), axes in zip(columns, grid[0], strict=True):
        what = "activations" if key == "output_histograms" else "gradients of the sums"
        axes.set_title(f"{what}, {WHEN[when]}", fontsize="medium")
    figure.suptitle(
        f"{activation}, {depth} hidden layers, seed {experiment.seeds[0]}: share of all values per bin of their range"
    )
    legend_below(figure, grid, columns=min(depth, 10))
    return figure
