"""The page of `minidl lab perceptron`: what its numbers say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidl.lab.experiment import Result
from minidl.lab.rosenblatt import best_line
from minidl.lab.statistics import spread_of
from minidl.lab.words import NO_DIFFERENCE, compare, counted, listed

CORNERS = np.array([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])
CORNER_CLASSES = np.array([0, 0, 1, 1])


def page(results: Sequence[Result], samples: int, noise: float) -> list[str]:
    """Paragraphs in the order of the lecture: one neuron, xor, hidden layers, Rosenblatt's rule, heads."""
    return [
        _what_was_tried(results, samples),
        _xor(results),
        *_hidden_layers(results),
        *_rosenblatt(results),
        _heads(results, noise),
    ]


def _what_was_tried(results: Sequence[Result], samples: int) -> str:
    seeds = counted(len({result.run.seed for result in results}), "seed")
    return (
        f"Each model learnt from {samples} points and was measured on 1,000 new ones, with {seeds} for points, weights "
        "and order. A model without a hidden layer is one neuron, a weighted sum and its activation (one per class "
        "where there are three): its boundary is a straight line. figure.png shows where every model draws the "
        "boundary, boundary.png how it moves there, both for the first seed."
    )


def _xor(results: Sequence[Result]) -> str:
    best = best_line(CORNERS, CORNER_CLASSES)[2]
    text = (
        f"Of the four corners of xor a straight line gets {best * 4:.0f} of 4 right at the most (all ways to part them "
        "were tried). One argument says why not 4. Class 0 would need w(-1,-1) + b < 0 and w(1,1) + b < 0; added up, "
        "these say 2b < 0. Class 1 would need w(-1,1) + b > 0 and w(1,-1) + b > 0; these say 2b > 0. Both cannot be "
        "(Minsky and Papert 1969)."
    )
    models = accuracies(results, "xor")
    if models:
        text += f" Measured on noisy xor: {_listed(models)} of the test points right."
    return text


def accuracies(results: Sequence[Result], plane: str) -> dict[str, list[float]]:
    """Test accuracies over the seeds by model, those trained by gradients."""
    models: dict[str, list[float]] = {}
    for result in results:
        settings = result.run.settings
        if settings["plane"] == plane and settings["hidden"] is not None:
            models.setdefault(settings["model"], []).append(result.figures["test_accuracy"])
    return models


def _listed(models: dict[str, list[float]]) -> str:
    return listed([f"{name} {spread_of(values).text(1, 100)} %" for name, values in models.items()])


def _hidden_layers(results: Sequence[Result]) -> list[str]:
    """Which data sets a hidden layer helps on, over the seeds."""
    binary = [result for result in results if result.run.settings["task"] == "binary"]
    planes = dict.fromkeys(result.run.settings["plane"] for result in binary)
    widths = sorted({result.run.settings["hidden"] for result in binary} - {None})
    if len(widths) < 2:
        return []
    helped: list[str] = []
    equal: list[str] = []
    hurt: list[str] = []
    for plane in planes:
        models = list(accuracies(results, plane).values())
        small, large = models[0], models[-1]
        group = {"higher": helped, "lower": hurt, "equal": equal}[compare(large, small)]
        group.append(f"{plane} ({100 * spread_of(small).mean:.1f} to {100 * spread_of(large).mean:.1f} %)")
    names = [counted(width, "hidden unit") if width else "no hidden layer" for width in (widths[0], widths[-1])]
    text = f"From {names[0]} to {names[1]}:"
    if helped:
        text += f" more test points are right on {listed(helped)}."
    if equal:
        text += f" {NO_DIFFERENCE.capitalize()} on {listed(equal)}."
    if hurt:
        text += f" Fewer are right on {listed(hurt)}."
    return [
        text + " A hidden unit bends the plane along one line; the layer after it combines these, so that the "
        "boundary can turn corners. With enough of them a network comes as near to any continuous function as is "
        "wanted (Cybenko 1989); that training finds such weights is not said."
    ]


def _rosenblatt(results: Sequence[Result]) -> list[str]:
    """Where the rule found a line, and where it went on to the last pass."""
    groups: dict[str, list[list[int]]] = {}
    for result in results:
        if "mistakes" in result.figures:
            groups.setdefault(result.run.settings["plane"], []).append(result.figures["mistakes"])
    if not groups:
        return []
    found, never, sometimes = [], [], []
    for plane, runs in groups.items():
        passes = [len(mistakes) for mistakes in runs if mistakes[-1] == 0]
        if len(passes) == len(runs):
            most = max(passes)
            found.append(f"{plane} (after {counted(most, 'pass', 'passes')} at the most)")
        elif passes:
            sometimes.append(f"{plane} ({len(passes)} of {len(runs)} seeds)")
        else:
            never.append(plane)
    text = "Rosenblatt's rule corrects w by every point on the wrong side (rosenblatt.png)."
    if found:
        text += f" It found a separating line for every seed on {listed(found)}."
    if sometimes:
        text += f" For some seeds only on {listed(sometimes)}."
    if never:
        text += (
            f" On {listed(never)} it was still correcting in its last pass. Where no line separates the points it "
            "must: a pass without a mistake would be such a line."
        )
    return [
        text + " Where there is a line, it stops after at most (R/g)^2 corrections, R being the length of the longest "
        "point and g the distance of the nearest one to the line (Novikoff 1962). Logistic regression, the neuron "
        "with a sigmoid, minimizes a smooth loss instead and settles where the errors balance."
    ]


def _heads(results: Sequence[Result], noise: float) -> str:
    gap = max(result.figures.get("gradient_gap", 0.0) for result in results)
    text = (
        "The target decides the end of the network (heads.png): a sigmoid with binary cross-entropy for yes or no, "
        "softmax with cross-entropy for one of several classes, no activation with the squared error for a number. "
        "In all three the gradient that enters the network is the prediction minus the target (twice that for the "
        f"squared error); autograd agrees with this formula within {gap:.0e}."
    )
    losses: dict[str, list[float]] = {}
    for result in results:
        if result.run.settings["task"] == "regression":
            losses.setdefault(result.run.settings["model"], []).append(result.figures["test_loss"])
    if losses:
        parts = [f"{name} {spread_of(values).text(4)}" for name, values in losses.items()]
        text += (
            f" Squared error on new points of the sine: {listed(parts)}; the noise alone is {noise**2:.4f}, and "
            "nothing that is learnt gets below that on average."
        )
    return text
