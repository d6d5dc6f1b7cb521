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

# A call by its name, the kernels whose work it does with their arrays, and its seconds.
Call = tuple[str, tuple[tuple[str, tuple[Operand, ...]], ...], float]


@dataclass(frozen=True)
class ProfileLine:
    """All calls of one name in a step: how many, their seconds together, and their work."""

    kernel: str
    calls: int
    seconds: float
    cost: Cost
    of_roof: float
    roof: str


def profile_step(
    model: Any, loss: Callable[[Any, Any], Any], optimizer: Any, x: Any, target: Any, repeats: int = 20
) -> list[Call]:
    """Every kernel call of one training step, each timed by itself in a replay.

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
        (name, tuple((kernel, tuple(Operand(*array) for array in arrays)) for kernel, arrays in kernels), seconds)
        for name, kernels, seconds in calls
    ]


def _together(costs: Sequence[Cost]) -> Cost:
    return Cost(sum(cost.flops for cost in costs), sum(cost.bytes for cost in costs))


def summarize(calls: Sequence[Call], roofs: Roofs) -> list[ProfileLine]:
    """One line per name, the longest first. Kernels without a row, such as a check for nan, have no cost; a call of
    several has that of all.

    The part of the roof is that of the calls together: what they would take at their roofs, over what they took.
    """
    by_name: dict[str, list[tuple[Cost, float]]] = {}
    for name, kernels, seconds in calls:
        cost = _together([ROWS[kernel].cost(operands) for kernel, operands in kernels if kernel in ROWS])
        by_name.setdefault(name, []).append((cost, seconds))
    lines = []
    for name, own in by_name.items():
        seconds = sum(taken for _, taken in own)
        costs = [cost for cost, _ in own]
        shares = [roofs.share(*cost, taken) for cost, (_, taken) in zip(costs, own, strict=True)]
        bound = max(zip(shares, own, strict=True), key=lambda pair: pair[1][1])[0][1]
        at_roof = sum(share * taken for (share, _), (_, taken) in zip(shares, own, strict=True))
        lines.append(ProfileLine(name, len(own), seconds, _together(costs), at_roof / max(seconds, 1e-12), bound))
    return sorted(lines, key=lambda line: -line.seconds)
