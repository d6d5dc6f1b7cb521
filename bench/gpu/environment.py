"""What other figures are measured by: the copy rate; what a launch, a node of a graph, a barrier of all blocks cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np

import minidl
from gpu.contest import Contender, contest
from gpu.device import Gpu
from gpu.log import Figures
from gpu.machine import MACHINE, machine
from gpu.session import Case, Context, Options, Section
from minidl.bench import Timing

COPY_RATE = "copy rate"
# 1 GiB is read and 1 GiB written, twenty times what the largest L2 holds.
COPY_ELEMENTS = 1 << 28
COMPARED = 4096
GRAPH_NODES = 200
BARRIERS = 1000


def copy_rate(context: Context, elements: int = COPY_ELEMENTS) -> Figures:
    """The driver's copy beside minidl's relu, which moves the same bytes."""
    gpu = context.gpu
    sources = [gpu.normal(elements) for _ in range(2)]
    targets = [gpu.zeros(elements) for _ in range(2)]
    first = gpu.host(sources[0][:COMPARED]).astype(np.float64)

    def contender(name: str, calls: Sequence[Callable[[], object]], wanted: object) -> Contender:
        poison = partial(gpu.kernels.fill, targets[0], float("nan"))
        return Contender(name, calls, lambda: gpu.host(targets[0][:COMPARED]), wanted, 0, poison=poison)

    copies, kernels = (
        [partial(function, *arrays) for arrays in zip(sources, targets, strict=True)]
        for function in (gpu.copy, gpu.kernels.relu_forward)
    )
    figures = contest(
        [contender("copy", copies, first), contender("minidl", kernels, np.maximum(first, 0))],
        gpu.seconds,
        context.plan,
    )
    return {**figures, "bytes": 2 * sources[0].nbytes}


def launch(context: Context) -> Figures:
    """One kernel call after the other: seconds of the host for each, and of the GPU."""
    gpu, counter = context.gpu, context.gpu.zeros(1, dtype=minidl.int64)
    call = gpu.kernels.count_up
    calls = 2000
    host: list[float] = []
    device: list[float] = []

    def queue() -> None:
        begin = time.perf_counter()
        for _ in range(calls):
            call(counter)
        host.append((time.perf_counter() - begin) / calls)

    for _ in range(1 + 5):
        device.append(gpu.seconds(queue) / calls)
    return _counted(gpu, counter, 6 * calls, {"minidl": device[1:], "host": host[1:]})


def graph(context: Context) -> Figures:
    """Graphs of one node and of many, launched one after the other; the nodes depend on each other."""
    gpu, counter = context.gpu, context.gpu.zeros(1, dtype=minidl.int64)
    call, launches = gpu.kernels.count_up, 200
    one = gpu.recorded(lambda: call(counter))
    many = gpu.recorded(lambda: [call(counter) for _ in range(GRAPH_NODES)])
    gpu.synchronize()
    before = int(gpu.host(counter)[0])
    samples: dict[str, list[float]] = {"minidl": [], f"graph of {GRAPH_NODES}": [], "node": []}
    for _ in range(1 + 5):
        single = gpu.seconds(lambda: [one() for _ in range(launches)]) / launches
        whole = gpu.seconds(lambda: [many() for _ in range(launches)]) / launches
        for name, seconds in zip(samples, (single, whole, (whole - single) / (GRAPH_NODES - 1)), strict=True):
            samples[name].append(seconds)
    wanted = before + 6 * launches * (1 + GRAPH_NODES)
    return _counted(gpu, counter, wanted, {name: taken[1:] for name, taken in samples.items()})


def barrier(context: Context) -> Figures:
    """What one block on each multiprocessor takes to wait for all others: what a step in one kernel would pay instead
    of a node of a graph."""
    gpu, counter = context.gpu, context.gpu.zeros(1, dtype=minidl.int64)
    taken = []
    for _ in range(1 + 5):
        few, many = (gpu.seconds(partial(gpu.meet_at_barriers, counter, count)) for count in (BARRIERS // 10, BARRIERS))
        taken.append((many - few) / (BARRIERS - BARRIERS // 10))
    wanted = 6 * gpu.multiprocessors * (BARRIERS + BARRIERS // 10)
    return _counted(gpu, counter, wanted, {"minidl": taken[1:]})


def _counted(gpu: Gpu, counter: object, wanted: int, samples: dict[str, list[float]]) -> Figures:
    gpu.synchronize()
    counted = int(gpu.host(counter)[0])
    if counted != wanted:
        return {"failure": f"{wanted} calls counted up to {counted}"}
    return {"timings": {name: asdict(Timing.of(taken)) for name, taken in samples.items()}, "notes": []}


def cases(options: Options) -> list[Case]:
    return [
        Case(MACHINE, machine),
        Case(COPY_RATE, copy_rate),
        Case("kernel call, one after the other", launch),
        Case("graph launch, and a node in a graph", graph),
        Case("barrier of a block on each multiprocessor", barrier),
    ]


def copied_bytes_per_second(context: Context) -> float | None:
    """The rate of the driver's copy, read and written bytes together; None where it was not measured."""
    row = context.log.rows.get(COPY_RATE, {})
    return row["bytes"] / row["timings"]["copy"]["median"] if "timings" in row else None


SECTION = Section("environment", 20, cases)
