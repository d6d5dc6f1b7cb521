"""Training: the loop, with callbacks, checkpoints that resume bit by bit, and a stop at the first bad loss."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from minidl import io, optim
from minidl.generator import default_generator
from minidl.nn import functional
from minidl.training.callbacks import Callback, ModelCheckpoint
from minidl.training.checkpoint import CHECKPOINT_VERSION, load_checkpoint, load_model, names_of
from minidl.training.diagnosis import NonFiniteLossError, first_bad_layer, first_bad_weight
from minidl.training.evaluation import Evaluation, Evaluator, Loss, Metric
from minidl.training.history import FIELDS, EpochFigures, History
from minidl.training.interrupt import TrainingInterrupted, deferred_interrupt
from minidl.training.penalties import Penalty
from minidl.training.steps import BadLossError, Steps


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
        accumulate: int = 1,
        penalty: Penalty | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        if schedule_every not in ("step", "epoch"):
            raise ValueError(f"fit: schedule_every must be 'step' or 'epoch', got {schedule_every!r}")
        if len(train_data) == 0:
            raise ValueError("fit: train_data must hold at least one batch")
        if accumulate < 1:
            raise ValueError(f"fit: accumulate must be at least 1, got {accumulate}")
        if metrics and val_data is None:
            raise ValueError("fit: metrics are measured on val_data; pass it")
        taken = sorted(set(metrics or {}) & set(FIELDS))
        if taken:
            raise ValueError(f"fit: metrics must have names of their own, got {', '.join(taken)}")
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
        self.accumulate = accumulate
        self.metrics = dict(metrics or {})
        self.history = History()
        self.epoch = 0
        self.should_stop = False
        self.steps_per_epoch = -(-len(train_data) // accumulate)
        of_steps = scheduler if schedule_every == "step" else None
        before_optimizer = partial(self._notify, "on_before_optimizer_step")
        self._steps = Steps(model, train_data, optimizer, loss, of_steps, accumulate, penalty, before_optimizer)
        self._evaluator = None if val_data is None else Evaluator(model, val_data, loss, self.metrics)
        self._begin_epoch()

    @property
    def step(self) -> int:
        """Steps finished in the epoch under way."""
        return self._step

    @property
    def total_steps(self) -> int:
        """Steps finished in the whole run."""
        return self.epoch * self.steps_per_epoch + self._step

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
        for take_steps in self._remaining_steps():
            self._notify("on_batch_begin")
            self._count(take_steps)
            self._notify("on_batch_end")
            if self._interrupt.is_set:
                self._seconds_before += time.perf_counter() - started
                self._stop_for_interrupt()
        self._read_results(waits=True)
        self._require_finite_weights()
        measured = None
        if self._evaluator is not None:
            measured = self._evaluator.measure()
        if self.scheduler is not None and self.schedule_every == "epoch":
            self._step_scheduler(self.epoch_loss if measured is None else measured.loss)
        self._finish_epoch(measured, self._seconds_before + time.perf_counter() - started)

    def _finish_epoch(self, measured: Evaluation | None, seconds: float) -> None:
        self.epoch += 1
        figures = EpochFigures(
            epoch=self.epoch,
            train_loss=self.epoch_loss,
            train_accuracy=self.epoch_accuracy,
            val_loss=None if measured is None else measured.loss,
            val_accuracy=None if measured is None else measured.accuracy,
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            seconds=seconds,
            samples_per_second=self._samples / max(seconds, 1e-9),
            metrics={} if measured is None else measured.metrics,
        )
        self.history.epochs.append(figures)
        self._begin_epoch()
        self._notify("on_epoch_end", figures)

    def _remaining_steps(self) -> Iterator[Callable[[], int]]:
        """What trains the rest of this epoch; a resumed epoch draws its order again and skips."""
        may_group = not any(getattr(callback, "follows_every_step", True) for callback in self.callbacks)
        now = self._random_state()
        if self._step == 0:
            self._random_at_begin = now
            return self._steps.of_epoch(0, may_group)
        self._set_random_state(self._random_at_begin)
        steps = self._steps.of_epoch(self._step, may_group)
        self._set_random_state(now)
        return steps

    def _count(self, take_steps: Callable[[], int]) -> None:
        """Takes steps and counts them, those before a bad one as well."""
        try:
            self._step += take_steps()
        except BadLossError as error:
            self._step += error.steps_before
            self._read_results(waits=True)
            where = first_bad_layer(self.model, *error.inputs)
            raise NonFiniteLossError(self._describe_failure(str(error), self._step + 1, where)) from None
        self._read_results(waits=False)

    def _read_results(self, waits: bool) -> None:
        results = self._steps.results(waits)
        for i, result in enumerate(results):
            if not math.isfinite(result.loss):
                step, where = self._step - (len(results) - 1 - i), first_bad_weight(self.model)
                raise NonFiniteLossError(self._describe_failure(f"the loss became {result.loss}", step, where))
            self.history.losses.append(result.loss)
            self._loss_sum += result.loss * result.samples
            self._samples += result.samples
            if result.correct is None or self._correct is None:
                self._correct = None
            else:
                self._correct += result.correct

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
        self._read_results(waits=True)
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
                    "accumulate": self.accumulate,
                },
                "history": self.history.state_dict(),
                "callbacks": {name: callback.state_dict() for name, callback in self._named_callbacks()},
            },
            path,
        )

    def load(self, path: str | os.PathLike[str]) -> None:
        """Takes everything back from a checkpoint."""
        state = load_checkpoint(path)
        accumulated = state["progress"]["accumulate"]
        if accumulated != self.accumulate:
            raise ValueError(f"load: {path} has accumulate={accumulated}, this run accumulate={self.accumulate}")
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
        for name, callback in self._named_callbacks():
            callback.load_state_dict(state["callbacks"].get(name, {}))

    def _named_callbacks(self) -> Iterator[tuple[str, Callback]]:
        return zip(names_of(self.callbacks), self.callbacks, strict=True)

    def _generators(self) -> list[Any]:
        own = getattr(self.train_data, "generator", None)
        return [default_generator] + ([own] if own is not None else [])

    def _random_state(self) -> list[Any]:
        return [generator.get_state() for generator in self._generators()]

    def _set_random_state(self, states: list[Any]) -> None:
        for generator, state in zip(self._generators(), states, strict=True):
            generator.set_state(state)
