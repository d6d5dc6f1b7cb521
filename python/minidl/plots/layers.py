"""What is inside a network: the first layer's weights as images, outputs and gradients layer by layer."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl import nn
from minidl.plots.classification import as_pictures
from minidl.plots.style import DIVERGING, MARKERS, colour, finish, finish_axes, legend_below, new_figure, to_numpy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Path = str | os.PathLike[str] | None


def first_layer_weights(
    model: Any, shape: tuple[int, int] | None = None, count: int = 64, *, title: str | None = None, path: Path = None
) -> Figure:
    """Each unit's weights as an image of the inputs: where a bright input excites it and where it inhibits.

    Args:
        model: its first `nn.Linear` is drawn; or a matrix (units, inputs).
        shape: rows and columns of an image; square if None.
        count: how many units at most, the first ones.
        title, path: PNG or SVG.

    Raises ValueError for a model without a linear layer and inputs that are no such image, ImportError without
    matplotlib.

    >>> from minidl import nn
    >>> figure = first_layer_weights(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    >>> sum(bool(axes.get_images()) for axes in figure.axes)
    10
    """
    weights = to_numpy(_first_weight(model) if isinstance(model, nn.Module) else model)
    pictures = as_pictures("first_layer_weights", weights[:count], shape)
    columns = min(len(pictures), 10)
    rows = math.ceil(len(pictures) / columns)
    figure, grid = new_figure(rows, columns, (0.75 * max(columns, 4) + 1.2, 0.75 * rows + 0.9))
    limit = float(np.abs(pictures).max()) or 1.0
    image: Any = None
    for axes, picture in zip(grid.flat, pictures, strict=False):
        image = axes.imshow(picture, cmap=DIVERGING, vmin=-limit, vmax=limit)
    for axes in grid.flat:
        axes.set_axis_off()
    figure.colorbar(image, ax=grid, label="weight", shrink=0.8 if rows > 2 else 1.0)
    return finish(figure, title, path)


def _first_weight(model: nn.Module) -> Any:
    weight = next((module.weight for module in model.modules() if isinstance(module, nn.Linear)), None)
    if weight is None:
        raise ValueError("first_layer_weights: the model must have a linear layer; pass a matrix (units, inputs) else")
    return weight


def activation_histograms(statistics: Any, *, title: str | None = None, path: Path = None) -> Figure:
    """The distribution of every layer's output, one panel per layer, with the dead and the saturated share.

    Args:
        statistics: what `training.activation_statistics` returns, or {name: such a list} to lay over each other.
        title, path: PNG or SVG.

    Raises ValueError for lists of different layers or none, ImportError without matplotlib.

    >>> import minidl
    >>> from minidl import nn, training
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> figure = activation_histograms(training.activation_statistics(model, minidl.randn(16, 4)))
    >>> [axes.get_title().splitlines()[0] for axes in figure.axes]
    ['0 Linear', '1 Tanh', '2 Linear']
    """
    return _histograms(statistics, "histogram", "output", title, path)


def gradient_histograms(statistics: Any, *, title: str | None = None, path: Path = None) -> Figure:
    """The distribution of d loss / d output of every layer; arguments as in :func:`activation_histograms`, the
    statistics measured with a target.

    >>> import minidl
    >>> from minidl import nn, training
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> layers = training.activation_statistics(model, minidl.randn(16, 4), minidl.zeros(16).long())
    >>> len(gradient_histograms(layers).axes)
    3
    """
    return _histograms(statistics, "grad_histogram", "gradient", title, path)


def _histograms(statistics: Any, field: str, label: str, title: str | None, path: Path) -> Figure:
    named = _by_name(statistics)
    layers = next(iter(named.values()))
    columns = min(len(layers), 5)
    rows = math.ceil(len(layers) / columns)
    has_legend = len(named) > 1
    figure, grid = new_figure(rows, columns, (2.4 * max(columns, 2), 2.2 * rows + 0.5 * has_legend))
    for place, axes in enumerate(grid.flat):
        if place >= len(layers):
            axes.set_axis_off()
            continue
        for line, (name, several) in enumerate(named.items()):
            _draw_histogram(axes, getattr(several[place], field), name, line)
        own = next(iter(named.values()))[place]
        notes = [] if has_legend else [_share(own.dead_fraction, "dead"), _share(own.saturated_fraction, "saturated")]
        finish_axes(
            axes, label if place >= len(layers) - columns else "", "", "\n".join([own.label, *filter(None, notes)])
        )
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
        axes.xaxis.get_offset_text().set_fontsize(7)
        axes.locator_params(axis="x", nbins=4)
    grid[0, 0].set_ylabel("density")
    if has_legend:
        legend_below(figure, *grid[0, 0].get_legend_handles_labels())
    return finish(figure, title, path)


def _share(fraction: float | None, word: str) -> str:
    return f"{100 * fraction:.0f} % {word}" if fraction else ""


def _draw_histogram(axes: Any, histogram: Any, name: str, place: int) -> None:
    if histogram is None:
        raise ValueError("gradient_histograms: there are no gradients; measure with a target")
    counts, edges = histogram
    density = counts / max(counts.sum(), 1) / np.maximum(np.diff(edges), 1e-300)
    axes.stairs(density, edges, color=colour(place), label=name or None, fill=not name, alpha=1.0 if name else 0.8)


def gradient_norms_by_layer(
    statistics: Any, field: str = "grad_weight_norm", *, title: str | None = None, path: Path = None
) -> Figure:
    """Norms of gradients from the first layer to the last, on a logarithmic axis: a slope is vanishing or exploding.

    Args:
        statistics: what `training.activation_statistics` returns with a target, or {name: such a list}.
        field: "grad_weight_norm" or "grad_output_norm"; layers without it are left out.
        title, path: PNG or SVG.

    Raises ValueError for another field and where no layer has it, ImportError without matplotlib.

    >>> import minidl
    >>> from minidl import nn, training
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> layers = training.activation_statistics(model, minidl.randn(16, 4), minidl.zeros(16).long())
    >>> figure = gradient_norms_by_layer(layers)
    >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
    ['0 Linear', '2 Linear']
    """
    labels = {"grad_weight_norm": "norm of the weights' gradient", "grad_output_norm": "norm of the output's gradient"}
    if field not in labels:
        raise ValueError(f"gradient_norms_by_layer: field must be one of {', '.join(labels)}, got {field!r}")
    named = {
        name: [layer for layer in layers if getattr(layer, field) is not None]
        for name, layers in _by_name(statistics).items()
    }
    longest = max(named.values(), key=len)
    if not longest:
        raise ValueError(f"gradient_norms_by_layer: no layer has {field}; measure with a target")
    figure, grid = new_figure(size=(max(5.0, 1.5 + 0.45 * len(longest)), 4.0))
    axes = grid[0, 0]
    for place, (name, layers) in enumerate(named.items()):
        norms = np.array([getattr(layer, field) for layer in layers])
        norms[norms == 0] = np.nan  # no place on a logarithmic axis: a gap
        style = {"color": colour(place), "marker": MARKERS[place % len(MARKERS)]}
        axes.plot(range(len(layers)), norms, label=name or None, **style)
    if any(getattr(layer, field) > 0 for layers in named.values() for layer in layers):
        axes.set_yscale("log")
    finish_axes(axes, "layer", labels[field])
    axes.set_xticks(range(len(longest)), [layer.label for layer in longest], rotation=40, ha="right", fontsize="small")
    if len(named) > 1:
        axes.legend()
    return finish(figure, title, path)


def _by_name(statistics: Any) -> dict[str, list[Any]]:
    named = dict(statistics) if isinstance(statistics, Mapping) else {"": list(statistics)}
    lengths = {len(layers) for layers in named.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"plots: statistics must be of equally many layers, at least one, got {sorted(lengths)}")
    return named
