"""Trains a model for an experiment; a run that diverges is a result, not an error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from minidl.lab.experiment import Context
from minidl.lab.progress import RunProgress
from minidl.training import Callback, History, NonFiniteLossError, Training


@dataclass(frozen=True)
class Outcome:
    """What was measured; for a run that diverged the step, counted from 1, whose loss was nan or inf, and the error's
    text, else None."""

    history: History
    diverged_at: int | None = None
    failure: str | None = None


def train(
    context: Context,
    model: Any,
    train_data: Iterable[Any],
    *,
    epochs: int,
    optimizer: Any,
    val_data: Iterable[Any] | None = None,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> Outcome:
    """`training.fit` with the progress told to the context; `options` are further ones of `Training`."""
    training = Training(
        model,
        train_data,
        epochs,
        optimizer,
        val_data=val_data,
        callbacks=[RunProgress(context), *callbacks],
        **options,
    )
    try:
        training.run()
    except NonFiniteLossError as error:
        return Outcome(training.history, len(training.history.losses) + 1, str(error))
    return Outcome(training.history)


def thinned(values: Sequence[float], per_point: int) -> tuple[list[float], list[float]]:
    """Steps and means of `values` over runs of `per_point`: a curve that is smooth and small.

    The steps are the middles of the runs, counted from 1.

    >>> thinned([4.0, 2.0, 1.0, 1.0, 0.0], per_point=2)
    ([1.5, 3.5, 5.0], [3.0, 1.0, 0.0])
    """
    starts = range(0, len(values), per_point)
    parts = [values[start : start + per_point] for start in starts]
    steps = [start + (len(part) + 1) / 2 for start, part in zip(starts, parts, strict=True)]
    return steps, [sum(part) / len(part) for part in parts]
