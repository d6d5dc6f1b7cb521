"""The roofline picture: what every kernel reaches, under what the machine allows (Williams 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl.bench.measure import Measurement
from minidl.bench.roofs import Roofs
from minidl.bench.rows import FAMILIES

COLOURS = dict(
    zip(
        FAMILIES,
        ("#3366aa", "#1199bb", "#cc3311", "#66aa33", "#998800", "#ee7733", "#aa3377", "#777777", "#117755", "#000000"),
        strict=True,
    )
)
LABELS_PER_FAMILY = 3


def plot_roofline(measurements: Sequence[Measurement], roofs: Roofs, path: Path, title: str) -> None:
    """A PNG, log-log: operations per byte against operations per second. One panel per size, as each has its roof.

    Kernels that compute nothing, such as a copy, have no place here.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [m for m in measurements if not m.failure and m.cost.flops > 0 and m.family != "roof"]
    sizes = [size for size in ("cache", "memory") if any(m.size == size for m in drawn)]
    if not sizes:
        raise ValueError("--plot: none of these kernels computes anything, so a roofline has nothing to show")
    figure = Figure(figsize=(10 * len(sizes), 9), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title)
    for axes, size in zip(np.atleast_1d(figure.subplots(1, len(sizes))), sizes, strict=True):
        _draw_panel(axes, [m for m in drawn if m.size == size], roofs, size)
    canvas.print_figure(path, format="png", dpi=130)


def _draw_panel(axes: Any, measurements: Sequence[Measurement], roofs: Roofs, size: str) -> None:
    bandwidth = roofs.cache if size == "cache" else roofs.memory
    points = [(m.cost.flops / m.cost.bytes, m.cost.flops / m.seconds) for m in measurements]
    left, right = min(x for x, _ in points) / 2, max(max(x for x, _ in points), roofs.flops / bandwidth) * 3
    intensity = np.geomspace(left, right, 200)
    axes.loglog(intensity, np.minimum(intensity * bandwidth, roofs.flops) / 1e9, color="black", linewidth=1.5)
    for family, colour in COLOURS.items():
        own = [point for point, m in zip(points, measurements, strict=True) if m.family == family]
        if own:
            axes.scatter([x for x, _ in own], [y / 1e9 for _, y in own], s=22, color=colour, label=family, zorder=3)
    axes.set_xlim(left, right)
    axes.set_ylim(min(y for _, y in points) / 2e9, roofs.flops * 2.5 / 1e9)
    axes.set_title(f"in {size}: {bandwidth / 1e9:.0f} GB/s, {roofs.flops / 1e9:.0f} GFLOP/s", fontsize=10)
    axes.set_xlabel("operations per byte")
    axes.set_ylabel("GFLOP/s")
    axes.grid(alpha=0.25, which="both", linewidth=0.5)
    axes.legend(loc="lower right", fontsize=8)
    _label(axes, _notable(measurements), points)


def _notable(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Of each family the points nearest to and farthest from their roof, and the one between, each kernel once."""
    chosen = []
    for family in FAMILIES:
        best: dict[str, Measurement] = {}
        for m in measurements:
            if m.family == family and (m.kernel not in best or m.of_roof > best[m.kernel].of_roof):
                best[m.kernel] = m
        ranked = sorted(best.values(), key=lambda m: m.of_roof)
        places = {0, len(ranked) // 2, len(ranked) - 1} if len(ranked) >= LABELS_PER_FAMILY else range(len(ranked))
        chosen += [ranked[place] for place in sorted(places)]
    return chosen


def _label(axes: Any, measurements: Sequence[Measurement], points: Sequence[tuple[float, float]]) -> None:
    """Names beside the points, each at the first place around its point where it covers no other name and no point."""
    from matplotlib.transforms import Bbox

    axes.figure.canvas.draw()
    renderer = axes.figure.canvas.get_renderer()
    half = 2.5 * axes.figure.dpi / 72
    centres = axes.transData.transform([(x, y / 1e9) for x, y in points])
    taken: list[Any] = [Bbox([(x - half, y - half), (x + half, y + half)]) for x, y in centres]
    taken.append(axes.get_legend().get_window_extent(renderer))
    for m in sorted(measurements, key=lambda m: m.cost.flops / m.cost.bytes):
        place = (m.cost.flops / m.cost.bytes, m.cost.flops / m.seconds / 1e9)
        offsets = (offset for distance in range(6, 220, 6) for offset in _around(distance))
        any(_placed(axes, m, place, offset, renderer, taken) for offset in offsets)


def _around(distance: float) -> list[tuple[float, float]]:
    angles = np.deg2rad([0, 30, -30, 60, -60, 90, -90, 120, -120, 150, -150, 180])
    return [(distance * float(np.cos(a)), distance * float(np.sin(a))) for a in angles]


def _placed(
    axes: Any, m: Measurement, place: tuple[float, float], offset: tuple[float, float], renderer: Any, taken: list[Any]
) -> bool:
    """Writes the name at an offset in points, and takes it away again where it would not be legible."""
    from matplotlib.patheffects import withStroke

    label = axes.annotate(
        m.kernel,
        place,
        xytext=offset,
        textcoords="offset points",
        fontsize=7.5,
        color=COLOURS[m.family],
        ha="left" if offset[0] > 1 else "right" if offset[0] < -1 else "center",
        va="center",
        arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": COLOURS[m.family], "shrinkA": 0, "shrinkB": 2},
        path_effects=[withStroke(linewidth=2, foreground="white")],
        zorder=4,
    )
    box, panel = _text_box(label, renderer), axes.get_window_extent(renderer)
    inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
    if inside and not any(box.overlaps(other) for other in taken):
        taken.append(box)
        return True
    label.remove()
    return False


def _text_box(label: Any, renderer: Any) -> Any:
    """The extent of the text alone, without its line to the point."""
    from matplotlib.text import Text

    label.update_positions(renderer)
    return Text.get_window_extent(label, renderer)
