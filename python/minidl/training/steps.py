"""Steps: what is done on the batches of an epoch, one step at a time or several without Python between them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from minidl.capture import Record, capture, require_finite
from minidl.training.batches import BatchSource
from minidl.training.evaluation import Loss, count_correct
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


@dataclass(frozen=True)
class StepResult:
    """What a step gave: the mean loss of its samples, and how many were classified rightly or None."""

    loss: float
    samples: int
    correct: int | None


class BadLossError(FloatingPointError):
    """The loss of a step became nan or inf, before the weights were touched; `inputs` are those of its batches."""

    def __init__(self, message: str, steps_before: int, inputs: list[Any]) -> None:
        super().__init__(message)
        self.steps_before = steps_before  # finished by the same call
        self.inputs = inputs


class Steps:
    """Gradients of a batch (or of the sum over `accumulate` batches), then one step of the optimizer and the scheduler.

    What is computed is captured; the results are left on the device until they are read.
    """

    def __init__(
        self,
        model: Any,
        train_data: Iterable[Any],
        optimizer: Any,
        loss: Loss,
        scheduler: Any,
        accumulate: int,
        penalty: Penalty | None,
        before_optimizer: Callable[[], None],
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.accumulate = accumulate
        self.penalty = penalty
        self.before_optimizer = before_optimizer
        where = device_of_model(model)
        self._is_on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
        self._source = BatchSource(train_data)
        self._schedule = StepSchedule(scheduler, optimizer, where)
        self._are_grouped = False
        self._steps_per_group = 1 if self._is_on_cpu else STEPS_PER_GROUP  # until it is known how long a step takes
        self._results = ResultLog((MOST_UNREAD_STEPS + STEPS_PER_GROUP) * accumulate, where)
        self._unread: list[list[int]] = []  # samples in each batch of the steps whose results are not read yet
        self._read_at = 0.0
        self.captured = capture(self._compute, strict=False)

    def of_epoch(self, first: int, may_group: bool) -> Iterator[Callable[[], int]]:
        """What takes the steps of an epoch from the step `first` on: each call one or, where it may, several; it
        returns how many, and raises BadLossError. The order of the epoch is drawn now."""
        may_group = may_group and self.accumulate == 1 and self._schedule.is_known_ahead
        stacks = self._source.stacks(first, STEPS_PER_GROUP) if may_group else None
        self._are_grouped = stacks is not None
        if stacks is not None:
            return itertools.chain.from_iterable(map(self._calls_of, stacks))
        batches = iter(self._source)
        for _ in itertools.islice(batches, first * self.accumulate):
            pass
        steps = iter(lambda: tuple(itertools.islice(batches, self.accumulate)), ())
        return (partial(self._take, step) for step in steps)

    def results(self, waits: bool) -> list[StepResult]:
        """Those of the steps since the last call; none yet where reading them would keep a GPU waiting, unless
        `waits`."""
        if not (waits or self._is_time_to_read()):
            return []
        unread, self._unread = self._unread, []
        single = iter(self._results.last(sum(map(len, unread))) if unread else ())
        results = [_summed(list(itertools.islice(single, len(counts))), counts) for counts in unread]
        self._read_at = time.perf_counter()
        return results

    def _is_time_to_read(self) -> bool:
        if self._is_on_cpu or len(self._unread) >= MOST_UNREAD_STEPS:
            return True
        has_waited = time.perf_counter() - self._read_at >= GPU_SECONDS_PER_READ
        return len(self._unread) >= GPU_STEPS_PER_READ and has_waited

    def _calls_of(self, stack: tuple[Any, ...]) -> Iterator[Callable[[], int]]:
        """For the batches that the first axis counts; each call is made before the next one is asked for."""
        steps, done = len(stack[0]), 0
        while done < steps:
            batch = _row(stack, done)
            record = self.captured.recorded((batch,), self._schedule.arrays())
            if record is None:
                yield partial(self._take, (batch,))
                done += 1
            else:
                end = min(steps, done + self._steps_per_group)
                yield partial(self._replay, record, tuple(part[done:end] for part in stack))
                done = end

    def _take(self, batches: tuple[Any, ...]) -> int:
        """One step."""
        try:
            self.captured(batches, self._schedule.arrays() if self._are_grouped else [])
        except FloatingPointError as error:
            raise self._bad_loss(error, 0, batches) from None
        self._unread.append([len(batch[-1]) for batch in batches])
        self._schedule.step()
        return 1

    def _replay(self, record: Record, stack: tuple[Any, ...]) -> int:
        """The recorded step on each of the batches."""
        steps, samples = stack[0].shape
        finished_before = self._results.count() if self._is_on_cpu else 0
        begin = time.perf_counter()
        try:
            record.replay_each([*stack, *self._schedule.stacked_arrays(steps)])
        except FloatingPointError as error:
            finished = self._results.count() - finished_before
            self._unread += [[samples]] * finished
            raise self._bad_loss(error, finished, (_row(stack, finished),)) from None
        if self._is_on_cpu:  # a GPU goes on while the host is here
            most = int(CPU_SECONDS_PER_GROUP * steps / (time.perf_counter() - begin))
            self._steps_per_group = max(1, min(most, STEPS_PER_GROUP))
        self._unread += [[samples]] * steps
        return int(steps)

    def _bad_loss(self, error: FloatingPointError, steps_before: int, batches: tuple[Any, ...]) -> BadLossError:
        return BadLossError(str(error), steps_before, [self._source.load(batch)[0] for batch in batches])

    def _compute(self, batches: tuple[Any, ...], schedules: list[Any]) -> None:
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
        self.before_optimizer()
        self.optimizer.step()


def _summed(results: list[tuple[float, int | None]], counts: list[int]) -> StepResult:
    """The result of a step from those of its batches of so many samples."""
    samples = sum(counts)
    mean = results[0][0]
    if len(results) > 1:
        mean = sum(loss * count for (loss, _), count in zip(results, counts, strict=True)) / samples
    hits = [correct for _, correct in results]
    return StepResult(mean, samples, None if None in hits else sum(hit or 0 for hit in hits))


def _row(stack: tuple[Any, ...], i: int) -> tuple[Any, ...]:
    return tuple(part[i] for part in stack)
