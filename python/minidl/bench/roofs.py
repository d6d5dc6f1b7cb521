"""The machine's roofs, measured: multiply-adds in registers, and bytes through each level of its memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import _cpu

# Working sets of the triad: in the first-level, second-level and third-level cache, and well beyond them.
WORKING_SETS = (96 << 10, 384 << 10, 3 << 20, 12 << 20, 144 << 20)


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

    def share(self, flops: float, moved: float, seconds: float) -> tuple[float, str]:
        """The larger of the two parts of what the roofs allow, and which one it is: that roof binds."""
        seconds = max(seconds, 1e-12)
        compute = flops / seconds / self.flops
        memory = moved / seconds / self.bytes_per_second(moved)
        if compute >= memory:
            return compute, "compute"
        return memory, "memory" if moved > 32 << 20 else "cache"

    def to_json(self) -> dict[str, Any]:
        return {"flops": self.flops, "bandwidth": {str(size): rate for size, rate in self.bandwidth.items()}}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Roofs:
        return cls(fields["flops"], {int(size): rate for size, rate in fields["bandwidth"].items()})


def measure_roofs(dtype: str = "float32", seconds: float = 0.15) -> Roofs:
    """With the instruction set and the number of threads in use; each figure is the best of `seconds` of tries."""
    size = 12 * 16 * 16 * _cpu.thread_count()
    x, out = np.ones(size, dtype), np.empty(size, dtype)
    fastest = _fastest(lambda: _cpu.multiply_add(x, out, 0.5, 1.0), seconds)
    flops = 2 * 4096 * size / fastest
    # Memory is shared with every other core of the machine: a quiet moment has to be waited for.
    rates = {
        working_set: _triad(working_set, dtype, seconds * (10 if working_set == max(WORKING_SETS) else 1))
        for working_set in WORKING_SETS
    }
    # What a larger working set reaches, a smaller one can; a call's fixed cost hides it there.
    return Roofs(flops, {size: max(rate for s, rate in rates.items() if s >= size) for size in rates})


def _triad(working_set: int, dtype: str, seconds: float) -> float:
    """Bytes per second, 3 arrays counted once each as STREAM does, with or without the caches on the way out."""
    size = working_set // (3 * np.dtype(dtype).itemsize)
    a, b = np.ones(size, dtype), np.ones(size, dtype)
    out = _cpu.empty((size,), np.dtype(dtype))
    cached = _fastest(lambda: _cpu.triad(a, b, out, 0.5, False), seconds / 2)
    return working_set / min(cached, _fastest(lambda: _cpu.triad(a, b, out, 0.5, True), seconds / 2))


def _fastest(call: Callable[[], object], seconds: float) -> float:
    """Of samples that last 0.1 ms or a call, whichever is more."""
    call()
    begin = time.perf_counter()
    call()
    calls = max(1, round(1e-4 / max(time.perf_counter() - begin, 1e-7)))
    best, end, tries = math.inf, time.perf_counter() + seconds, 0
    while tries < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, (time.perf_counter() - begin) / calls)
        tries += 1
    return best
