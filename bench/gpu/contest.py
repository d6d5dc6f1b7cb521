"""Contenders at one piece of work: right first, then timed by turns in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gpu.log import Figures
from minidl.bench import Plan
from minidl.bench.timing import take_turns
from minidl.selftest.check import Expected

# A sample has several calls, so that the time to read two events does not show in it.
SAMPLE_SECONDS = 1e-3
Clock = Callable[[Callable[[], object]], float]


def _nothing() -> None:
    """The default of `Contender.poison`."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work. Of several `calls` each uses other memory, so that L2 has nothing of the last one's.

    Args:
        sample: after calls[0], the part of the result that is compared, as a NumPy array.
        wanted: what the sample must be, in float64.
        epsilons, scale: as in `selftest.check.Expected`.
        work_per_call: how often a call does the work, as a graph of several steps.
        poison: makes the output nan before calls[0], where several contenders write to the same one.
    """

    name: str
    calls: Sequence[Callable[[], object]]
    sample: Callable[[], Any]
    wanted: Any
    epsilons: float
    scale: Any = 1.0
    work_per_call: int = 1
    poison: Callable[[], object] = _nothing

    def complaint(self) -> str:
        """Runs the first call, and says what is wrong with its result; empty where nothing is."""
        self.poison()
        self.calls[0]()
        expected = Expected(np.asarray(self.sample()), np.asarray(self.wanted), self.epsilons, self.scale)
        if expected.out.shape != expected.wanted.shape:
            return f"{self.name} gives the shape {expected.out.shape} instead of {expected.wanted.shape}"
        error = expected.worst_error()
        if error <= self.epsilons:
            return ""
        return f"{self.name} is wrong: {error:.3g} epsilons off, {self.epsilons:.3g} allowed"


Others = Mapping[str, Callable[[], Contender]]
NOBODY: Others = {}


class Turns:
    """A contender as `timing.take_turns` asks it for samples. A guest's error only ends its own turns."""

    def __init__(self, contender: Contender, clock: Clock, is_guest: bool = False) -> None:
        self.contender = contender
        self.is_guest = is_guest
        self.clock = clock
        self.calls = 0
        self.next = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Seconds of one piece of work, sample by sample."""
        try:
            return self._sample(request["seconds"])
        except Exception as error:  # other libraries raise errors of many kinds
            if not self.is_guest:
                raise
            return {"error": str(error)}

    def _sample(self, wanted_seconds: float) -> dict[str, Any]:
        if self.calls == 0:
            for _ in self.contender.calls:
                self._run(1)
            self.calls = max(1, round(SAMPLE_SECONDS / max(self.clock(lambda: self._run(1)), 1e-8)))
        self._run(1)
        samples: list[float] = []
        begin = time.perf_counter()
        while len(samples) < 3 or time.perf_counter() - begin < wanted_seconds:
            seconds = self.clock(lambda: self._run(self.calls))
            samples.append(seconds / self.calls / self.contender.work_per_call)
        return {"samples": samples, "wall": time.perf_counter() - begin, "cpu": 0.0}

    def _run(self, count: int) -> None:
        for _ in range(count):
            self.contender.calls[self.next]()
            self.next = (self.next + 1) % len(self.contender.calls)


def contest(contenders: Sequence[Contender], clock: Clock, plan: Plan, others: Others = NOBODY) -> Figures:
    """The timings of all contenders whose results are right; none at all where the first one's, ours, is wrong.

    `others` are built when ours have been found right; one that cannot be had, or raises an error, is left out and
    named.
    """
    ready, notes = {}, []
    for contender in contenders:
        complaint = contender.complaint()
        if complaint and contender is contenders[0]:
            return {"failure": complaint}
        if complaint:
            notes.append(complaint)
        else:
            ready[contender.name] = Turns(contender, clock)
    for name, build in others.items():
        try:
            contender = build()
            complaint = contender.complaint()
        except Exception as error:  # compilers and graphs of other libraries raise errors of many kinds
            complaint = f"{name}: " + " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if complaint:
            notes.append(complaint)
        else:
            ready[contender.name] = Turns(contender, clock, is_guest=True)
    timings = take_turns(ready, plan)
    notes += [f"{name} failed while it was timed" for name in ready if name not in timings]
    return {"timings": {name: asdict(timing) for name, timing in timings.items()}, "notes": notes}
