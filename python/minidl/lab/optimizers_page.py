"""The page of `minidl lab optimizers`, sentence by sentence from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minidl.lab import surfaces
from minidl.lab.experiment import Result
from minidl.lab.statistics import spread_of
from minidl.lab.words import best_of, compare, counted, listed

if TYPE_CHECKING:
    from minidl.lab.optimizers import Optimizers

AGREES = 1e-6  # relative difference between predicted and measured contraction that is rounding


def paragraphs(experiment: Optimizers, results: Sequence[Result]) -> list[str]:
    """All paragraphs, those about what was not run left out."""
    from minidl.lab.optimizers import chosen_rates

    chosen = chosen_rates(results)
    found = [_tried(experiment), _rates(results, chosen)]
    if chosen:
        found += [_best(results, chosen), *_against_gradient_descent(results, chosen)]
    return [*found, *_contraction(results), *_paths(results)]


def _tried(experiment: Optimizers) -> str:
    special = [
        f"{name} {counted(passes, 'pass', 'passes')}"
        for key, name, passes in (
            ("gd", "gradient descent with all images", experiment.gd_epochs),
            ("sgd", "one image at a time", experiment.sgd_epochs),
        )
        if key in experiment.methods
    ]
    besides = f" ({listed(special)})" if special else ""
    return (
        f"A network with one hidden layer of {experiment.width} ReLU units learnt {experiment.train_count:,} images of "
        f"{experiment.dataset} at most, in {experiment.epochs} passes{besides}, with every learning rate of a small "
        f"grid and {counted(len(experiment.seeds), 'seed')}. For each method the table shows the learning rate with "
        "the lowest mean validation loss; test images were looked at once, at the end of each run, and chose nothing. "
        "Seconds are those of the training steps, on this machine."
    )


def _rates(results: Sequence[Result], chosen: dict[str, float]) -> str:
    from minidl.lab.optimizers import METHODS, of_kind, rates_of

    sentences = []
    highest = [METHODS[name].title for name, lr in chosen.items() if lr == max(rates_of(results, name))]
    lowest = [METHODS[name].title for name, lr in chosen.items() if lr == min(rates_of(results, name))]
    for edge, names in (("highest", highest), ("lowest", lowest)):
        if names:
            sentences.append(
                f"The {edge} rate of the grid was the best one for {listed(names)}: beyond it may lie a better one."
            )
    if not sentences:
        sentences.append("No method's best learning rate lies at an end of its grid.")
    diverged = [each for each in of_kind(results, "network") if each.figures["diverged_at"]]
    if diverged:
        pairs = [f"{METHODS[each.run.settings['method']].title} with {each.run.settings['lr']:g}" for each in diverged]
        sentences.append(f"Runs diverged: {listed(list(dict.fromkeys(pairs)))}.")
    else:
        sentences.append("No run diverged.")
    return " ".join(sentences)


def _best(results: Sequence[Result], chosen: dict[str, float]) -> str:
    from minidl.lab.optimizers import METHODS, of_method

    groups = {
        METHODS[name].title: [each.figures["val_accuracy"] for each in of_method(results, name, lr)]
        for name, lr in chosen.items()
    }
    best = best_of(groups, is_highest=True)
    if best is None:
        return "No method finished with every seed."
    name, equals = best
    accuracy = spread_of(groups[name]).text(digits=1, factor=100)
    text = f"The best validation accuracy, {accuracy} %, came from {name}"
    text += f"; {listed(equals)} show no difference from it over these seeds." if equals else "."
    pairs = [("momentum", "batch-64"), ("nesterov", "momentum"), ("adam", "batch-64"), ("adamw", "adam")]
    words = {"higher": "is higher than", "lower": "is lower than", "equal": "shows no difference from"}
    compared = [
        f"that of {METHODS[a].title} {words[_losses_compared(results, chosen, a, b)]} that of {METHODS[b].title}"
        for a, b in pairs
        if a in chosen and b in chosen
    ]
    if compared:
        text += f" Validation losses, side by side: {'; '.join(compared)}."
    return text


def _losses_compared(results: Sequence[Result], chosen: dict[str, float], a: str, b: str) -> str:
    from minidl.lab.optimizers import of_method

    first, second = ([each.figures["val_loss"] for each in of_method(results, name, chosen[name])] for name in (a, b))
    return compare(first, second)


def _against_gradient_descent(results: Sequence[Result], chosen: dict[str, float]) -> list[str]:
    """How long the others take to the loss that gradient descent ends with."""
    from minidl.lab.optimizers import METHODS, of_method

    others = [name for name in chosen if name != "gd"]
    if "gd" not in chosen or not others:
        return []
    group = of_method(results, "gd", chosen["gd"])
    target = spread_of(each.figures["losses"][-1] for each in group).mean
    seconds = spread_of(each.figures["step_seconds"][-1] for each in group).mean
    reached, missed = [], []
    for name in others:
        firsts = [_first_below(each, target) for each in of_method(results, name, chosen[name])]
        known = [first for first in firsts if first is not None]
        if len(known) < len(firsts):
            missed.append(METHODS[name].title)
            continue
        step, second = (spread_of(first[i] for first in known).mean for i in range(2))
        reached.append(f"{METHODS[name].title} {step:,.0f} steps, {second:.2g} s")
    text = (
        f"With all images in every step, gradient descent came to a training loss of {target:.3f} in "
        f"{group[0].figures['step_count']} steps and {seconds:.2g} s."
    )
    if reached:
        text += f" Measured at the same places, others were there, or below, after: {'; '.join(reached)}."
    if missed:
        text += f" Not every run of {listed(missed)} came so low."
    return [
        text + " A step with n images costs n times as much, but its gradient is only about sqrt(n) times as exact "
        "(Goodfellow, Bengio and Courville 2016, section 8.1.3); on the other hand a processor computes large products "
        "faster for each image, which the column of microseconds per step shows."
    ]


def _first_below(result: Result, target: float) -> tuple[int, float] | None:
    figures = result.figures
    for step, second, loss in zip(figures["steps"], figures["step_seconds"], figures["losses"], strict=False):
        if loss is not None and loss <= target:
            return step, second
    return None


def _contraction(results: Sequence[Result]) -> list[str]:
    from minidl.lab.optimizers import of_kind

    group = of_kind(results, "rate")
    if not group:
        return []
    parts, worst = [], 0.0
    for each in group:
        lr = each.run.settings["lr"]
        predicted, measured = surfaces.predicted_contraction(lr), surfaces.measured_contraction(each.figures["path"])
        worst = max(worst, *(abs(b - a) / a for a, b in zip(predicted, measured, strict=True) if a))
        parts.append(f"{each.run.settings['rate']} (lr {lr:.3g}) {max(predicted):.3f}")
    verdict = (
        f"the measured factors agree to {worst:.0e} of their value"
        if worst < AGREES
        else f"the measured factors differ by up to {worst:.1%}"
    )
    return [
        "On the quadratic, plain gradient descent multiplies its error along an axis by 1 - lr · curvature in every "
        f"step (Goh 2017): {verdict}. The larger of the two factors decides: {'; '.join(parts)}. Above 1 the path "
        "diverges, just below 1 it crawls; the best rate is 2 / (smallest + largest curvature), where both "
        "factors are equal."
    ]


def _paths(results: Sequence[Result]) -> list[str]:
    from minidl.lab.optimizers import METHODS, PATH_STEPS, of_kind

    sentences = []
    for name, surface in surfaces.SURFACES.items():
        group = [each for each in of_kind(results, "path") if each.run.settings["surface"] == name]
        known = [each for each in group if each.figures["value"] is not None]
        if len(known) < 2:
            continue
        ordered = sorted(known, key=lambda each: each.figures["value"])
        ends = [f"{METHODS[each.run.settings['method']].title} {each.figures['value']:.1e}" for each in ordered]
        start = float(surface.value(*surface.start))
        sentences.append(f"On the {name} surface, from {start:.3g}, after {PATH_STEPS} steps: {', '.join(ends)}.")
    if not sentences:
        return []
    return [
        f"Paths are exact, without noise, each with the best of the learning rates tried. {' '.join(sentences)} What "
        "is best on two weights need not be best on a network."
    ]
