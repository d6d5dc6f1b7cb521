"""The page of `minidl lab lr-find`, sentence by sentence from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minidl.lab.experiment import Result, by_variant
from minidl.lab.words import counted, listed

if TYPE_CHECKING:
    from minidl.lab.learning_rates import LearningRates


def paragraphs(experiment: LearningRates, results: Sequence[Result]) -> list[str]:
    """What was tried, what was suggested, whether it was good."""
    return [_tried(experiment), *_suggestions(results), _judged(results), *_spread(results)]


def _tried(experiment: LearningRates) -> str:
    from minidl.lab.learning_rates import HIGHEST, LOWEST

    count = "all images" if experiment.train_count is None else counted(experiment.train_count, "image")
    first, second = experiment.width, max(1, experiment.width // 2)
    return (
        f"The range test (Smith 2015) trains for {counted(experiment.sweep_steps, 'step')} while the learning rate "
        f"grows from {LOWEST:g} to {HIGHEST:g}, and stops where the loss explodes. It suggests the smaller of two "
        "rates: where the smoothed loss falls most steeply, and a tenth of where it is lowest. Here a network with "
        f"hidden layers of {first} and {second} ReLU units then learnt {count} of {experiment.dataset}, without those "
        f"held out, for {counted(experiment.epochs, 'epoch')} with a tenth of the suggestion, with it and with ten "
        f"times as much, from the same initial weights, with {counted(len(experiment.seeds), 'seed')}. "
        "Validation losses decide; test images were not used."
    )


def _suggestions(results: Sequence[Result]) -> list[str]:
    parts, missing = [], []
    for variant, group in by_variant(results).items():
        found = [each.figures["suggestion"] for each in group if each.figures["suggestion"] is not None]
        if len(found) < len(group):
            missing.append(variant)
        if found:
            parts.append(f"{variant} {min(found):.2g} to {max(found):.2g}")
    sentences = [f"Suggested over the seeds: {'; '.join(parts)}."] if parts else []
    if missing:
        sentences.append(f"No rate was suggested in some runs of {listed(missing)}: the smoothed loss never fell.")
    return [" ".join(sentences)]


def _judged(results: Sequence[Result]) -> str:
    """Whether a tenth or ten times the suggestion would have been better."""
    from minidl.lab.learning_rates import verdict

    groups = by_variant(results)
    verdicts = {variant: (verdict(group, 0), verdict(group, 2)) for variant, group in groups.items()}
    known = {variant: pair for variant, pair in verdicts.items() if "unknown" not in pair}
    good = [variant for variant, pair in known.items() if "worse" not in pair]
    smaller = [variant for variant, pair in known.items() if pair[0] == "worse"]
    larger = [variant for variant, pair in known.items() if pair[1] == "worse"]
    diverged = [variant for variant, pair in known.items() if "diverged" in pair]
    sentences = []
    if good:
        best = [variant for variant in good if set(known[variant]) <= {"better", "diverged"}]
        text = f"The suggestion was good in {len(good)} of {len(groups)} cases: neither of the others had a lower loss"
        sentences.append(f"{text} that these seeds show ({listed(good)}).")
        if best:
            sentences.append(f"It was better than both with {listed(best)}.")
    if smaller:
        sentences.append(f"A tenth of it was better with {listed(smaller)}.")
    if larger:
        sentences.append(f"Ten times as much was better with {listed(larger)}: there the test is too careful.")
    if diverged:
        sentences.append(f"With a tenth of it or ten times as much a run diverged with {listed(diverged)}.")
    unknown = [variant for variant in verdicts if variant not in known]
    if unknown:
        sentences.append(
            f"Nothing can be said of {listed(unknown)}: a run diverged, no rate was suggested, or there is one seed."
        )
    return " ".join(sentences)


def _spread(results: Sequence[Result]) -> list[str]:
    """By what factor suggestions differ from seed to seed."""
    factors = {}
    for variant, group in by_variant(results).items():
        found = [each.figures["suggestion"] for each in group if each.figures["suggestion"] is not None]
        if len(found) > 1:
            factors[variant] = max(found) / min(found)
    if not factors:
        return []
    widest = max(factors, key=lambda variant: factors[variant])
    return [
        f"From seed to seed suggestions differ by a factor of up to {factors[widest]:.2g} ({widest}): the loss of a "
        "batch is noisy, so take the order of magnitude from one sweep and no more."
    ]
