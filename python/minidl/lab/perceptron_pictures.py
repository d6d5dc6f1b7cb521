"""Pictures of `minidl lab perceptron`: boundaries of every model, a boundary as it moves, three heads, mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.lab.experiment import Result
from minidl.plots.style import COLOURS, MARKERS, finish_axes, new_figure

REACH = 2.0
SIDE = 1.9  # inches of a small picture


def draw(results: Sequence[Result]) -> dict[str, Any]:
    """Of the first seed."""
    filmed = [result for result in results if "snapshots" in result.figures]
    binary = [result for result in filmed if result.run.settings["task"] == "binary"]
    figures = {"figure": _all_models(binary), "boundary": _moving(binary)}
    figures["heads"] = _heads(filmed)
    figures["rosenblatt"] = _mistakes([result for result in results if "mistakes" in result.figures])
    return figures


def _all_models(binary: Sequence[Result]) -> Any:
    """Rows are data sets, columns are models."""
    planes = list(dict.fromkeys(result.run.settings["plane"] for result in binary))
    models = list(dict.fromkeys(result.run.settings["model"] for result in binary))
    size = SIDE * len(models) + 1, SIDE * len(planes) + 0.4
    figure, grid = new_figure(len(planes), len(models), size, sharex=True, sharey=True)
    image = None
    for result in binary:
        row, column = planes.index(result.run.settings["plane"]), models.index(result.run.settings["model"])
        axes = grid[row, column]
        image = _show(axes, result, -1)
        axes.set_title(f"{100 * result.figures['test_accuracy']:.1f} % of test points", fontsize=9)
        if row == 0:
            axes.set_title(f"{models[column]}\n{axes.get_title()}", fontsize=9)
        if column == 0:
            axes.set_ylabel(planes[row])
    _name_axes(figure, grid, image)
    return figure


def _moving(binary: Sequence[Result]) -> Any:
    """Rows are the largest model on every data set and, for xor, the smallest; columns are steps."""
    largest = max(result.run.settings["hidden"] for result in binary)
    smallest = min(result.run.settings["hidden"] for result in binary)
    shown = [
        result
        for result in binary
        if result.run.settings["hidden"] == largest
        or (result.run.settings["plane"] == "xor" and result.run.settings["hidden"] == smallest)
    ]
    columns = max(len(result.figures["snapshots"]) for result in shown)
    size = SIDE * columns + 1, SIDE * len(shown) + 0.4
    figure, grid = new_figure(len(shown), columns, size, sharex=True, sharey=True)
    image = None
    for row, result in zip(grid, shown, strict=True):
        for axes in row[len(result.figures["snapshots"]) :]:
            axes.set_axis_off()
        for i, step in enumerate(result.figures["snapshot_steps"]):
            image = _show(row[i], result, i)
            row[i].set_title(f"step {step:,}", fontsize=9)
        row[0].set_ylabel(f"{result.run.settings['plane']}\n{result.run.settings['model']}", fontsize=9)
    _name_axes(figure, grid, image)
    return figure


def _name_axes(figure: Any, grid: Any, image: Any) -> None:
    figure.colorbar(image, ax=grid, label="probability of class 1", shrink=0.5, aspect=30)
    figure.supxlabel("$x_1$", fontsize=10)
    figure.supylabel("$x_2$", fontsize=10)


def _show(axes: Any, result: Result, snapshot: int, count: int = 200) -> Any:
    """The answer all over the square as colours, the boundary as a line, some training points."""
    answers = _square(result.figures["snapshots"][snapshot])
    extent = (-REACH, REACH, -REACH, REACH)
    image = axes.imshow(
        answers, origin="lower", extent=extent, cmap="PuOr", vmin=0, vmax=1, alpha=0.75, interpolation="bilinear"
    )
    line = np.linspace(-REACH, REACH, len(answers))
    if answers.min() < 0.5 < answers.max():
        axes.contour(line, line, answers, levels=[0.5], colors="black", linewidths=1)
    points = np.array(result.figures["points"][:count])
    # Orange is where the probability is near 0 in this map, purple where it is near 1.
    for label, colour in ((0, "#b35806"), (1, "#542788")):
        chosen = points[points[:, 2] == label]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=7, color=colour, marker=MARKERS[label], lw=0.3, edgecolors="white")
    axes.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlim=(-REACH, REACH), ylim=(-REACH, REACH))
    return image


def _square(answers: Sequence[float]) -> Any:
    side = round(len(answers) ** 0.5)
    return np.array(answers, dtype=float).reshape(side, side)


def _heads(filmed: Sequence[Result]) -> Any:
    """The largest model for each kind of target, after the last step."""
    figure, [axes] = new_figure(1, 3, (11, 3.6))
    binary, several, values = (_largest(filmed, task) for task in ("binary", "multi-class", "regression"))
    image = _show(axes[0], binary, -1)
    figure.colorbar(image, ax=axes[0], label="probability of class 1", shrink=0.8)
    finish_axes(axes[0], "$x_1$", "$x_2$", f"{binary.run.settings['plane']}: sigmoid, binary cross-entropy")
    _show_classes(axes[1], several)
    finish_axes(axes[1], "$x_1$", "$x_2$", "three spirals: softmax, cross-entropy")
    _show_values(axes[2], values)
    finish_axes(axes[2], "x", "y", "sine: identity, squared error")
    axes[2].legend()
    return figure


def _largest(filmed: Sequence[Result], task: str) -> Result:
    """The one with most hidden units; of the binary data sets the last."""
    chosen = [result for result in filmed if result.run.settings["task"] == task]
    most = max(result.run.settings["hidden"] for result in chosen)
    return [result for result in chosen if result.run.settings["hidden"] == most][-1]


def _show_classes(axes: Any, result: Result) -> None:
    from matplotlib.colors import ListedColormap

    answers = _square(result.figures["snapshots"][-1])
    extent = (-REACH, REACH, -REACH, REACH)
    axes.imshow(answers, origin="lower", extent=extent, cmap=ListedColormap(COLOURS[:3]), vmin=0, vmax=2, alpha=0.35)
    points = np.array(result.figures["points"])
    for label in range(3):
        chosen = points[points[:, 2] == label]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=8, color=COLOURS[label], marker=MARKERS[label])
    axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))


def _show_values(axes: Any, result: Result) -> None:
    points = np.array(result.figures["points"])
    axes.scatter(points[:, 0], points[:, 1], s=6, color="#999999", label="training points")
    x = np.linspace(-1, 1, len(result.figures["snapshots"][-1]))
    for i, colour in ((0, COLOURS[1]), (-1, COLOURS[0])):
        label = f"step {result.figures['snapshot_steps'][i]:,}"
        axes.plot(x, result.figures["snapshots"][i], color=colour, label=label, linestyle="--" if i == 0 else "-")


def _mistakes(learned: Sequence[Result]) -> Any:
    """Of Rosenblatt's rule, pass by pass; a curve that ends at 0 has found a line."""
    figure, [[axes]] = new_figure(size=(7, 3.8))
    planes = list(dict.fromkeys(result.run.settings["plane"] for result in learned))
    for result in learned:
        i = planes.index(result.run.settings["plane"])
        is_first = result.run.seed == learned[0].run.seed
        mistakes = result.figures["mistakes"]
        line = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 4, "linewidth": 1}
        axes.plot(range(1, len(mistakes) + 1), mistakes, label=planes[i] if is_first else None, alpha=0.6, **line)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    finish_axes(axes, "pass over the training points", "points corrected in the pass", "Rosenblatt's rule")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), title="every seed on")
    return figure
