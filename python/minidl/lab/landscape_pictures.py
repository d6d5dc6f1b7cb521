"""Pictures of `minidl lab landscape`: contours, surfaces, and a cut through each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl.lab.bands import draw_band
from minidl.lab.experiment import Result, by_variant
from minidl.plots.style import finish_axes, new_figure, number_log_axis

# Above this the loss of ten classes is worse than guessing, ln 10 = 2.3, by far; the picture says no more.
HIGHEST = 10.0


def draw(results: Sequence[Result], steps: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Contours and surfaces are of the first seed that did not diverge; nothing where all did."""
    groups = {name: [r for r in group if r.figures["surface"]] for name, group in by_variant(results).items()}
    groups = {name: group for name, group in groups.items() if group}
    if not groups:
        return {}
    first = {name: np.array(group[0].figures["surface"], dtype=float) for name, group in groups.items()}
    return {"figure": _contours(first, steps), "surface": _surfaces(first, steps), "cut": _cuts(groups, steps)}


def _levels(surfaces: dict[str, Any]) -> Any:
    """The same for all pictures, so that they compare: equal steps of the logarithm, up to HIGHEST."""
    lowest = max(min(np.nanmin(surface) for surface in surfaces.values()), 1e-4)
    return np.geomspace(lowest, HIGHEST, 21)


def _contours(surfaces: dict[str, Any], steps: npt.NDArray[np.float64]) -> Any:
    from matplotlib.colors import LogNorm

    levels = _levels(surfaces)
    columns = min(2, len(surfaces))
    rows = -(-len(surfaces) // columns)
    figure, panels = new_figure(rows, columns, (4.2 * columns + 1, 3.9 * rows), sharex=True, sharey=True)
    image: Any = None
    for axes, (name, surface) in zip(panels.flat, surfaces.items(), strict=False):
        # The rows of a surface go along the first direction, which is drawn to the right.
        shown = np.clip(surface.T, levels[0], levels[-1])
        image = axes.contourf(steps, steps, shown, levels=levels, norm=LogNorm(levels[0], levels[-1]), cmap="viridis")
        axes.contour(steps, steps, shown, levels=levels[::2], colors="white", linewidths=0.4)
        axes.plot(0, 0, marker="+", color="white", markersize=9)
        axes.set(title=name, aspect="equal")
        axes.locator_params(nbins=5)
    for axes in list(panels.flat)[len(surfaces) :]:
        axes.set_axis_off()
    bar = figure.colorbar(image, ax=panels, label="loss", ticks=_ticks(levels[0]), format="%g")
    bar.ax.minorticks_off()
    _name_axes(figure)
    return figure


def _ticks(lowest: float) -> list[float]:
    return [tick for tick in (1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10) if tick >= lowest]


def _name_axes(figure: Any) -> None:
    figure.supxlabel("along the first direction (sizes of the weights)", fontsize=10)
    figure.supylabel("along the second direction (sizes of the weights)", fontsize=10)


def _surfaces(surfaces: dict[str, Any], steps: npt.NDArray[np.float64]) -> Any:
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    columns = min(2, len(surfaces))
    rows = -(-len(surfaces) // columns)
    # A constrained layout leaves axes in three dimensions too little room for their labels.
    figure = Figure(figsize=(5 * columns, 4.2 * rows))
    x, y = np.meshgrid(steps, steps, indexing="ij")
    highest = min(HIGHEST, max(np.nanmax(surface) for surface in surfaces.values()))
    norm = LogNorm(_levels(surfaces)[0], highest)
    for i, (name, surface) in enumerate(surfaces.items()):
        axes = figure.add_subplot(rows, columns, i + 1, projection="3d")
        shown = np.where(surface > highest, np.nan, surface)
        axes.plot_surface(x, y, shown, cmap="viridis", norm=norm, rcount=60, ccount=60, linewidth=0)
        axes.set(title=name, xlabel="first direction", ylabel="second direction", zlabel="loss", zlim=(0, highest))
        axes.view_init(elev=35, azim=-60)
    figure.subplots_adjust(left=0.02, right=0.93, bottom=0.06, top=0.93, wspace=0.12, hspace=0.2)
    return figure


def _cuts(groups: dict[str, list[Result]], steps: Any) -> Any:
    """Along the first direction, over the seeds."""
    figure, [[axes]] = new_figure(size=(7, 4))
    for i, (name, group) in enumerate(groups.items()):
        curves = [[row[len(steps) // 2] for row in result.figures["surface"]] for result in group]
        draw_band(axes, [steps] * len(curves), curves, name, i)
    axes.set_yscale("log")
    number_log_axis(axes.yaxis)
    axes.set_ylim(top=min(HIGHEST, axes.get_ylim()[1]))
    x = "along the first direction (sizes of the weights)"
    finish_axes(axes, x, "loss", "A cut through the minimum, mean over the seeds")
    axes.legend()
    return figure
