"""The page of `minidl lab batchnorm`: what its numbers say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minidl.lab.experiment import Result
from minidl.lab.statistics import differ, spread_of
from minidl.lab.words import NO_DIFFERENCE, compare, counted, listed

# An accuracy below this is called not learning: ten classes by chance are 10 %.
LEARNT = 0.5


def final_accuracies(results: Sequence[Result], factor: float, is_normed: bool) -> list[float]:
    """At the last step, nan where a run diverged."""
    curves = [result.figures["accuracy_curve"] for result in chosen(results, factor, is_normed)]
    return [math.nan if curve[-1] is None else curve[-1] for curve in curves]


def chosen(results: Sequence[Result], factor: float, is_normed: bool) -> list[Result]:
    """The results of one variant."""
    wanted = {"factor": factor, "batch_norm": is_normed}
    return [result for result in results if result.run.settings == wanted]


def accuracy_to_reach(results: Sequence[Result]) -> float:
    """What the plain network has at the end at the first learning rate, on average; nan where it diverged."""
    return spread_of(final_accuracies(results, results[0].run.settings["factor"], False)).mean


def steps_to_reach(result: Result, accuracy: float) -> int | None:
    """The first step at which so much was measured."""
    pairs = zip(result.figures["steps"], result.figures["accuracy_curve"], strict=True)
    return next((step for step, value in pairs if value is not None and value >= accuracy), None)


def page(results: Sequence[Result], setup: str, measured: str) -> list[str]:
    """Setup, accuracy, speed, input distributions, learning rates, why."""
    factors = list(dict.fromkeys(result.run.settings["factor"] for result in results))
    seeds = len({result.run.seed for result in results})
    paragraphs = [
        f"Trained: {setup}; {counted(seeds, 'seed')}. The curves are of {measured} images. "
        + (
            "As in the paper, the test accuracy is drawn all the way; nothing was chosen by it. "
            if measured == "test"
            else "The test images were not looked at. "
        )
        + "For accuracy batch norm uses its running averages; the inputs of the sigmoids are those of up to 1,000 "
        "images normalized by their own statistics, as in training.",
        _accuracy(results, factors[0], measured),
        _inputs(results, factors[0]),
    ]
    if len(factors) > 1:
        paragraphs.append(_rates(results, factors[1:], measured))
    paragraphs.append(
        "Why: batch norm gives every unit's input the mean 0 and the spread 1 over the batch, then a scale and a shift "
        "that are learnt. Layers above meet inputs whose scale no longer depends on all weights below; and as "
        "BN((aW)u) = BN(Wu) while the gradient for aW is 1/a of that for W, too large a step makes weights larger and "
        "the next step relatively smaller (Ioffe and Szegedy 2015, section 3.3). That the stable distributions are "
        "what makes training faster has been doubted: Santurkar et al. 2018 find a smoother loss instead."
    )
    return paragraphs


def _accuracy(results: Sequence[Result], factor: float, measured: str) -> str:
    plain, normed = (final_accuracies(results, factor, is_normed) for is_normed in (False, True))
    numbers = f"{_text(normed)} with and {_text(plain)} without batch norm"
    text = f"At the end the {measured} accuracy is {numbers}"
    verdict = compare(normed, plain)
    if verdict != "equal":
        text += f": {verdict} with batch norm."
    elif any(map(math.isnan, (*plain, *normed))):
        text += "."
    else:
        text += f", {NO_DIFFERENCE}."
    wanted = accuracy_to_reach(results)
    if not wanted >= LEARNT:
        return text
    group = chosen(results, factor, True)
    steps = [steps_to_reach(result, wanted) for result in group]
    reached = [step for step in steps if step is not None]
    last = group[0].figures["steps"][-1]
    if len(reached) == len(group):
        mean = spread_of(reached).mean
        return text + (
            f" What the plain network has after {last:,} steps ({100 * wanted:.2f} %) the network with batch norm has "
            f"after {mean:,.0f}" + (f", {last / mean:.1f} times as fast in steps." if mean > 0 else ".")
        )
    return text + (
        f" What the plain network has after {last:,} steps ({100 * wanted:.2f} %) the network with batch norm reached "
        f"for {len(reached)} of {len(group)} seeds."
    )


def _text(values: Sequence[float]) -> str:
    diverged = sum(map(math.isnan, values))
    if diverged == len(values):
        return "diverged"
    kept = spread_of([value for value in values if not math.isnan(value)])
    return f"{kept.text(2, 100)} %" + (f" ({diverged} of {len(values)} seeds diverged)" if diverged else "")


def _inputs(results: Sequence[Result], factor: float) -> str:
    groups = [chosen(results, factor, is_normed) for is_normed in (False, True)]
    drift = [[result.figures["drift"] for result in group] for group in groups]
    plain, normed = (spread_of(values) for values in drift)
    first, last = (
        [spread_of(result.figures["widths"][i] for result in group).mean for group in groups] for i in (0, 1)
    )
    text = (
        "How the inputs of the last hidden layer move (figure.png, b and c, one unit of the first seed): the middle "
        f"70 % of a unit's inputs are {first[0]:.2f} wide at first and {last[0]:.2f} at the end without batch norm, "
        f"{first[1]:.2f} and {last[1]:.2f} with it (means over the layer's units). Their median drifts over "
        f"{plain.text()} such widths without and {normed.text()} with batch norm."
    )
    if not differ(*drift):
        return text + " The seeds do not show that one drifts further than the other."
    return text + (
        " With batch norm the distribution is more stable, as the paper says."
        if normed.mean < plain.mean
        else " With batch norm it drifts further, against what the paper says."
    )


def _rates(results: Sequence[Result], factors: Sequence[float], measured: str) -> str:
    parts = []
    for factor in factors:
        plain, normed = (final_accuracies(results, factor, is_normed) for is_normed in (False, True))
        outcome = f"at {factor:g} times the rate {_text(normed)} with and {_text(plain)} without"
        learns = [all(value >= LEARNT for value in values) for values in (normed, plain)]
        if learns == [True, False]:
            outcome += " - only the network with batch norm learns for every seed"
        elif learns == [False, True]:
            outcome += " - only the network without batch norm learns for every seed"
        elif not any(learns):
            outcome += " - neither learns for every seed"
        else:
            verdicts = {"higher": "higher with", "lower": "higher without", "equal": NO_DIFFERENCE}
            outcome += f" - {verdicts[compare(normed, plain)]}"
        parts.append(outcome)
    return f"Higher learning rates (rates.png), {measured} accuracy at the end: {'; '.join(parts)}."


def claims(results: Sequence[Result]) -> list[tuple[str, bool | None]]:
    """What the paper says of its figure 1, and whether these runs show it: True, False, or None for no difference.

    Training is faster where the accuracy, averaged over all measurements on the way, is higher.
    """
    factor = results[0].run.settings["factor"]
    plain, normed = (chosen(results, factor, is_normed) for is_normed in (False, True))
    final = compare(final_accuracies(results, factor, True), final_accuracies(results, factor, False))
    on_the_way = compare([_mean_accuracy(result) for result in normed], [_mean_accuracy(result) for result in plain])
    drift = compare([result.figures["drift"] for result in normed], [result.figures["drift"] for result in plain])
    return [
        ("a higher test accuracy with batch norm", _is(final, "higher")),
        ("faster training with batch norm", _is(on_the_way, "higher")),
        ("more stable input distributions with batch norm", _is(drift, "lower")),
    ]


def _mean_accuracy(result: Result) -> float:
    """Over all measurements of a run; nan where it diverged."""
    return spread_of(result.figures["accuracy_curve"]).mean


def _is(verdict: str, claimed: str) -> bool | None:
    return None if verdict == "equal" else verdict == claimed


def claims_in_words(results: Sequence[Result]) -> str:
    """One sentence a verdict."""
    verdicts = claims(results)
    texts = []
    for wanted, words in ((True, "These runs show"), (False, "They contradict"), (None, "No difference is shown for")):
        named = [claim for claim, verdict in verdicts if verdict is wanted]
        if named:
            texts.append(f"{words}: {listed(named)}.")
    return "The paper prints figure 1 without numbers and says three things of it. " + " ".join(texts)
