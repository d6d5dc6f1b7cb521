"""lr_find(): which learning rates a model can be trained with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np

from minidl.capture import capture
from minidl.nn import functional
from minidl.training.batches import BatchSource
from minidl.training.evaluation import Loss
from minidl.training.preserved import preserved
from minidl.training.sweep import LearningRateSweep


def lr_find(
    model: Any,
    train_data: Iterable[Any],
    optimizer: Any,
    *,
    loss: Loss = functional.cross_entropy,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.05,
    divergence: float = 4.0,
) -> LearningRateSweep:
    """The learning-rate range test (Smith 2015): trains for a few steps while the rate grows, and watches the loss.

    Step i of n has the rate lowest * (highest / lowest)^(i / (n - 1)), in all parameter groups. The smoothed loss is
    the running mean s = (1 - smoothing) * s + smoothing * loss, divided by 1 - (1 - smoothing)^(i + 1) as Adam's means
    are. The sweep ends when it is `divergence` times its lowest value, or the loss is not finite.

    Afterwards everything is as it was, bit by bit, however the sweep ended: weights, buffers, gradients and modes of
    the model; state and options of the optimizer; the random generators of minidl, the loader, Python and NumPy.

    Args:
        train_data: batches (x, target), such as a DataLoader; gone through again where it holds less than `steps`.
        loss: `loss(model(x), target)` is a scalar.

    Raises ValueError for arguments out of range, no batches, and a first loss that is not finite.

    >>> import minidl
    >>> from minidl import nn, optim
    >>> from minidl.data import DataLoader, TensorDataset
    >>> _ = minidl.manual_seed(0)
    >>> x = minidl.randn(256, 8)
    >>> batches = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), 32, shuffle=True)
    >>> model = nn.Linear(8, 2)
    >>> sweep = minidl.lr_find(model, batches, optim.SGD(model.parameters(), lr=0.1), lowest=1e-4, highest=1e3)
    >>> sweep.rates[0], sweep.losses.shape == sweep.smoothed.shape == sweep.rates.shape
    (np.float64(0.0001), True)
    >>> 0.01 < sweep.suggestion < 10
    True
    """
    _require_ranges(lowest, highest, steps, smoothing, divergence)
    source = BatchSource(train_data)
    rates = lowest * (highest / lowest) ** (np.arange(steps) / (steps - 1))

    def compute(*batch: Any) -> Any:
        x, target = source.load(batch)
        optimizer.zero_grad()
        value = loss(model(x), target)
        value.backward()
        optimizer.step()
        return value

    with preserved(model, optimizer, train_data):
        model.train()
        step = capture(compute, strict=False)

        def measure() -> Iterator[float]:
            for rate, batch in zip(rates, _endless(source), strict=False):
                for group in optimizer.param_groups:
                    group["lr"] = float(rate)
                yield step(*batch).item()

        losses, smoothed, stopped = _watch(measure(), smoothing, divergence)
    if not losses:
        raise ValueError("lr_find: the first loss is not finite, before any step was made: look at the data")
    return LearningRateSweep(rates[: len(losses)], np.array(losses), np.array(smoothed), smoothing, stopped)


def _watch(
    measured: Iterator[float], smoothing: float, divergence: float
) -> tuple[list[float], list[float], Literal["finished", "diverged", "not finite"]]:
    """Takes losses until they diverge or end: (losses, smoothed, why it ended)."""
    losses: list[float] = []
    smoothed: list[float] = []
    mean, best = 0.0, math.inf
    for value in measured:
        if not math.isfinite(value):
            return losses, smoothed, "not finite"
        losses.append(value)
        mean = (1 - smoothing) * mean + smoothing * value
        smoothed.append(mean / (1 - (1 - smoothing) ** len(losses)))
        best = min(best, smoothed[-1])
        # divergence * best for the losses above 0, and something above best for those below, too
        if smoothed[-1] > best + (divergence - 1) * abs(best):
            return losses, smoothed, "diverged"
    return losses, smoothed, "finished"


def _endless(source: BatchSource) -> Iterator[Any]:
    """Pass after pass; ValueError where one is empty."""
    while True:
        count = 0
        for batch in source:
            count += 1
            yield batch
        if count == 0:
            raise ValueError("lr_find: train_data must hold at least one batch")


def _require_ranges(lowest: float, highest: float, steps: int, smoothing: float, divergence: float) -> None:
    if not 0 < lowest < highest < math.inf:
        raise ValueError(f"lr_find: rates must satisfy 0 < lowest < highest, got {lowest} and {highest}")
    if steps < 2:
        raise ValueError(f"lr_find: steps must be at least 2, got {steps}")
    if not 0 < smoothing <= 1:
        raise ValueError(f"lr_find: smoothing must be above 0 and at most 1, got {smoothing}")
    if not divergence > 1:
        raise ValueError(f"lr_find: divergence must be above 1, got {divergence}")
