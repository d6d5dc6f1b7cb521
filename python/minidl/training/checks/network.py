"""Checks of a network on a batch: dead and saturated units, gradients, weights, what comes before the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import nn
from minidl.training.checks.examination import Examination
from minidl.training.checks.finding import Finding, Severity
from minidl.training.diagnosis import first_bad_layer
from minidl.training.inspection import SATURATED_BELOW, to_numpy

# Of a small batch, many units are off by chance.
SMALLEST_BATCH = 16
# Digits (64-64-64-64-10, Adam and SGD, 9 epochs) were learnt with up to 34 % dead and 73 % saturated (hardtanh).
DEAD_FRACTION, SATURATED_FRACTION = 0.75, 0.9
# First to last layer; a factor of 10 per layer is usual for sigmoids, and two such layers train.
VANISHED, EXPLODED = 1e-4, 1e3


def check_finite(found: Examination) -> Iterator[Finding]:
    """nan or inf in the loss."""
    if found.value is not None and not np.isfinite(to_numpy(found.value)).all():
        where = first_bad_layer(found.model, found.x)
        yield Finding("not-finite", "", f"the loss is not finite; went bad first: {where}", "error")


def check_units(found: Examination) -> Iterator[Finding]:
    """ReLUs that are off for the whole batch, sigmoids and their like where they are flat."""
    if len(found.x) < SMALLEST_BATCH:
        return
    last = found.layers[-1].name if found.layers else ""
    for layer in found.layers:
        if layer.dead_fraction is not None:
            yield from _dead(layer.dead_fraction, layer.name, f"layer {layer.label!r}")
        if layer.saturated_fraction is not None and layer.name != last:
            yield from _saturated(layer.saturated_fraction, layer.name, f"layer {layer.label!r}")
    for operation, name, output in found.unnamed:
        values, place = to_numpy(output), f"the {operation} after layer {name!r}" if name else f"a {operation}"
        if operation == "relu":
            yield from _dead(float((values == 0).all(axis=0).mean()), name, place)
        else:
            slope = 4 * values * (1 - values) if operation == "sigmoid" else 1 - values**2
            yield from _saturated(float((slope < SATURATED_BELOW).mean()), name, place)


def _dead(fraction: float, name: str, place: str) -> Iterator[Finding]:
    if fraction > DEAD_FRACTION:
        advice = "lower the learning rate, check the biases, or use LeakyReLU"
        sentence = f"in {place}, {fraction:.0%} of the units are 0 for the whole batch and learn nothing: {advice}"
        yield Finding("dead-relu", name, sentence)


def _saturated(fraction: float, name: str, place: str) -> Iterator[Finding]:
    if fraction > SATURATED_FRACTION:
        advice = "start with smaller weights (nn.init.xavier_uniform_), scale the input, or put batch norm before it"
        sentence = f"in {place}, {fraction:.0%} of the outputs are where the curve is flat: {advice}"
        yield Finding("saturated", name, sentence)


def check_gradients(found: Examination) -> Iterator[Finding]:
    """How the gradient changes from the last layer with weights to the first."""
    layers = [
        layer
        for layer in found.layers
        if layer.grad_output_norm is not None and _matrix_of(found.model, layer.name) is not None
    ]
    norms = [float(layer.grad_output_norm or 0.0) for layer in layers]
    if len(layers) < 2 or not np.isfinite(norms).all() or norms[-1] < 1e-12:
        return  # nothing to compare, or a loss at its minimum
    first, last = layers[0], layers[-1]
    shown = f"from {norms[-1]:.1e} at layer {last.name!r} to {norms[0]:.1e} at layer {first.name!r}"
    if 0 in norms:
        stopped = layers[max(place for place, norm in enumerate(norms) if norm == 0)]
        sentence = (
            f"no gradient reaches layer {stopped.label!r}: look for units that are all dead, weights that are all 0, "
            "or a detach() behind it"
        )
        yield Finding("no-gradient", stopped.name, sentence, "error")
    elif norms[0] < VANISHED * norms[-1]:
        advice = "use ReLU or GELU, kaiming or xavier initial weights, batch norm, or fewer layers"
        yield Finding("vanishing-gradient", first.name, f"gradients vanish, {shown}: {advice}")
    elif norms[0] > EXPLODED * norms[-1]:
        advice = "use smaller initial weights (kaiming or xavier), batch norm, or nn.utils.clip_grad_norm_"
        yield Finding("exploding-gradient", first.name, f"gradients explode, {shown}: {advice}")


def check_weights(model: Any) -> Iterator[Finding]:
    """Units of a hidden layer that start alike stay alike."""
    named = [(name, _matrix_of(model, name)) for name, _ in model.named_modules()]
    matrices = [(name, to_numpy(weight)) for name, weight in named if weight is not None]
    for name, weight in matrices[:-1]:
        if len(weight) > 1 and (weight == weight[:1]).all():
            advice = "start with random weights, such as nn.init.kaiming_uniform_"
            sentence = f"all units of layer {name!r} have equal weights, compute the same and stay equal: {advice}"
            yield Finding("equal-weights", name, sentence, "error")


def check_unused(found: Examination) -> Iterator[Finding]:
    """Parameters that the loss does not depend on."""
    if not found.steps:
        trained = [name for name, parameter in found.model.named_parameters() if parameter.requires_grad]
        if not trained:
            sentence = "no parameter requires a gradient: model.requires_grad_() unfreezes them"
        else:
            sentence = "the loss depends on no parameter: look for no_grad(), detach() or .data between model and loss"
        yield Finding("no-graph", "", sentence, "error")
        return
    unused = [n for n, p in found.model.named_parameters() if p.requires_grad and id(p) not in found.leaves]
    if unused:
        listed = ", ".join(unused[:4]) + (", ..." if len(unused) > 4 else "")
        sentence = f"the loss does not depend on {listed}: use the layer in forward, or leave it out"
        yield Finding("unused-parameters", unused[0].rpartition(".")[0], sentence)


# What a loss that contains a softmax or a sigmoid must not be given, and why.
_BEFORE_LOSS = {
    ("cross_entropy", "softmax"): "cross-entropy takes the softmax itself: leave it out, or learning is slow",
    ("log_softmax", "softmax"): "the loss takes the softmax itself: leave it out, or learning is slow",
    ("cross_entropy", "log_softmax"): "cross-entropy takes the log_softmax itself: leave it out, or use NLLLoss",
    ("cross_entropy", "sigmoid"): "cross-entropy wants logits of any size: leave the sigmoid out",
    ("cross_entropy", "relu"): "cross-entropy wants logits of either sign: leave the relu out",
    ("binary_cross_entropy_with_logits", "sigmoid"): "the loss takes the sigmoid itself: leave it out, or use BCELoss",
}


def check_output(found: Examination) -> Iterator[Finding]:
    """An activation before a loss that has its own, log-probabilities that are none."""
    for operation, before, name in found.steps:
        advice = _BEFORE_LOSS.get((operation, before))
        if advice is not None:
            where = f"layer {name!r} is a {before}" if name else f"a {before} is"
            severity: Severity = "warning" if before == "log_softmax" else "error"
            yield Finding("activation-before-loss", name, f"{where} before the loss: {advice}", severity)
            return
    if found.loss_kind == "nll_loss" and found.value is not None and to_numpy(found.output).max() > 1e-6:
        sentence = "NLLLoss was given values above 0, which are no log-probabilities: end with LogSoftmax, or use "
        yield Finding("activation-before-loss", "", sentence + "CrossEntropyLoss on the logits", "error")


def _matrix_of(model: Any, name: str) -> Any:
    weight = getattr(model.get_submodule(name), "weight", None)
    return weight if isinstance(weight, nn.Parameter) and weight.dim() > 1 else None
