"""Measures a model on data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from minidl import ops
from minidl.autograd import no_grad
from minidl.nn import functional
from minidl.tensor import Tensor

Loss = Callable[[Any, Any], Any]
Metric = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Evaluation:
    """What was measured: means over the samples, the accuracy None where targets are not class labels."""

    loss: float
    accuracy: float | None
    metrics: dict[str, float]


def evaluate(model: Any, data: Iterable[Any], loss: Loss = functional.cross_entropy) -> tuple[float, float | None]:
    """Mean loss and accuracy (None where targets are not class labels) over the samples of `data`, in eval mode.

    >>> import minidl
    >>> from minidl import nn, training
    >>> batches = [(minidl.tensor([[2.0, 0.0], [0.0, 2.0]]), minidl.tensor([0, 0]))]
    >>> loss, accuracy = training.evaluate(nn.Identity(), batches)
    >>> print(f"{loss:.4f} {accuracy}")
    1.1269 0.5
    """
    measured = measure(model, data, loss, {})
    return measured.loss, measured.accuracy


def measure(model: Any, data: Iterable[Any], loss: Loss, metrics: Mapping[str, Metric]) -> Evaluation:
    """Loss, accuracy and metrics over the samples of `data`, in eval mode; the mode of the model is kept.

    A metric sees all outputs and all targets at once, so that it need not be a mean over batches.
    """
    total, samples, correct = 0.0, 0, 0
    is_classification = True
    kept: list[tuple[Tensor, Tensor]] = []
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
                if metrics:
                    kept.append((output, target))
            if samples == 0:
                raise ValueError("evaluate: data must hold at least one batch")
            figures = _apply(metrics, kept)
    finally:
        model.train(was_training)
    return Evaluation(total / samples, correct / samples if is_classification else None, figures)


def _apply(metrics: Mapping[str, Metric], kept: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    if not metrics:
        return {}
    output, target = (ops.cat(list(parts)) for parts in zip(*kept, strict=True))
    values = {name: metric(output, target) for name, metric in metrics.items()}
    return {name: float(value.item() if isinstance(value, Tensor) else value) for name, value in values.items()}


def count_correct(output: Tensor, target: Tensor) -> Tensor | None:
    """How many rows of logits have their maximum at the label; None where targets are not class labels."""
    if target.is_floating_point() or output.dim() != 2 or target.dim() != 1:
        return None
    return ops.count_correct(output, target.long())
