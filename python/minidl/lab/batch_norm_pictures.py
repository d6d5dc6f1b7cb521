"""Pictures of `minidl lab batchnorm`: the paper's figure 1, and accuracy at every learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.lab.drawing import COLOURS, band, finish, new_figure
from minidl.lab.experiment import Result

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
    figure = new_figure(13, 3.8)
    accuracy, *inputs = figure.subplots(1, 3)
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
        title += f": input of unit {first.figures['unit']} of the last hidden layer"
        finish(axes, "step", "input of the sigmoid", title, legend=False)
        axes.margins(y=0.2)
        axes.legend(loc="upper left", ncols=2)
    for axes in (accuracy, *inputs):
        axes.title.set_fontsize(9.5)
    return figure


def _accuracy(axes: Any, results: Sequence[Result], measured: str, title: str) -> None:
    for is_normed, label, style in ((False, "no batch norm", "--"), (True, "batch norm", "-")):
        chosen = [result for result in results if result.run.settings["batch_norm"] == is_normed]
        curves = [[100 * (value or float("nan")) for value in result.figures["accuracy_curve"]] for result in chosen]
        band(axes, chosen[0].figures["steps"], curves, label, COLOURS[is_normed], linestyle=style)
    if min(max(curve) for curve in curves) > PAPER_BOTTOM:
        axes.set_ylim(bottom=PAPER_BOTTOM)
    _thousands(axes)
    finish(axes, "step", f"{measured} accuracy (%)", title, legend=False)
    axes.legend(loc="lower right")


def _rates(results: Sequence[Result], factors: Sequence[float], lr: float, measured: str) -> Any:
    figure = new_figure(4.2 * len(factors) + 0.4, 3.8)
    panels = figure.subplots(1, len(factors), sharey=True, squeeze=False)[0]
    for axes, factor in zip(panels, factors, strict=True):
        _accuracy(axes, _of(results, factor), measured, f"learning rate {factor * lr:g} (x {factor:g})")
        axes.label_outer()
    return figure


def _thousands(axes: Any) -> None:
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.get_major_locator().set_params(nbins=5)
