"""Shared tools of the benchmarks: repeatable timing, one process per library, the machine and its two roofs."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median of the samples, the fastest, and the middle half's width relative to the median."""

    median: float
    fastest: float
    spread: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Timing:
        ordered = sorted(samples)
        quarter = len(ordered) // 4
        median = statistics.median(ordered)
        return cls(median, ordered[0], (ordered[-1 - quarter] - ordered[quarter]) / median)


def calls_per_sample(function: Callable[[], object], sample_seconds: float = 2e-4) -> int:
    """How often to call for one sample to outlast the clock's grain. Warms up: caches, pages, sleeping threads."""
    for _ in range(3):
        function()
    begin = time.perf_counter()
    function()
    return max(1, round(sample_seconds / max(time.perf_counter() - begin, 1e-8)))


def take_samples(function: Callable[[], object], seconds: float, calls: int | None = None) -> list[float]:
    """Seconds per call, sample by sample, for about `seconds` and at least 3 samples."""
    calls = calls or calls_per_sample(function)
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(calls):
            function()
        samples.append((time.perf_counter() - begin) / calls)
    return samples


def interleave(functions: dict[str, Callable[[], object]], rounds: int = 7, seconds: float = 0.03) -> dict[str, Timing]:
    """Times functions of one process in turn, so that a busy moment of the machine hits all of them."""
    calls = {name: calls_per_sample(function) for name, function in functions.items()}
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            samples[name] += take_samples(function, seconds, calls[name])
    return {name: Timing.of(taken) for name, taken in samples.items()}


class Worker:
    """A script of its own that answers one JSON line with another: `script --worker library --threads n`.

    Thread pools of two libraries in one process spoil each other's figures; two processes that wait do not.
    """

    def __init__(self, script: Path, library: str, threads: int, arguments: Sequence[str] = ()) -> None:
        environment = dict(os.environ, MINIDL_NUM_THREADS=str(threads))
        for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[variable] = str(threads)
        command = [sys.executable, str(script), "--worker", library, *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, request: Any) -> Any:
        """The answer; RuntimeError when the script died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the benchmark's worker ended with status {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


def answer_requests(answer: Callable[[Any], Any]) -> None:
    """The worker's side: one answer per line until the input ends."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


# OpenBLAS's threads go on spinning for about 0.1 s after a product: whoever is measured next would share its cores with
# them, and run at half speed.
PAUSE_SECONDS = 0.2


def interleave_workers(workers: dict[str, Worker], request: Any, rounds: int) -> dict[str, Timing]:
    """Asks each worker in turn for samples, `rounds` times, after a pause for the other's threads to fall asleep."""
    samples: dict[str, list[float]] = {library: [] for library in workers}
    for _ in range(rounds):
        for library, worker in workers.items():
            time.sleep(PAUSE_SECONDS)
            samples[library] += worker.ask(request)
    return {library: Timing.of(taken) for library, taken in samples.items()}


# ---- the machine


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def machine() -> dict[str, Any]:
    """What a figure depends on, for the record of a run."""
    import minidl
    from minidl import _cpu

    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "minidl": minidl.__version__,
        "isa": _cpu.isa(),
    }


@functools.cache
def _roof_library() -> ctypes.CDLL:
    source = Path(__file__).with_name("roof.cpp")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "roof.so"
        compiler = [os.environ.get("CXX", "c++"), "-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        subprocess.run([*compiler, str(source), "-o", str(target)], check=True)
        library = ctypes.CDLL(str(target))
    library.flops_per_step.restype = ctypes.c_int64
    return library


def _in_threads(threads: int, work: Callable[[int], None]) -> float:
    """Seconds until all threads, each on a core of its own, have done work(thread); ctypes releases the interpreter
    lock."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []

    def run(thread: int) -> None:
        if cores:
            os.sched_setaffinity(0, {cores[thread % len(cores)]})  # of this thread only
        work(thread)

    members = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    begin = time.perf_counter()
    for member in members:
        member.start()
    for member in members:
        member.join()
    return time.perf_counter() - begin


def fma_roof(threads: int = 1) -> float:
    """The most float32 operations per second, a multiply-add being two: the best of several short runs."""
    library, steps = _roof_library(), 400_000
    sinks = [(ctypes.c_float * 16)() for _ in range(threads)]

    def work(thread: int) -> None:
        library.multiply_add(ctypes.c_int64(steps), ctypes.c_float(0.5), sinks[thread])

    seconds = min(_in_threads(threads, work) for _ in range(50))
    return float(threads * steps * library.flops_per_step() / seconds)


def memory_roof(threads: int = 1) -> float:
    """The most bytes per second through a + s * b of arrays far larger than the caches."""
    library, size = _roof_library(), 16 << 20
    arrays = [[np.zeros(size, np.float32) for _ in range(3)] for _ in range(threads)]

    def work(thread: int) -> None:
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays[thread]]
        library.triad(*pointers, ctypes.c_float(0.5), ctypes.c_int64(size))

    seconds = min(_in_threads(threads, work) for _ in range(5))
    return float(threads * 12 * size / seconds)
