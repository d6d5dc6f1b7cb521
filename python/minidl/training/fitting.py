"""fit(): trains a model in one call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from minidl.nn import functional
from minidl.training.callbacks import Callback
from minidl.training.evaluation import Loss, Metric
from minidl.training.history import History
from minidl.training.loop import Training
from minidl.training.penalties import Penalty


def fit(
    model: Any,
    train_data: Iterable[Any],
    *,
    epochs: int,
    optimizer: Any,
    loss: Loss = functional.cross_entropy,
    scheduler: Any = None,
    schedule_every: Literal["step", "epoch"] = "step",
    val_data: Iterable[Any] | None = None,
    callbacks: Sequence[Callback] = (),
    resume: str | os.PathLike[str] | None = None,
    config: dict[str, Any] | None = None,
    accumulate: int = 1,
    penalty: Penalty | None = None,
    metrics: Mapping[str, Metric] | None = None,
) -> History:
    """Trains a model and returns the figures of the run.

    A step - forward, backward, optimizer - is captured: Python runs it twice for each shape of batches, C++ from then
    on, with the same numbers bit by bit; so is what is done for a batch of `val_data`. Up to 16 steps follow each
    other without Python between them, on the CPU for up to 0.1 s, where the data lie in memory of the device, no
    callback follows every step and the scheduler is one of minidl's.

    Args:
        model: the module; put into training mode.
        train_data: batches (x, target) with a length, such as a DataLoader.
        epochs: passes over `train_data`, those of a resumed checkpoint included.
        optimizer, scheduler: of `optim`; `schedule_every` says when the scheduler steps.
        loss: `loss(model(x), target)` is a scalar, the mean over the batch.
        val_data: measured after every epoch.
        callbacks: see `Callback`; EarlyStopping, ModelCheckpoint, CSVLogger, ProgressBar, LearningRateMonitor,
            GradientClipping and TensorBoard are at hand.
        resume: a checkpoint of ModelCheckpoint; the run goes on as if it had never stopped, bit by bit.
        config: kept in checkpoints, for programs that build the model from it.
        accumulate: batches in a step. Each loss counts by its samples, so that a step with k batches of n is one with a
            batch of k * n up to rounding, but for batch norm, which sees n samples at a time. The last step of an epoch
            has what is left. Schedulers and callbacks count steps: ceil(len(train_data) / accumulate) in an epoch.
        penalty: `penalty(model)` is a scalar added to the loss of every step, such as `l1_penalty(1e-4)`. The losses in
            the history are without it, so that those of training and validation can be compared.
        metrics: name -> `metric(output, target)`, a number or a tensor of one, of the whole of `val_data` after every
            epoch; the functions of `training.metrics` will do.

    Raises:
        NonFiniteLossError: the loss or a weight became nan or inf.
        TrainingInterrupted: Ctrl-C, after the step or the steps under way.
        ValueError: an argument out of range, or a checkpoint of another model or another `accumulate`.

    >>> import minidl
    >>> from minidl import nn, optim, training
    >>> from minidl.data import DataLoader, TensorDataset
    >>> x = minidl.rand(64, 3)
    >>> batches = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 16, shuffle=True)
    >>> model = nn.Linear(3, 1)
    >>> history = training.fit(
    ...     model, batches, epochs=20, optimizer=optim.SGD(model.parameters(), lr=0.2),
    ...     loss=nn.functional.mse_loss, val_data=batches, metrics={"r2": training.metrics.r2_score},
    ... )
    >>> history.epochs[-1].train_loss < history.epochs[0].train_loss / 10, history.epochs[-1].metrics["r2"] > 0.9
    (True, True)
    """
    training = Training(
        model,
        train_data,
        epochs,
        optimizer,
        loss,
        scheduler,
        schedule_every,
        val_data,
        callbacks,
        config,
        accumulate,
        penalty,
        metrics,
    )
    if resume is not None:
        training.load(resume)
    return training.run()
