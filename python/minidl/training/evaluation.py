"""Measures a model on data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minidl import ops
from minidl.autograd import no_grad
from minidl.capture import capture
from minidl.nn import functional
from minidl.tensor import Tensor
from minidl.training.batches import BatchSource
from minidl.training.results import ResultLog, device_of_model

Loss = Callable[[Any, Any], Any]
Metric = Callable[[Any, Any], Any]
# Reading waits for the device.
BATCHES_PER_READ = 64


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
    measured = Evaluator(model, data, loss, captures=False).measure()
    return measured.loss, measured.accuracy


class Evaluator:
    """Measures a model on data, time after time, in eval mode; the mode of the model is kept.

    Losses are left on the device and read for many batches at once. What is done for a batch is captured, as the steps
    of `fit` are, unless `captures` is False: it pays from the third batch of a shape on.

    Args:
        metrics: name -> `metric(output, target)`, which sees all outputs and all targets at once, so that it need not
            be a mean over batches.
    """

    def __init__(
        self,
        model: Any,
        data: Iterable[Any],
        loss: Loss,
        metrics: Mapping[str, Metric] | None = None,
        captures: bool = True,
    ) -> None:
        self.model = model
        self.loss = loss
        self.metrics = dict(metrics or {})
        self._source = BatchSource(data)
        self._is_captured = captures
        self._step = capture(self._compute, strict=False)
        self._results = ResultLog(BATCHES_PER_READ, device_of_model(model))

    def measure(self) -> Evaluation:
        """Means over the samples; ValueError where the data hold no batch."""
        total, samples, correct = 0.0, 0, 0
        is_classification = True
        kept: list[tuple[Tensor, Tensor]] = []
        was_training = self.model.training
        self.model.eval()
        try:
            with no_grad():
                for counts in self._read_after(kept):
                    for count, (loss, hits) in zip(counts, self._results.last(len(counts)), strict=True):
                        total += loss * count
                        samples += count
                        is_classification = is_classification and hits is not None
                        correct += hits or 0
                if samples == 0:
                    raise ValueError("evaluate: data must hold at least one batch")
                figures = _apply(self.metrics, kept)
        finally:
            self.model.train(was_training)
        return Evaluation(total / samples, correct / samples if is_classification else None, figures)

    def _read_after(self, kept: list[tuple[Tensor, Tensor]]) -> Iterator[list[int]]:
        """Does the batches; the samples of each of those whose results are to be read now."""
        stacks = None if self.metrics or not self._is_captured else self._source.stacks(0, BATCHES_PER_READ)
        if stacks is not None:
            for stack in stacks:
                self._step.each(*stack)
                yield [stack[-1].shape[1]] * len(stack[-1])
            return
        counts: list[int] = []
        for batch in self._source:
            if not self._is_captured:
                kept += self._compute(*batch)
            else:  # the next batch writes to the same memory
                kept += [(output.clone(), target.clone()) for output, target in self._step(*batch)]
            counts.append(len(batch[-1]))
            if len(counts) == BATCHES_PER_READ:
                yield counts
                counts = []
        if counts:
            yield counts

    def _compute(self, *batch: Any) -> list[tuple[Tensor, Tensor]]:
        """The part that is captured: output and target where a metric wants them."""
        x, target = self._source.load(batch)
        output = self.model(x)
        self._results.append(self.loss(output, target), count_correct(output, target))
        return [(output, target)] if self.metrics else []


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
