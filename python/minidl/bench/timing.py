"""Samples of several libraries, taken in turn, and what becomes of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minidl.bench.processes import BUSY_SHARE, PAUSE_SECONDS, Library, OtherProcesses


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median of the samples, the fastest, and the middle half's width relative to the median;
    the largest part of a core that other processes took."""

    median: float
    fastest: float
    spread: float
    others: float = 0.0

    @classmethod
    def of(cls, samples: Sequence[float], others: float = 0.0) -> Timing:
        """
        >>> Timing.of([3.0, 1.0, 2.0, 2.0])
        Timing(median=2.0, fastest=1.0, spread=0.0, others=0.0)
        """
        ordered = sorted(samples)
        quarter = min(len(ordered) // 4 + (len(ordered) > 3), (len(ordered) - 1) // 2)
        median = statistics.median(ordered)
        return cls(median, ordered[0], (ordered[-1 - quarter] - ordered[quarter]) / median, others)

    @property
    def was_disturbed(self) -> bool:
        return self.others > BUSY_SHARE


@dataclass(frozen=True)
class Plan:
    """How long to measure: `rounds` turns of each library, `seconds` each; a disturbed turn is repeated."""

    rounds: int = 5
    seconds: float = 0.1
    repeats: int = 3


QUICK = Plan(rounds=2, seconds=0.03, repeats=1)


def take_turns(libraries: Mapping[str, Library], plan: Plan) -> dict[str, Timing]:
    """Asks each library in turn for samples of what it has prepared. One that fails is left out."""
    samples: dict[str, list[float]] = {name: [] for name in libraries}
    others = dict.fromkeys(libraries, 0.0)
    failed: set[str] = set()
    for _ in range(plan.rounds):
        for name, library in libraries.items():
            if name in failed:
                continue
            turn = _undisturbed_turn(library, plan)
            if turn is None:
                failed.add(name)
                continue
            samples[name] += turn[0]
            others[name] = max(others[name], turn[1])
    return {name: Timing.of(samples[name], others[name]) for name in libraries if name not in failed}


def _undisturbed_turn(library: Library, plan: Plan) -> tuple[list[float], float] | None:
    """The samples of the least disturbed of a few tries, and the share that others had in it."""
    best: tuple[list[float], float] | None = None
    watch = OtherProcesses()
    for _ in range(1 + plan.repeats):
        watch.begin()
        answer = library.answer({"do": "sample", "seconds": plan.seconds})
        if "error" in answer:
            return None
        share = watch.share(answer["cpu"])
        if answer["cpu"] > 1.2 * answer["wall"]:
            time.sleep(PAUSE_SECONDS)
        if best is None or share < best[1]:
            best = answer["samples"], share
        if share <= BUSY_SHARE:
            break
    return best
