"""How pictures of minidl look: colours that colour-blind readers tell apart, sizes, grids, and where they are saved."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito 2008, the ones that show on white first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SEQUENTIAL = "cividis"
DIVERGING = "PuOr"
PANEL_WIDTH, PANEL_HEIGHT = 4.5, 3.6  # inches
DOTS_PER_INCH = 120
SUFFIXES = (".png", ".svg")


def colour(place: int) -> str:
    """The colour of the place-th line; they repeat after eight."""
    return COLOURS[place % len(COLOURS)]


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def require_matplotlib() -> None:
    """ImportError that says what to install."""
    if not can_plot():
        raise ImportError("minidl.plots needs matplotlib, which is not installed: pip install matplotlib")


def new_figure(
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] | None = None,
    margins: dict[str, float] | None = None,
    **subplots: Any,
) -> tuple[Figure, Any]:
    """A figure that needs no display, and its rows x columns axes as an array.

    `size` is in inches. The layout is found by drawing, unless `margins` - left, right, bottom, top, wspace, hspace -
    are given: half the time.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = size or (PANEL_WIDTH * columns, PANEL_HEIGHT * rows)
    figure = Figure(figsize=size, layout="constrained" if margins is None else None)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw=margins, **subplots)


def finish_axes(axes: Any, x: str = "", y: str = "", title: str = "") -> None:
    """Labels and a light grid."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if title:
        axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def number_log_axis(axis: Any) -> None:
    """On a logarithmic axis, plain numbers at 1, 2 and 5 of every decade: 0.2 and 50, not 2 x 10^-1."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def legend_below(figure: Figure, handles: Any, labels: list[str]) -> None:
    """One legend for all panels of a figure without margins of its own, in as many columns as its width holds."""
    letters = figure.get_figwidth() * 11  # of the legend's font, per line
    columns = int(letters / (max(map(len, labels)) + 6))
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, min(columns, len(labels))))


def finish(figure: Figure, title: str | None, path: str | os.PathLike[str] | None) -> Figure:
    """Sets the title, saves the figure where a path is given, and returns it."""
    if title:
        figure.suptitle(title)
    if path is not None:
        save(figure, path)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a PNG or SVG, as the path's suffix says; ValueError for another suffix.

    >>> from minidl import plots
    >>> plots.save(plots.confusion_matrix([[3, 1], [0, 4]]), "confusion.svg")
    """
    kind = Path(path).suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(f"save: a picture's path must end in {' or '.join(SUFFIXES)}, got {str(path)!r}")
    metadata = {"Date": None} if kind == ".svg" else {}  # equal pictures are equal files
    figure.savefig(path, format=kind[1:], dpi=DOTS_PER_INCH, metadata=metadata)


def to_numpy(x: Any) -> Any:
    """A tensor or whatever NumPy takes, as an array on the CPU."""
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
