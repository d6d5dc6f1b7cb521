"""Where a training step's time goes, kernel by kernel."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minidl.bench.roofs import Roofs
from minidl.bench.row import Cost, Operand
from minidl.bench.rows import ROWS
from minidl.capture import capture
from minidl.generator import default_generator


@dataclass(frozen=True)
class ProfileLine:
    """All calls of one kernel in a step: how many, their seconds together, and their work."""

    kernel: str
    calls: int
    seconds: float
    cost: Cost
    of_roof: float
    roof: str


def profile_step(
    model: Any, loss: Callable[[Any, Any], Any], optimizer: Any, x: Any, target: Any, repeats: int = 20
) -> list[tuple[str, tuple[Operand, ...], float]]:
    """(kernel, its arrays, seconds) of every kernel call of one training step, each timed by itself in a replay.

    Copies are trained: model, optimizer and random numbers are afterwards as they were, bit by bit.
    """
    model, optimizer = copy.deepcopy((model, optimizer))
    random_state = default_generator.get_state()

    def step(x: Any, target: Any) -> Any:
        optimizer.zero_grad()
        result = loss(model(x), target)
        result.backward()
        optimizer.step()
        return result

    try:
        calls = capture(step).profile(x, target, repeats=repeats)
    finally:
        default_generator.set_state(random_state)
    return [
        (kernel, tuple(Operand(shape, itemsize) for shape, itemsize in operands), seconds)
        for kernel, operands, seconds in calls
    ]


def summarize(calls: Sequence[tuple[str, tuple[Operand, ...], float]], roofs: Roofs) -> list[ProfileLine]:
    """One line per kernel, the longest first. Kernels without a row, such as a check for nan, have no cost.

    The part of the roof is that of the calls together: what they would take at their roofs, over what they took.
    """
    by_kernel: dict[str, list[tuple[tuple[Operand, ...], float]]] = {}
    for kernel, operands, seconds in calls:
        by_kernel.setdefault(kernel, []).append((operands, seconds))
    lines = []
    for kernel, own in by_kernel.items():
        seconds = sum(taken for _, taken in own)
        costs = [ROWS[kernel].cost(operands) if kernel in ROWS else Cost(0, 0) for operands, _ in own]
        shares = [roofs.share(*cost, taken) for cost, (_, taken) in zip(costs, own, strict=True)]
        bound = max(zip(shares, own, strict=True), key=lambda pair: pair[1][1])[0][1]
        at_roof = sum(share * taken for (share, _), (_, taken) in zip(shares, own, strict=True))
        total = Cost(sum(cost.flops for cost in costs), sum(cost.bytes for cost in costs))
        lines.append(ProfileLine(kernel, len(own), seconds, total, at_roof / max(seconds, 1e-12), bound))
    return sorted(lines, key=lambda line: -line.seconds)
