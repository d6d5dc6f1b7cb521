"""The machine's roofs, measured: multiply-adds in registers, and bytes through each level of its memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minidl import _cpu
from minidl.bench.worker import calls_per_sample, take_samples

# Working sets of the triad: in the first-level, second-level and third-level cache, and well beyond them.
WORKING_SETS = (96 << 10, 384 << 10, 3 << 20, 12 << 20, 144 << 20)


class Roof(NamedTuple):
    """One of them: "compute", "cache" or "memory", operations or bytes per second, and the bytes of the triad that
    reached them (0 for multiply-adds)."""

    name: str
    rate: float
    working_set: int = 0

    def work(self, flops: float, moved: float) -> float:
        """What of a call's work this roof limits."""
        return flops if self.name == "compute" else moved


@dataclass(frozen=True)
class Roofs:
    """Operations per second, and bytes per second by working set, of one instruction set and number of threads."""

    flops: float
    bandwidth: dict[int, float]

    def bytes_per_second(self, working_set: float) -> float:
        """The triad's rate at about that working set: of the measured ones the nearest by ratio."""
        nearest = min(self.bandwidth, key=lambda size: abs(math.log(size / max(working_set, 1.0))))
        return self.bandwidth[nearest]

    @property
    def memory(self) -> float:
        """Bytes per second beyond the caches."""
        return self.bandwidth[max(self.bandwidth)]

    @property
    def cache(self) -> float:
        """Bytes per second at the working sets of the rows "in cache"."""
        return self.bytes_per_second(384 << 10)

    def binding(self, flops: float, moved: float) -> Roof:
        """The roof that so many operations and bytes come nearer to."""
        rate = self.bytes_per_second(moved)
        if flops / self.flops >= moved / rate:
            return Roof("compute", self.flops)
        # Rates that a larger working set has reached stand at the smaller ones as well.
        source = max(size for size, reached in self.bandwidth.items() if reached == rate)
        return Roof("memory" if moved > 32 << 20 else "cache", rate, source)

    def share(self, flops: float, moved: float, seconds: float) -> tuple[float, str]:
        """The larger of the two parts of what the roofs allow, and which one it is: that roof binds."""
        roof = self.binding(flops, moved)
        return roof.work(flops, moved) / max(seconds, 1e-12) / roof.rate, roof.name

    def to_json(self) -> dict[str, Any]:
        return {"flops": self.flops, "bandwidth": {str(size): rate for size, rate in self.bandwidth.items()}}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Roofs:
        return cls(fields["flops"], {int(size): rate for size, rate in fields["bandwidth"].items()})


class RoofInTurn:
    """A roof as `timing.take_turns` asks for samples of it, measured in this process, with its threads and instruction
    set. Other cores share the memory, and clocks change: a kernel is held against what its roof is meanwhile."""

    def __init__(self, roof: Roof, dtype: str) -> None:
        calls, self.work = _triads(roof.working_set, dtype) if roof.working_set else _multiply_adds(dtype)
        self._call = min(calls, key=lambda call: _fastest(call, 0.01))
        self._calls = calls_per_sample(self._call)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Seconds per call; the processor's time is this process's own, which is nobody else's anyway."""
        return {"samples": take_samples(self._call, request["seconds"], self._calls), "wall": 0.0, "cpu": 0.0}


def measure_roofs(dtype: str = "float32", seconds: float = 0.15) -> Roofs:
    """With the instruction set and the number of threads in use; each figure is the best of `seconds` of tries."""
    flops = _best_rate(_multiply_adds(dtype), seconds)
    # Memory is shared with every other core of the machine: a quiet moment has to be waited for.
    rates = {
        working_set: _best_rate(_triads(working_set, dtype), seconds * (10 if working_set == max(WORKING_SETS) else 1))
        for working_set in WORKING_SETS
    }
    # What a larger working set reaches, a smaller one can; a call's fixed cost hides it there.
    return Roofs(flops, {size: max(rate for s, rate in rates.items() if s >= size) for size in rates})


# Calls that do the same, and how much they do: operations or bytes.
_Work = tuple[Sequence[Callable[[], object]], float]


def _multiply_adds(dtype: str) -> _Work:
    size = 12 * 16 * 16 * _cpu.thread_count()
    x, out = np.ones(size, dtype), np.empty(size, dtype)
    return [lambda: _cpu.multiply_add(x, out, 0.5, 1.0)], 2 * 4096 * size


def _triads(working_set: int, dtype: str) -> _Work:
    """3 arrays counted once each as STREAM does, with and without the caches on the way out."""
    size = working_set // (3 * np.dtype(dtype).itemsize)
    a, b, out = (_cpu.empty((size,), np.dtype(dtype)) for _ in range(3))
    a.fill(1)
    b.fill(1)
    return [lambda: _cpu.triad(a, b, out, 0.5, False), lambda: _cpu.triad(a, b, out, 0.5, True)], working_set


def _best_rate(work: _Work, seconds: float) -> float:
    calls, amount = work
    return amount / min(_fastest(call, seconds / len(calls)) for call in calls)


def _fastest(call: Callable[[], object], seconds: float) -> float:
    return min(take_samples(call, seconds, calls_per_sample(call)))
