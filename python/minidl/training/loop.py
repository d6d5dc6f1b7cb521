"""fit(): the training loop, with callbacks, checkpoints that resume bit by bit, and a stop at the first bad loss."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from minidl import io, optim
from minidl.capture import capture, require_finite
from minidl.data import DataLoader
from minidl.generator import default_generator
from minidl.nn import functional
from minidl.training.callbacks import Callback, ModelCheckpoint
from minidl.training.checkpoint import CHECKPOINT_VERSION, load_checkpoint, load_model
from minidl.training.diagnosis import NonFiniteLossError, first_bad_layer, first_bad_weight
from minidl.training.evaluation import Loss, count_correct, evaluate
from minidl.training.history import EpochFigures, History
from minidl.training.interrupt import TrainingInterrupted, deferred_interrupt

# Reading a loss waits for the device; on a GPU that is done for this many steps at once.
GPU_STEPS_PER_READ = 50


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
) -> History:
    """Trains a model and returns the figures of the run.

    Args:
        model: the module; put into training mode.
        train_data: batches (x, target) with a length, such as a DataLoader.
        epochs: passes over `train_data`, those of a resumed checkpoint included.
        optimizer, scheduler: of `optim`; `schedule_every` says when the scheduler steps.
        loss: `loss(model(x), target)` is a scalar, the mean over the batch.
        val_data: measured after every epoch.
        callbacks: see `Callback`; EarlyStopping, ModelCheckpoint, CSVLogger, ProgressBar are at hand.
        resume: a checkpoint of ModelCheckpoint; the run goes on as if it had never stopped, bit by bit.
        config: kept in checkpoints, for programs that build the model from it.

    Raises:
        NonFiniteLossError: the loss or a weight became nan or inf.
        TrainingInterrupted: Ctrl-C, after the step under way.
        ValueError: the checkpoint belongs to another model.
    """
    training = Training(
        model, train_data, epochs, optimizer, loss, scheduler, schedule_every, val_data, callbacks, config
    )
    if resume is not None:
        training.load(resume)
    return training.run()


class Training:
    """A run under way: what callbacks see, and what a checkpoint holds."""

    def __init__(
        self,
        model: Any,
        train_data: Any,
        epochs: int,
        optimizer: Any,
        loss: Loss = functional.cross_entropy,
        scheduler: Any = None,
        schedule_every: Literal["step", "epoch"] = "step",
        val_data: Iterable[Any] | None = None,
        callbacks: Sequence[Callback] = (),
        config: dict[str, Any] | None = None,
    ) -> None:
        if schedule_every not in ("step", "epoch"):
            raise ValueError(f"fit: schedule_every must be 'step' or 'epoch', got {schedule_every!r}")
        if len(train_data) == 0:
            raise ValueError("fit: train_data must hold at least one batch")
        self.model = model
        self.train_data = train_data
        self.epochs = epochs
        self.optimizer = optimizer
        self.loss = loss
        self.scheduler = scheduler
        self.schedule_every = schedule_every
        self.val_data = val_data
        # Checkpoints last: they hold the state that the other callbacks have reached.
        self.callbacks = sorted(callbacks, key=lambda callback: isinstance(callback, ModelCheckpoint))
        self.config = config or {}
        self.history = History()
        self.epoch = 0
        self.should_stop = False
        self.steps_per_epoch = len(train_data)
        is_on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
        self._steps_per_read = 1 if is_on_cpu else GPU_STEPS_PER_READ
        self._pending: list[tuple[Any, Any, int]] = []
        # A loader that gathers its batches by kernels leaves that to the step, where it is captured with the rest.
        gathers = isinstance(train_data, DataLoader) and train_data.gathers_batches()
        self._gather: Any = train_data.dataset.get_batch if gathers else None
        self._captured_step = capture(self._compute_step, strict=False)
        self._begin_epoch()

    @property
    def step(self) -> int:
        """Steps finished in the epoch under way."""
        return self._step

    @property
    def samples(self) -> int:
        """Samples seen in the epoch under way."""
        return self._samples

    @property
    def epoch_loss(self) -> float:
        """Mean training loss of the epoch so far."""
        return self._loss_sum / max(1, self._samples)

    @property
    def epoch_accuracy(self) -> float | None:
        """Training accuracy of the epoch so far, None where targets are not class labels."""
        return None if self._correct is None else self._correct / max(1, self._samples)

    def run(self) -> History:
        """Trains until the last epoch, or until a callback sets `should_stop`."""
        try:
            self._notify("on_train_begin")
            with deferred_interrupt() as self._interrupt:
                while self.epoch < self.epochs and not self.should_stop:
                    self._run_epoch()
            self._notify("on_train_end")
        finally:
            self._notify("on_exit")
        return self.history

    def _begin_epoch(self) -> None:
        self._step = 0
        self._samples = 0
        self._loss_sum = 0.0
        self._correct: int | None = 0
        self._seconds_before = 0.0
        self._random_at_begin = self._random_state()

    def _run_epoch(self) -> None:
        self._notify("on_epoch_begin")
        self.model.train()
        started = time.perf_counter()
        for batch in self._remaining_batches():
            self._train_step(batch)
            if self._interrupt.is_set:
                self._seconds_before += time.perf_counter() - started
                self._stop_for_interrupt()
        self._read_pending()
        self._require_finite_weights()
        val_loss, val_accuracy = None, None
        if self.val_data is not None:
            val_loss, val_accuracy = evaluate(self.model, self.val_data, self.loss)
        if self.scheduler is not None and self.schedule_every == "epoch":
            self._step_scheduler(self.epoch_loss if val_loss is None else val_loss)
        self._finish_epoch(val_loss, val_accuracy, self._seconds_before + time.perf_counter() - started)

    def _finish_epoch(self, val_loss: float | None, val_accuracy: float | None, seconds: float) -> None:
        self.epoch += 1
        figures = EpochFigures(
            epoch=self.epoch,
            train_loss=self.epoch_loss,
            train_accuracy=self.epoch_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            seconds=seconds,
            samples_per_second=self._samples / max(seconds, 1e-9),
        )
        self.history.epochs.append(figures)
        self._begin_epoch()
        self._notify("on_epoch_end", figures)

    def _remaining_batches(self) -> Iterator[Any]:
        """What _compute_step takes, for the rest of this epoch; a resumed epoch draws its order again and skips."""
        now = self._random_state()
        if self._step == 0:
            self._random_at_begin = now
            return self._batches()
        self._set_random_state(self._random_at_begin)
        batches = self._batches()
        for _ in itertools.islice(batches, self._step):
            pass
        self._set_random_state(now)
        return batches

    def _batches(self) -> Iterator[Any]:
        if self._gather is None:
            return iter(self.train_data)
        return ((index,) for index in self.train_data.index_batches())

    def _load(self, batch: Any) -> Any:
        return batch if self._gather is None else self._gather(*batch)

    def _train_step(self, batch: Any) -> None:
        try:
            loss, correct = self._captured_step(*batch)
        except FloatingPointError as error:
            where = first_bad_layer(self.model, self._load(batch)[0])
            raise NonFiniteLossError(self._describe_failure(str(error), self._step + 1, where)) from None
        if self._steps_per_read > 1:  # the next replay writes to the same memory
            loss, correct = loss.clone(), None if correct is None else correct.clone()
        self._pending.append((loss, correct, len(batch[-1])))
        if len(self._pending) >= self._steps_per_read:
            self._read_pending()
        if self.scheduler is not None and self.schedule_every == "step":
            self.scheduler.step()
        self._step += 1
        self._notify("on_batch_end")

    def _compute_step(self, *batch: Any) -> tuple[Any, Any]:
        """The part of a step that is captured: (loss, number of hits or None)."""
        x, target = self._load(batch)
        self.optimizer.zero_grad()
        output = self.model(x)
        loss = self.loss(output, target)
        if self._steps_per_read == 1:  # before the weights are touched
            require_finite(loss.detach(), "the loss")
        loss.backward()
        self.optimizer.step()
        return loss, count_correct(output, target)

    def _read_pending(self) -> None:
        pending, self._pending = self._pending, []
        for i, (loss, correct, count) in enumerate(pending):
            value = loss.item()
            if not math.isfinite(value):
                step, where = self._step - (len(pending) - 1 - i), first_bad_weight(self.model)
                raise NonFiniteLossError(self._describe_failure(f"the loss became {value}", step, where))
            self.history.losses.append(value)
            self._loss_sum += value * count
            self._samples += count
            self._correct = None if correct is None or self._correct is None else self._correct + int(correct.item())

    def _require_finite_weights(self) -> None:
        bad = first_bad_weight(self.model)
        if bad:
            raise NonFiniteLossError(self._describe_failure("a weight became nan or inf", self._step, bad))

    def _describe_failure(self, what: str, step: int, where: str | None) -> str:
        text = f"fit: {what} at epoch {self.epoch + 1}, step {step} of {self.steps_per_epoch}; went bad first: {where}"
        kept = [callback.path for callback in self.callbacks if isinstance(callback, ModelCheckpoint)]
        saved = [str(path) for path in kept if self.epoch > 0 and Path(path).exists()]
        if saved:
            text += f"; the last good checkpoint, after epoch {self.epoch}, is kept: {', '.join(saved)}"
        return text + "; a smaller learning rate usually helps"

    def _step_scheduler(self, measured: float) -> None:
        if isinstance(self.scheduler, optim.lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(measured)
        else:
            self.scheduler.step()

    def _stop_for_interrupt(self) -> None:
        self._read_pending()
        self._require_finite_weights()
        self._notify("on_interrupt")
        raise TrainingInterrupted(
            f"stopped in epoch {self.epoch + 1} after step {self._step} of {self.steps_per_epoch}"
        )

    def _notify(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)

    # ---- checkpoints

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything the run needs to go on: model, optimizer, scheduler, random state, progress, figures."""
        io.save(
            {
                "checkpoint_version": CHECKPOINT_VERSION,
                "config": self.config,
                "model": dict(self.model.state_dict()),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
                "random": self._random_state(),
                "random_at_begin": self._random_at_begin,
                "progress": {
                    "epoch": self.epoch,
                    "step": self._step,
                    "samples": self._samples,
                    "loss_sum": self._loss_sum,
                    "correct": self._correct,
                    "seconds": self._seconds_before,
                    "should_stop": self.should_stop,
                },
                "history": self.history.state_dict(),
                "callbacks": {type(callback).__name__: callback.state_dict() for callback in self.callbacks},
            },
            path,
        )

    def load(self, path: str | os.PathLike[str]) -> None:
        """Takes everything back from a checkpoint."""
        state = load_checkpoint(path)
        load_model(self.model, state["model"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.history.load_state_dict(state["history"])
        progress = state["progress"]
        self.epoch, self._step, self._samples = progress["epoch"], progress["step"], progress["samples"]
        self._loss_sum, self._correct = progress["loss_sum"], progress["correct"]
        self._seconds_before, self.should_stop = progress["seconds"], progress["should_stop"]
        self._random_at_begin = state["random_at_begin"]
        self._set_random_state(state["random"])
        for callback in self.callbacks:
            callback.load_state_dict(state["callbacks"].get(type(callback).__name__, {}))

    def _generators(self) -> list[Any]:
        own = getattr(self.train_data, "generator", None)
        return [default_generator] + ([own] if own is not None else [])

    def _random_state(self) -> list[Any]:
        return [generator.get_state() for generator in self._generators()]

    def _set_random_state(self, states: list[Any]) -> None:
        for generator, state in zip(self._generators(), states, strict=True):
            generator.set_state(state)
