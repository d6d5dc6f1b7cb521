"""Pictures of `minidl lab batchnorm`: the paper's figure 1, and accuracy at every learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.lab.bands import draw_band
from minidl.lab.experiment import Result
from minidl.plots.style import COLOURS, finish_axes, new_figure

# The paper's figure begins at 70 %.
PAPER_BOTTOM = 70


def draw(results: Sequence[Result], lr: float, measured: str) -> dict[str, Any]:
    """`measured` names the images that accuracy is of."""
    factors = list(dict.fromkeys(result.run.settings["factor"] for result in results))
    figures = {"figure": _paper_figure(_of(results, factors[0]), measured)}
    if len(factors) > 1:
        figures["rates"] = _rates(results, factors, lr, measured)
    return figures


def _of(results: Sequence[Result], factor: float) -> list[Result]:
    return [result for result in results if result.run.settings["factor"] == factor]


def _paper_figure(results: Sequence[Result], measured: str) -> Any:
    figure, [[accuracy, *inputs]] = new_figure(1, 3, (13, 3.8))
    _accuracy(accuracy, results, measured, "(a) accuracy")
    inputs[1].sharey(inputs[0])
    for axes, is_normed, title in zip(inputs, (False, True), ("(b) no batch norm", "(c) batch norm"), strict=True):
        first = next(result for result in results if result.run.settings["batch_norm"] == is_normed)
        low, middle, high = first.figures["unit_percentiles"]
        steps = first.figures["steps"][: len(middle)]
        colour = COLOURS[is_normed]
        axes.fill_between(steps, low, high, color=colour, alpha=0.25, linewidth=0, label="15 to 85 %")
        axes.plot(steps, middle, color=colour, label="median")
        _thousands(axes)
        title += f", unit {first.figures['unit']} of the last hidden layer"
        finish_axes(axes, "step", "input of the sigmoid", title)
        axes.margins(y=0.2)
        axes.legend(loc="upper left", ncols=2)
    return figure


def _accuracy(axes: Any, results: Sequence[Result], measured: str, title: str) -> None:
    best = []
    for place, label in enumerate(("no batch norm", "batch norm")):
        chosen = [result for result in results if result.run.settings["batch_norm"] == bool(place)]
        curves = [[value and 100 * value for value in result.figures["accuracy_curve"]] for result in chosen]
        draw_band(axes, [result.figures["steps"] for result in chosen], curves, label, place)
        best += [max(value or 0 for value in curve) for curve in curves]
    if min(best) > PAPER_BOTTOM + 10:
        axes.set_ylim(bottom=PAPER_BOTTOM)
    _thousands(axes)
    finish_axes(axes, "step", f"{measured} accuracy (%)", title)
    axes.legend(loc="lower right")


def _rates(results: Sequence[Result], factors: Sequence[float], lr: float, measured: str) -> Any:
    figure, [panels] = new_figure(1, len(factors), (4.2 * len(factors) + 0.4, 3.8), sharey=True)
    for axes, factor in zip(panels, factors, strict=True):
        _accuracy(axes, _of(results, factor), measured, f"learning rate {factor * lr:g} (x {factor:g})")
        axes.label_outer()
    return figure


def _thousands(axes: Any) -> None:
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.get_major_locator().set_params(nbins=5)
