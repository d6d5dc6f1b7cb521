"""Measures a model on data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from minidl import ops
from minidl.autograd import no_grad
from minidl.nn import functional
from minidl.tensor import Tensor

Loss = Callable[[Any, Any], Any]


def evaluate(model: Any, data: Iterable[Any], loss: Loss = functional.cross_entropy) -> tuple[float, float | None]:
    """Mean loss and accuracy (None where targets are not class labels) over the samples of `data`, in eval mode."""
    total, samples, correct = 0.0, 0, 0
    is_classification = True
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            for x, target in data:
                output = model(x)
                total += loss(output, target).item() * len(target)
                samples += len(target)
                hits = count_correct(output, target)
                is_classification = is_classification and hits is not None
                correct += 0 if hits is None else int(hits.item())
    finally:
        model.train(was_training)
    if samples == 0:
        raise ValueError("evaluate: data must hold at least one batch")
    return total / samples, correct / samples if is_classification else None


def count_correct(output: Tensor, target: Tensor) -> Tensor | None:
    """How many rows of logits have their maximum at the label; None where targets are not class labels."""
    if target.is_floating_point() or output.dim() != 2 or target.dim() != 1:
        return None
    return ops.count_correct(output, target.long())
