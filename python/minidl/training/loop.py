"""Training: the loop, with callbacks, checkpoints that resume bit by bit, and a stop at the first bad loss."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from minidl import io, optim
from minidl.capture import Record, capture, require_finite
from minidl.generator import default_generator
from minidl.nn import functional
from minidl.training.batches import BatchSource
from minidl.training.callbacks import Callback, ModelCheckpoint
from minidl.training.checkpoint import CHECKPOINT_VERSION, load_checkpoint, load_model, names_of
from minidl.training.diagnosis import NonFiniteLossError, first_bad_layer, first_bad_weight
from minidl.training.evaluation import Evaluation, Evaluator, Loss, Metric, count_correct
from minidl.training.history import FIELDS, EpochFigures, History
from minidl.training.interrupt import TrainingInterrupted, deferred_interrupt
from minidl.training.penalties import Penalty
from minidl.training.results import ResultLog, device_of_model
from minidl.training.schedules import StepSchedule

# Reading losses waits for the device, and a GPU then has nothing to do until more steps are launched: there it is done
# for so many steps at once, and not sooner than so long after the last time.
GPU_STEPS_PER_READ = 50
GPU_SECONDS_PER_READ = 0.02
MOST_UNREAD_STEPS = 1000
# Steps without Python between them: as many as one graph of a GPU holds (csrc/cuda/replayer.h). On the CPU fewer where
# they take longer than this, as progress and Ctrl-C wait for them.
STEPS_PER_GROUP = 16
CPU_SECONDS_PER_GROUP = 0.1


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
        self.penalty = penalty
        self.metrics = dict(metrics or {})
        self.history = History()
        self.epoch = 0
        self.should_stop = False
        self.steps_per_epoch = -(-len(train_data) // accumulate)
        where = device_of_model(model)
        self._is_on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
        self._steps_per_group = 1 if self._is_on_cpu else STEPS_PER_GROUP  # until it is known how long a step takes
        self._pending: list[list[int]] = []  # samples in each batch of the steps whose results are not read yet
        self._read_at = 0.0
        self._results = ResultLog((MOST_UNREAD_STEPS + STEPS_PER_GROUP) * accumulate, where)
        self._source = BatchSource(train_data)
        self._are_grouped = False
        self._schedule = StepSchedule(scheduler if schedule_every == "step" else None, optimizer, where)
        self._captured_step = capture(self._compute_step, strict=False)
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
            take_steps()
            if self._interrupt.is_set:
                self._seconds_before += time.perf_counter() - started
                self._stop_for_interrupt()
        self._read_pending()
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

    def _remaining_steps(self) -> Iterator[Callable[[], None]]:
        """What trains the rest of this epoch, a step or a group of steps at a time; a resumed epoch draws its order
        again and skips."""
        now = self._random_state()
        if self._step == 0:
            self._random_at_begin = now
            return self._steps_from(0)
        self._set_random_state(self._random_at_begin)
        steps = self._steps_from(self._step)
        self._set_random_state(now)
        return steps

    def _steps_from(self, first: int) -> Iterator[Callable[[], None]]:
        """The order of the epoch is drawn at the call."""
        stacks = self._source.stacks(first, STEPS_PER_GROUP) if self._may_group() else None
        self._are_grouped = stacks is not None
        if stacks is not None:
            return (partial(self._train_group, stack) for stack in stacks)
        batches = iter(self._source)
        for _ in itertools.islice(batches, first * self.accumulate):
            pass
        steps = iter(lambda: tuple(itertools.islice(batches, self.accumulate)), ())
        return (partial(self._train_step, step) for step in steps)

    def _may_group(self) -> bool:
        """Whether nothing is to happen in Python between two steps."""
        if self.accumulate > 1 or not self._schedule.is_known_ahead:
            return False
        return not any(getattr(callback, "follows_every_step", True) for callback in self.callbacks)

    def _train_step(self, batches: tuple[Any, ...]) -> None:
        self._notify("on_batch_begin")
        try:
            self._captured_step(batches, self._schedule.arrays() if self._are_grouped else [])
        except FloatingPointError as error:
            raise self._failed_at(batches, error) from None
        self._count_steps([[len(batch[-1]) for batch in batches]])
        self._schedule.step()
        self._notify("on_batch_end")

    def _train_group(self, stack: tuple[Any, ...]) -> None:
        """Steps on each of the batches that the first axis counts."""
        steps, done = len(stack[0]), 0
        while done < steps and not self._interrupt.is_set:
            first = _row(stack, done)
            record = self._captured_step.recorded((first,), self._schedule.arrays())
            if record is None:
                self._train_step((first,))
                done += 1
            else:
                count = min(steps - done, self._steps_per_group)
                self._replay(record, tuple(part[done : done + count] for part in stack))
                done += count

    def _replay(self, record: Record, stack: tuple[Any, ...]) -> None:
        """The recorded step on each of the batches."""
        steps, samples = stack[0].shape
        self._notify("on_batch_begin")
        finished_before = self._results.count() if self._is_on_cpu else 0
        begin = time.perf_counter()
        try:
            record.replay_each([*stack, *self._schedule.stacked_arrays(steps)])
        except FloatingPointError as error:
            finished = self._results.count() - finished_before
            self._count_steps([[samples]] * finished)
            raise self._failed_at((_row(stack, finished),), error) from None
        if self._is_on_cpu:  # a GPU goes on while the host is here
            most = int(CPU_SECONDS_PER_GROUP * steps / (time.perf_counter() - begin))
            self._steps_per_group = max(1, min(most, STEPS_PER_GROUP))
        self._count_steps([[samples]] * steps)
        self._notify("on_batch_end")

    def _failed_at(self, batches: tuple[Any, ...], error: FloatingPointError) -> NonFiniteLossError:
        """What to raise for the step after those that are counted."""
        where = first_bad_layer(self.model, *(self._source.load(batch)[0] for batch in batches))
        return NonFiniteLossError(self._describe_failure(str(error), self._step + 1, where))

    def _count_steps(self, samples: list[list[int]]) -> None:
        """After steps on batches of so many samples."""
        self._step += len(samples)
        self._pending += samples
        if self._is_time_to_read():
            self._read_pending()
            self._read_at = time.perf_counter()

    def _is_time_to_read(self) -> bool:
        if self._is_on_cpu or len(self._pending) >= MOST_UNREAD_STEPS:
            return True
        has_waited = time.perf_counter() - self._read_at >= GPU_SECONDS_PER_READ
        return len(self._pending) >= GPU_STEPS_PER_READ and has_waited

    def _compute_step(self, batches: tuple[Any, ...], schedules: list[Any]) -> None:
        """The part of a step that is captured. The optimizer's kernels read the schedules."""
        self.optimizer.zero_grad()
        samples = sum(len(batch[-1]) for batch in batches)
        for i, batch in enumerate(batches):
            x, target = self._source.load(batch)
            output = self.model(x)
            loss = self.loss(output, target)
            objective = loss if len(batches) == 1 else loss * (len(batch[-1]) / samples)
            if self.penalty is not None and i == 0:  # once a step, not once a batch
                objective = objective + self.penalty(self.model)
            if self._is_on_cpu:  # before the weights are touched
                require_finite(objective.detach(), "the loss")
            objective.backward()
            self._results.append(loss, count_correct(output, target))
        self._notify("on_before_optimizer_step")
        self.optimizer.step()

    def _read_pending(self) -> None:
        pending, self._pending = self._pending, []
        results = iter(self._results.last(sum(map(len, pending))) if pending else ())
        for i, counts in enumerate(pending):
            read = list(itertools.islice(results, len(counts)))
            samples = sum(counts)
            total = sum(loss * count for (loss, _), count in zip(read, counts, strict=True))
            mean = read[0][0] if len(read) == 1 else total / samples
            if not math.isfinite(mean):
                step, where = self._step - (len(pending) - 1 - i), first_bad_weight(self.model)
                raise NonFiniteLossError(self._describe_failure(f"the loss became {mean}", step, where))
            self.history.losses.append(mean)
            self._loss_sum += total
            self._samples += samples
            for _, correct in read:
                self._correct = None if correct is None or self._correct is None else self._correct + correct

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


def _row(stack: tuple[Any, ...], i: int) -> tuple[Any, ...]:
    return tuple(part[i] for part in stack)
