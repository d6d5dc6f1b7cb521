"""The page of `minidl lab init`, sentence by sentence from the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minidl.lab.experiment import Result
from minidl.lab.statistics import spread_of
from minidl.lab.words import best_of, compare, counted, listed

if TYPE_CHECKING:
    from minidl.lab.initialization import Initialization

STUCK = 0.99  # a network has learnt nothing where its loss is above this share of the loss of guessing
Groups = dict[str, list[Result]]  # by the name of the initial weights


def paragraphs(experiment: Initialization, results: Sequence[Result]) -> list[str]:
    """All paragraphs, those about variants that were not run left out."""
    deepest = max(experiment.depths)
    found = [_tried(experiment), *_zeros(experiment, results)]
    for activation in experiment.activations:
        groups = _groups(experiment, results, activation, deepest)
        found.append(
            " ".join([*_best(groups, activation, deepest), *_gradients(groups), *_inactive(groups, activation)])
        )
    found += _depths(experiment, results)
    found.append(
        f"All networks had the same learning rate, {experiment.lr:g}; with another one the order may be another. "
        "Validation images decide what is called best here; test images were looked at once, at the end of each run."
    )
    return found


def _groups(experiment: Initialization, results: Sequence[Result], activation: str, depth: int) -> Groups:
    from minidl.lab.initialization import INITS

    groups: Groups = {INITS[init][0]: [] for init in experiment.inits}
    for result in results:
        settings = result.run.settings
        if (settings["activation"], settings["depth"]) == (activation, depth):
            groups[INITS[settings["init"]][0]].append(result)
    return {name: group for name, group in groups.items() if group}


def _accuracies(group: Sequence[Result]) -> list[float]:
    return [math.nan if each.figures["val_accuracy"] is None else each.figures["val_accuracy"] for each in group]


def _tried(experiment: Initialization) -> str:
    return (
        f"Networks of {listed([str(depth) for depth in experiment.depths])} hidden layers of {experiment.width} units "
        f"({listed(experiment.activations)}) learnt {experiment.train_count:,} images of {experiment.dataset} at most, "
        f"for {counted(experiment.epochs, 'epoch')}, by plain SGD with batches of {experiment.batch_size}, with "
        f"{counted(len(experiment.seeds), 'seed')}. They differ in nothing but their initial weights; biases "
        "start at 0. In a layer with n inputs and m outputs, N(0, v) draws weights with mean 0 and variance v; the "
        "uniform forms have the same variances."
    )


def _zeros(experiment: Initialization, results: Sequence[Result]) -> list[str]:
    group = [each for each in results if each.run.settings["init"] == "zeros"]
    if not group:
        return []
    differences = [each.figures["row_difference"] for each in group]
    sentences = []
    if all(difference == 0 for difference in differences):
        sentences.append(
            "Zeros keep all units of a layer equal: after training, the largest difference between two rows of a "
            "hidden weight matrix was exactly 0 in every run. Equal units compute the same, so they get the same "
            "gradient and stay equal (Goodfellow, Bengio and Courville 2016, section 8.4): a layer of "
            f"{experiment.width} is worth one unit."
        )
    else:
        largest = max((each for each in differences if each is not None), default=math.nan)
        sentences.append(
            "With zeros, units of a layer did not stay equal in every run: two rows of a hidden weight matrix "
            f"differed by up to {largest:.2g} after training."
        )
    silent = [each for each in group if each.figures["largest_but_last_bias"] == 0]
    if silent:
        activations = listed(list(dict.fromkeys(each.run.settings["activation"] for each in silent)))
        losses = spread_of(each.figures["final_loss"] for each in silent)
        chance, least = silent[0].figures["chance_loss"], silent[0].figures["loss_of_frequencies"]
        sentences.append(
            f"With {activations} everything but the last bias stayed exactly 0, because a hidden output of 0 gives the "
            "weights behind it no gradient and weights of 0 hand none back. The training loss of the last epoch was "
            f"{losses.lowest:.4f} to {losses.highest:.4f}: guessing gives ln {round(math.exp(chance))} = {chance:.4f}, "
            f"and the last bias can learn no more than how frequent each class is, which gives {least:.4f}."
        )
    moved = [each for each in group if each.figures["largest_but_last_bias"] != 0]
    if moved:
        activations = listed(list(dict.fromkeys(each.run.settings["activation"] for each in moved)))
        accuracies = [each.figures["val_accuracy"] for each in moved if each.figures["val_accuracy"] is not None]
        reached = f"; the best validation accuracy was {max(accuracies):.1%}" if accuracies else ""
        sentences.append(f"With {activations} weights did move{reached}.")
    return [" ".join(sentences)]


def _best(groups: Groups, activation: str, depth: int) -> list[str]:
    sentences = []
    best = best_of({name: _accuracies(group) for name, group in groups.items()}, is_highest=True)
    if best is None:
        return [f"With {activation} and {depth} hidden layers every kind of initial weights had a run that diverged."]
    stuck = [name for name, group in groups.items() if _is_stuck(group)]
    name, equals = best
    if name in stuck:
        sentences.append(
            f"With {activation} and {depth} hidden layers no network learnt: the kind with the best validation "
            f"accuracy, {name}, had training losses within 1 % of guessing, or above, in every run."
        )
    else:
        accuracy = spread_of(_accuracies(groups[name])).text(digits=1, factor=100)
        others = f"; {listed(equals)} show no difference from it over these seeds" if equals else ""
        sentences.append(
            f"With {activation} and {depth} hidden layers, {name} reached the best validation accuracy, "
            f"{accuracy} %{others}."
        )
        if stuck:
            sentences.append(f"The training loss stayed within 1 % of guessing, or above, with {listed(stuck)}.")
    diverged = [name for name, group in groups.items() if any(each.figures["diverged_at"] for each in group)]
    if diverged:
        steps = [
            each.figures["diverged_at"] for name in diverged for each in groups[name] if each.figures["diverged_at"]
        ]
        when = f"at step {steps[0]}" if len(set(steps)) == 1 else f"between step {min(steps)} and {max(steps)}"
        sentences.append(f"Runs diverged with {listed(diverged)}, {when}.")
    return sentences


def _is_stuck(group: Sequence[Result]) -> bool:
    """Whether no run ended well below the loss of guessing; runs that diverged are not counted."""
    finished = [each.figures for each in group if each.figures["final_loss"] is not None]
    return bool(finished) and all(each["final_loss"] >= STUCK * each["chance_loss"] for each in finished)


def _gradients(groups: Groups) -> list[str]:
    from minidl.lab.initialization import gradient_ratio

    ratios: dict[str, float] = {}
    for name, group in groups.items():
        values = [gradient_ratio(each.figures) for each in group]
        known = [value for value in values if value]
        if known and len(known) == len(values):
            ratios[name] = float(np.exp(np.mean(np.log(known))))  # of ratios, the geometric mean
    if len(ratios) < 2:
        return []
    nearest = min(ratios, key=lambda name: abs(math.log(ratios[name])))
    smallest, largest = min(ratios, key=lambda name: ratios[name]), max(ratios, key=lambda name: ratios[name])
    text = (
        "Before training, the gradient that reached the first hidden layer was, as a multiple of the last one's, "
        f"{ratios[smallest]:.2g} ({smallest}) to {ratios[largest]:.2g} ({largest}); nearest to 1 came {nearest} with "
        f"{ratios[nearest]:.2g}."
    )
    return [text]


def _inactive(groups: Groups, activation: str) -> list[str]:
    word = "dead for every image" if activation == "relu" else "saturated"
    unit = "of the units" if activation == "relu" else "of the outputs"
    shares = {
        name: [float(np.mean(each.figures["layers"][0]["inactive"])) for each in group]
        for name, group in groups.items()
        if name != "zeros"
    }
    worst = {name: spread_of(values).mean for name, values in shares.items()}
    above = [f"{name}: {share:.0%}" for name, share in worst.items() if share > 0.1]
    if not above:
        return [f"At the start no more than 10 % {unit} were {word} with any of them."]
    return [f"At the start more than 10 % {unit} were {word} with {listed(above)}."]


def _depths(experiment: Initialization, results: Sequence[Result]) -> list[str]:
    """From the shallowest to the deepest: which initial weights pay for depth."""
    lowest, highest = min(experiment.depths), max(experiment.depths)
    if lowest == highest or len(experiment.seeds) < 2:
        return []
    theory = (
        "A layer multiplies the variance of what passes through it, forward and backward, by about n times the "
        "variance of its weights times the mean squared slope of the activation, and depth raises that factor to a "
        "power: Xavier sets it to 1 for slopes of 1 (Glorot and Bengio 2010), Kaiming for ReLU, whose slope is 0 for "
        "half of the inputs (He et al. 2015)."
    )
    sentences = [theory]
    for activation in experiment.activations:
        shallow = _groups(experiment, results, activation, lowest)
        deep = _groups(experiment, results, activation, highest)
        verdicts = {
            name: compare(_accuracies(deep[name]), _accuracies(shallow[name])) for name in deep if name in shallow
        }
        worse = [name for name, verdict in verdicts.items() if verdict == "lower"]
        better = [name for name, verdict in verdicts.items() if verdict == "higher"]
        parts = [f"fell with {listed(worse)}"] if worse else []
        parts += [f"rose with {listed(better)}"] if better else []
        text = " and ".join(parts) or "shows no difference with any of them"
        sentences.append(f"From {lowest} to {highest} hidden layers of {activation} the validation accuracy {text}.")
    return [" ".join(sentences)]
