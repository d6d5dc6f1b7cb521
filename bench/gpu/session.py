"""Sections, their rows and the time that they may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from gpu.log import Figures, Log
from minidl.bench import Plan


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    seeds: int = 3
    data_dir: Path | None = None
    jax: str | None = None  # interpreter; None: this one


# Turns of 50 ms, four for each contender; none is repeated because of what other processes did to the host.
PLAN = Plan(rounds=4, seconds=0.05, repeats=0)


@dataclass
class Context:
    """What a row may use. `gpu` is a `device.Gpu`; `torch` is None where PyTorch is not installed or has no GPU."""

    gpu: Any
    torch: ModuleType | None
    log: Log
    options: Options
    deadline: float
    clock: Callable[[], float] = field(default=time.monotonic)
    plan: Plan = PLAN

    def seconds_left(self) -> float:
        return self.deadline - self.clock()


@dataclass(frozen=True)
class Case:
    """A row before it is measured. Its name is what `--resume` and the targets know it by."""

    name: str
    run: Callable[[Context], Figures]


@dataclass(frozen=True)
class Section:
    """A module of rows that share a process, with the seconds that it gets at least."""

    name: str
    seconds: float
    cases: Callable[[Options], Sequence[Case]]


class Budget:
    """Shares a total time among sections: each may use what earlier ones left over."""

    def __init__(self, total: float, sections: Sequence[Section], clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.end = clock() + total
        own = sum(section.seconds for section in sections)
        # A smaller total shortens all sections alike.
        self.factor = min(1.0, total / own) if own else 1.0
        self.wanted = {section.name: section.seconds * self.factor for section in sections}

    def granted(self, name: str) -> float:
        """Seconds for a section now: all that is left, less what the sections after it are to have."""
        names = list(self.wanted)
        later = sum(self.wanted[other] for other in names[names.index(name) + 1 :])
        return max(0.0, self.end - self.clock() - later)


def run_cases(cases: Sequence[Case], context: Context, say: Callable[[str], None]) -> bool:
    """Measures and logs row by row until the deadline; False where a row raised an error.

    An error may have left the GPU's context unusable, so nothing is run after it in the same process.
    """
    for case in cases:
        if case.name in context.log.rows:
            continue
        if context.seconds_left() <= 0:
            say(f"{case.name}: left out, the section's time is used up")
            continue
        begin = context.clock()
        try:
            figures, is_alive = case.run(context), True
        except Exception as error:  # whatever a row raises, the others are to be measured
            text = " ".join(f"{type(error).__name__}: {error}".split())
            figures, is_alive = {"failure": text}, False
        context.log.add(case.name, {**figures, "took": round(context.clock() - begin, 2)})
        if not is_alive:
            return False
    return True


def pending(section: Section, options: Options, rows: Mapping[str, Any]) -> Iterator[Case]:
    """The rows of a section that are not in the log."""
    return (case for case in section.cases(options) if case.name not in rows)
