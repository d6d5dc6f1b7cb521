"""The page of `minidl lab regularization`, sentence by sentence from the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minidl.lab.experiment import Result
from minidl.lab.regularization_pictures import counts_of, group_of
from minidl.lab.statistics import spread_of
from minidl.lab.words import best_of, compare, counted, listed

if TYPE_CHECKING:
    from minidl.lab.regularization import Regularization


def paragraphs(experiment: Regularization, results: Sequence[Result]) -> list[str]:
    """All paragraphs, those about methods that were not run left out."""
    found = [_tried(experiment, results)]
    found += [_methods(experiment, results, count) for count in counts_of(results)]
    found += [
        *_amount(experiment, results),
        *_early_stopping(results),
        *_sparsity(experiment, results),
        *_norms(experiment, results),
        *_theory(experiment),
    ]
    found.append(
        "Strengths were not tuned for each number of images: what is said of a method holds for the strength named "
        "above. Everything is judged on validation images; test images were looked at once, at the end of each run."
    )
    return found


def _title(method: str) -> str:
    from minidl.lab.regularization import METHODS

    return METHODS[method].title


def _losses(group: Sequence[Result]) -> list[float]:
    return [math.nan if each.figures["val_loss"] is None else each.figures["val_loss"] for each in group]


def _tried(experiment: Regularization, results: Sequence[Result]) -> str:
    counts = listed([f"{count:,}" for count in counts_of(results)])
    return (
        f"A network with two hidden layers of {experiment.width} ReLU units learnt {counts} images of "
        f"{experiment.dataset} for about {experiment.steps:,} steps of SGD (batches of {experiment.batch_size}, "
        f"learning rate {experiment.lr:g}, momentum 0.9), whatever the number of images, with "
        f"{counted(len(experiment.seeds), 'seed')}. L2 has a weight decay of {experiment.l2:g}, L1 a factor of "
        f"{experiment.l1:g}, max-norm a limit of {experiment.max_norm:g}. The gap is the validation loss minus the "
        "training loss, both measured without dropout and without penalties."
    )


def _methods(experiment: Regularization, results: Sequence[Result], count: int) -> str:
    """What helps with so many images, compared with no regularization."""
    from minidl.lab.regularization import gap

    measured = {_title(method): _losses(group_of(results, method, count)) for method in experiment.methods}
    groups = {name: losses for name, losses in measured.items() if losses}
    sentences = []
    if "none" in groups:
        group = group_of(results, "none", count)
        own = spread_of(gap(each) for each in group)
        text = "diverged in a run" if math.isnan(own.mean) else f"ended with a gap of {own.text(digits=3)}"
        sentences.append(f"With {counted(count, 'image')}, the network without regularization {text}.")
        verdicts = {name: compare(losses, groups["none"]) for name, losses in groups.items() if name != "none"}
        for verdict, words in (
            ("lower", "A lower validation loss came from"),
            ("higher", "A higher validation loss came from"),
        ):
            names = [name for name, found in verdicts.items() if found == verdict]
            if names:
                sentences.append(f"{words} {listed(names)}.")
        same = [name for name, found in verdicts.items() if found == "equal"]
        if same:
            sentences.append(f"No difference that these seeds show: {listed(same)}.")
    best = best_of(groups, is_highest=False)
    if best is not None:
        name, equals = best
        loss = spread_of(groups[name]).text(digits=4)
        others = f", of which {listed(equals)} show no difference" if equals else ""
        sentences.append(f"With {counted(count, 'image')} {name} had the lowest mean validation loss, {loss}{others}.")
    return " ".join(sentences)


def _amount(experiment: Regularization, results: Sequence[Result]) -> list[str]:
    """More data, the regularizer that costs most."""
    from minidl.lab.regularization import gap

    counts = sorted(counts_of(results))
    if len(counts) < 2 or "none" not in experiment.methods:
        return []
    few, many = ([gap(each) for each in group_of(results, "none", count)] for count in (counts[0], counts[-1]))
    verdict = compare(many, few)
    words = {"lower": "shrank", "higher": "grew", "equal": "shows no difference over these seeds"}[verdict]
    reason = ": the same image is seen less often, and there are more to be right about" if verdict == "lower" else ""
    numbers = f"{spread_of(few).text(digits=3)} and {spread_of(many).text(digits=3)}"
    return [
        f"From {counts[0]:,} to {counted(counts[-1], 'image')} the gap without regularization {words} ({numbers}), "
        f"with equally many steps{reason}."
    ]


def _early_stopping(results: Sequence[Result]) -> list[str]:
    sentences = []
    for count in counts_of(results):
        group = group_of(results, "early-stopping", count)
        known = [each.figures for each in group if each.figures["diverged_at"] is None]
        if not known:
            continue
        chosen = [each["best_epoch"] for each in known]
        ran = [len(each["val_losses"]) for each in known]
        epochs = f"epoch {chosen[0]}" if len(set(chosen)) == 1 else f"epochs {min(chosen)} to {max(chosen)}"
        trained = f"{ran[0]}" if len(set(ran)) == 1 else f"{min(ran)} to {max(ran)}"
        sentences.append(f"with {counted(count, 'image')} {epochs} (trained: {trained})")
    if not sentences:
        return []
    return [
        f"Early stopping put back the weights of the epoch with the lowest validation loss: {'; '.join(sentences)}. "
        "It limits how far weights get from their small start, as an L2 penalty does (Goodfellow, Bengio and Courville "
        "2016, section 7.8)."
    ]


def _sparsity(experiment: Regularization, results: Sequence[Result]) -> list[str]:
    parts = []
    for method in ("none", "l1", "l1-proximal"):
        zeros = [each.figures["zeros"] for each in results if each.run.settings["method"] == method]
        if zeros:
            parts.append(f"{_title(method)} {min(zeros):.1%} to {max(zeros):.1%}")
    if not {"l1", "l1-proximal"} & set(experiment.methods):
        return []
    text = (
        f"Weights that are exactly 0: {'; '.join(parts)}. The gradient of |w| has the same size however small w is, "
        "so a step of gradient descent carries a weight across 0 and back; the proximal step stops at 0 instead (Duchi "
        "and Singer 2009)."
    )
    stepped = [each.figures["zeros"] for each in results if each.run.settings["method"] == "l1-proximal"]
    return [text + (" In these runs it brought no weight that far." if stepped and max(stepped) == 0 else "")]


def _norms(experiment: Regularization, results: Sequence[Result]) -> list[str]:
    limited = [each for each in results if _has_max_norm(each)]
    norms = [each.figures["largest_norm"] for each in limited if each.figures["largest_norm"] is not None]
    if not norms:
        return []
    holds = max(norms) <= experiment.max_norm
    text = (
        f"With max-norm no row of a weight matrix was longer than {experiment.max_norm:g} at the end"
        if holds
        else f"With max-norm the longest row had a norm of {max(norms):.6f}, above the limit of {experiment.max_norm:g}"
    )
    free = [each.figures["largest_norm"] for each in results if each.run.settings["method"] == "none"]
    if free and None not in free:
        binds = min(free) > experiment.max_norm
        text += f"; without regularization the longest had {min(free):.2f} to {max(free):.2f}"
        text += "." if binds else ", so that the limit did not bind in every run."
    else:
        text += "."
    return [text]


def _has_max_norm(result: Result) -> bool:
    from minidl.lab.regularization import METHODS

    return METHODS[result.run.settings["method"]].max_norm


def _theory(experiment: Regularization) -> list[str]:
    sources = {
        "l2": "L2 pulls every weight towards 0 in proportion to its size, which makes functions that need large "
        "weights dear.",
        "dropout-0.5": "Dropout trains a different thinned network in every step and uses their average, so that no "
        "unit can rely on particular others (Srivastava et al. 2014).",
        "batch-norm": "Batch norm is made to train faster; that the other images of a batch disturb each image's "
        "normalization is a regularizer by the way (Ioffe and Szegedy 2015).",
    }
    sentences = [text for method, text in sources.items() if method in experiment.methods]
    return [" ".join(sentences)] if sentences else []
