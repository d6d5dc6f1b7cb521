"""Functions of two variables: decision boundaries, contours and surfaces of a loss, the paths of optimizers on it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl import nn, ops
from minidl.autograd import no_grad
from minidl.plots.style import COLOURS, MARKERS, SEQUENTIAL, colour, finish, finish_axes, new_figure, to_numpy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Path = str | os.PathLike[str] | None
GRID_POINTS = 200


def decision_boundary(
    model: Any,
    x: Any,
    y: Any,
    classes: Sequence[str] | None = None,
    *,
    axes: Any = None,
    title: str | None = None,
    path: Path = None,
) -> Figure:
    """The classes that a model gives to the points of the plane, and the data on top.

    Args:
        model: a module or a function of points (n, 2); its output is one logit a point - (n) or (n, 1), the classes 0
            and 1 meet where it is 0 - or a column per class. A module is called in evaluation mode and put back.
        x: (N, 2) points.
        y: (N) class numbers.
        classes: names for the legend; numbers if None.
        axes: draw there instead of into a new figure.
        title, path: PNG or SVG.

    Raises ValueError for other shapes, ImportError without matplotlib.

    >>> import minidl
    >>> from minidl import nn
    >>> figure = decision_boundary(nn.Linear(2, 3), minidl.randn(30, 2), minidl.arange(30) % 3)
    >>> figure.axes[0].get_xlabel()
    'x1'
    """
    points, labels = to_numpy(x), to_numpy(y).astype(np.int64).ravel()
    if points.ndim != 2 or points.shape[1] != 2 or len(points) != len(labels):
        raise ValueError(f"decision_boundary: x must be (N, 2) and y (N), got {points.shape} and {labels.shape}")
    figure, axes = _axes_for(axes)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low) + 1e-3
    across, up = (np.linspace(low[i] - margin[i], high[i] + margin[i], GRID_POINTS) for i in (0, 1))
    plane = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2).astype(points.dtype)
    scores = _class_scores(model, plane)
    count = max(scores.shape[1], int(labels.max()) + 1)
    from matplotlib.colors import ListedColormap, to_rgb

    tints = ListedColormap([tuple(0.35 * np.array(to_rgb(colour(c))) + 0.65) for c in range(count)])
    regions = scores.argmax(axis=1).reshape(GRID_POINTS, GRID_POINTS)
    axes.pcolormesh(across, up, regions, cmap=tints, vmin=-0.5, vmax=count - 0.5, rasterized=True)
    for c in range(scores.shape[1]):  # ahead of the best other class: smoother than the edges of the regions
        lead = scores[:, c] - np.delete(scores, c, axis=1).max(axis=1)
        if lead.min() < 0 < lead.max():
            axes.contour(across, up, lead.reshape(regions.shape), [0.0], colors="black", linewidths=1.2)
    for c in np.unique(labels):
        style = {"color": colour(c), "marker": MARKERS[c % len(MARKERS)], "edgecolor": "white", "linewidth": 0.5}
        chosen = points[labels == c]
        axes.scatter(*chosen.T, s=22, label=f"class {c}" if classes is None else classes[c], zorder=3, **style)
    finish_axes(axes, "x1", "x2")
    axes.grid(False)
    axes.legend(loc="upper right", fontsize="small", framealpha=0.9)
    return finish(figure, title, path)


def _class_scores(model: Any, plane: Any) -> Any:
    """A column per class, the highest of which wins."""
    if not isinstance(model, nn.Module):
        output = to_numpy(model(plane))
    else:
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            with no_grad():
                output = to_numpy(model(ops.from_numpy(plane)))
        finally:
            for module, mode in modes:
                module.training = mode
    if output.ndim == 1 or output.shape[1:] == (1,):
        logit = output.reshape(-1)
        return np.stack([-logit, logit], axis=1)
    return output


def contour(
    x: Any,
    y: Any,
    z: Any,
    *,
    levels: int = 25,
    is_log: bool = False,
    labels: tuple[str, str, str] = ("x", "y", "loss"),
    axes: Any = None,
    title: str | None = None,
    path: Path = None,
) -> Figure:
    """Filled contours of z over a grid.

    Args:
        x, y: (columns) and (rows) of the grid.
        z: (rows, columns).
        levels: how many.
        is_log: spaces the levels evenly in log z, for a z > 0 of many magnitudes.
        labels: of both axes and of z, units included.
        axes: draw there instead of into a new figure.
        title, path: PNG or SVG.

    Raises ValueError for shapes that do not fit and is_log with z <= 0, ImportError without matplotlib.

    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 20)
    >>> figure = contour(x, x, x**2 + x[:, None] ** 2)
    >>> figure.axes[1].get_ylabel()
    'loss'
    """
    x, y, z = _grid("contour", x, y, z)
    figure, axes = _axes_for(axes)
    _draw_contour(figure, axes, x, y, z, levels, is_log, labels)
    return finish(figure, title, path)


def _draw_contour(
    figure: Any, axes: Any, x: Any, y: Any, z: Any, levels: int, is_log: bool, labels: tuple[str, str, str]
) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogFormatterSciNotation, LogLocator

    finite = z[np.isfinite(z)]
    if not finite.size or (is_log and finite.min() <= 0):
        raise ValueError("contour: z must be finite somewhere, and above 0 with is_log")
    low, high = float(finite.min()), float(finite.max())
    if not high > low:
        high = low + 1e-12 + abs(low) * 1e-6
    edges = np.geomspace(low, high, levels) if is_log else np.linspace(low, high, levels)
    norm = LogNorm(low, high) if is_log else None
    filled = axes.contourf(x, y, np.ma.masked_invalid(z), edges, cmap=SEQUENTIAL, norm=norm, extend="neither")
    axes.contour(x, y, np.ma.masked_invalid(z), edges[::3], colors="white", linewidths=0.4, alpha=0.6)
    ticks = {"ticks": LogLocator(10), "format": LogFormatterSciNotation()} if is_log and high / low > 100 else {}
    figure.colorbar(filled, ax=axes, label=labels[2], **ticks)
    finish_axes(axes, *labels[:2])
    axes.grid(False)


def surface(
    x: Any,
    y: Any,
    z: Any,
    *,
    labels: tuple[str, str, str] = ("x", "y", "loss"),
    title: str | None = None,
    path: Path = None,
) -> Figure:
    """z over a grid as a surface in space; arguments as in :func:`contour`.

    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 20)
    >>> surface(x, x, x**2 + x[:, None] ** 2).axes[0].get_zlabel()
    'loss'
    """
    x, y, z = _grid("surface", x, y, z)
    figure, grid = new_figure(
        size=(5.6, 4.6),
        margins={"left": 0.0, "right": 0.9, "bottom": 0.05, "top": 0.95},
        subplot_kw={"projection": "3d"},
    )
    axes = grid[0, 0]
    axes.plot_surface(*np.meshgrid(x, y), z, cmap=SEQUENTIAL, linewidth=0, rcount=80, ccount=80)
    for axis, label in zip((axes.xaxis, axes.yaxis, axes.zaxis), labels, strict=True):
        axis.set_label_text(label)
        axis.set_tick_params(labelsize=8)
        axis.get_major_locator().set_params(nbins=5)
    return finish(figure, title, path)


def trajectories(
    x: Any,
    y: Any,
    z: Any,
    paths: Mapping[str, Any],
    *,
    minimum: tuple[float, float] | None = None,
    levels: int = 25,
    is_log: bool = False,
    labels: tuple[str, str, str] = ("x", "y", "loss"),
    axes: Any = None,
    title: str | None = None,
    path: Path = None,
) -> Figure:
    """Contours as in :func:`contour` with paths on top, each from a dot to a larger mark; what leaves the grid is cut.

    Args:
        paths: {name: (steps, 2) points}.
        minimum: marked by a star.

    Raises ValueError for a path of another shape, and what :func:`contour` raises.

    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 20)
    >>> figure = trajectories(x, x, x**2 + x[:, None] ** 2, {"descent": [[1, 1], [0.5, 0.5], [0.1, 0.1]]})
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['descent']
    """
    x, y, z = _grid("trajectories", x, y, z)
    figure, axes = _axes_for(axes)
    _draw_contour(figure, axes, x, y, z, levels, is_log, labels)
    bright = [COLOURS[1], COLOURS[5], COLOURS[3], COLOURS[4], "#FFFFFF", COLOURS[2], COLOURS[6], COLOURS[7]]
    for place, (name, points) in enumerate(paths.items()):
        points = to_numpy(points)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"trajectories: path {name!r} must have shape (steps, 2), got {points.shape}")
        ink, mark = bright[place % len(bright)], MARKERS[place % len(MARKERS)]
        axes.plot(*points.T, color=ink, linewidth=1.5, marker=".", markersize=3)
        axes.plot(*points[-1], color=ink, marker=mark, markersize=8, markeredgecolor="black", linestyle="none")
        axes.plot([], [], color=ink, marker=mark, markeredgecolor="black", label=name)
    if minimum is not None:
        axes.plot(*minimum, color="white", marker="*", markersize=14, markeredgecolor="black", linestyle="none")
    axes.set_xlim(x.min(), x.max())
    axes.set_ylim(y.min(), y.max())
    if paths:
        axes.legend(fontsize="small", facecolor="#B0B0B0", framealpha=0.9)
    return finish(figure, title, path)


def _grid(name: str, x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
    x, y, z = to_numpy(x), to_numpy(y), to_numpy(z)
    if x.ndim != 1 or y.ndim != 1 or z.shape != (len(y), len(x)):
        raise ValueError(f"{name}: z must have shape (len(y), len(x)) = ({len(y)}, {len(x)}), got {z.shape}")
    return x, y, z


def _axes_for(axes: Any) -> tuple[Any, Any]:
    if axes is not None:
        return axes.figure, axes
    figure, grid = new_figure(size=(5.6, 4.6))
    return figure, grid[0, 0]
