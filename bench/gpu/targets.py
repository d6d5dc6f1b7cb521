"""The targets of the CUDA back end, and what a run's rows say of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gpu import accuracy, gemm, steps
from gpu.log import Figures
from gpu.work import WORKS
from minidl.bench.training import OURS

Rows = Mapping[str, Figures]


@dataclass(frozen=True)
class Target:
    """A figure that is to be at most, or at least, a limit."""

    work: str
    limit: float
    unit: str
    value: Callable[[Rows], float | None]
    is_at_most: bool = False
    stretch: float | None = None

    @property
    def text(self) -> str:
        beyond = "" if self.stretch is None else f" (then {self.stretch:g})"
        return f"{'<=' if self.is_at_most else '>='} {self.limit:g}{beyond} {self.unit}"

    def verdict(self, rows: Rows) -> tuple[str, str]:
        """What was measured, and whether that is enough."""
        value = self.value(rows)
        if value is None:
            return "-", "not measured"
        is_met = value <= self.limit if self.is_at_most else value >= self.limit
        return f"{value:.3g} {self.unit}", "met" if is_met else "not met"


def seconds(rows: Rows, row: str, name: str) -> float | None:
    """A row's median, None where it has none."""
    timing = rows.get(row, {}).get("timings", {}).get(name)
    return None if timing is None else timing["median"]


def scaled(rows: Rows, row: str, name: str, factor: float) -> float | None:
    value = seconds(rows, row, name)
    return None if value is None else value * factor


def ratio(rows: Rows, row: str, theirs: Sequence[str], ours: str = OURS[0]) -> float | None:
    """How many times longer the fastest of the others takes."""
    own = seconds(rows, row, ours)
    others = [other for name in theirs if (other := seconds(rows, row, name)) is not None]
    return None if own is None or not others else min(others) / own


def worst_layer(rows: Rows) -> float | None:
    """The smallest ratio to PyTorch over all layers and products; None where one is missing."""
    names = [gemm.layer_name(shape, product) for shape in gemm.LAYERS for product in gemm.PRODUCTS]
    return _smallest([ratio(rows, name, ["PyTorch"], "minidl") for name in names])


def of_copy_rate(rows: Rows, works: Sequence[str]) -> float | None:
    shares = [rows.get(f"{work}, 1 GiB arrays", {}).get("of_copy_rate") for work in works]
    return _smallest([None if share is None else 100 * share for share in shares])


def mean_run(rows: Rows, figure: str) -> float | None:
    """The mean of a figure over the seeds that were run; None where a seed has failed or none was run."""
    own = [row for name, row in rows.items() if name.startswith(accuracy.case_name("minidl", 0)[:-1])]
    if not own or any(figure not in row for row in own):
        return None
    return statistics.fmean(row[figure] for row in own)


def _smallest(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None


def _percent(value: Callable[[Rows], float | None]) -> Callable[[Rows], float | None]:
    def percent(rows: Rows) -> float | None:
        share = value(rows)
        return None if share is None else 100 * share

    return percent


def _ratio(row: str, *theirs: str, ours: str = OURS[0]) -> Callable[[Rows], float | None]:
    return partial(ratio, row=row, theirs=theirs, ours=ours)


SMALL, NORMALIZED, WIDE = (f"step {task.name}" for task in steps.TASKS)
SQUARE, SQUARE_TF32 = f"SGEMM {gemm.SQUARE}^3", f"TF32 GEMM {gemm.SQUARE}^3"
EAGER, COMPILED, GRAPH = "PyTorch eager", "PyTorch compiled", "PyTorch graph"
MEMORY = {
    "optimizer": ["Adam"],
    "batch norm": ["batch norm"],
    "dropout": ["dropout"],
    "reductions": [work for work in WORKS if work.startswith("sum")],
    "softmax": ["softmax"],
    "relu, add": ["relu", "add"],
}

TARGETS: list[Target] = [
    Target(SMALL, 30, "us", partial(scaled, row=SMALL, name=OURS[0], factor=1e6), True, 20),
    Target(f"{SMALL}: PyTorch eager", 10, "times", _ratio(SMALL, EAGER)),
    Target(f"{SMALL}: torch.compile", 3, "times", _ratio(SMALL, COMPILED)),
    Target(f"{SMALL}: PyTorch's whole step in a graph", 1.5, "times", _ratio(SMALL, GRAPH)),
    Target(
        f"epoch {steps.TASKS[0].name}",
        15,
        "ms",
        partial(scaled, row=f"epoch {steps.TASKS[0].name}", name="minidl", factor=1e3),
        True,
    ),
    Target(NORMALIZED, 50, "us", partial(scaled, row=NORMALIZED, name=OURS[0], factor=1e6), True),
    Target(f"{NORMALIZED}: PyTorch eager", 8, "times", _ratio(NORMALIZED, EAGER)),
    Target(f"{NORMALIZED}: PyTorch's whole step in a graph", 1.5, "times", _ratio(NORMALIZED, GRAPH)),
    Target(f"{WIDE}: PyTorch's graph", 0.9, "times", _ratio(WIDE, GRAPH)),
    Target(f"{WIDE}, TF32: PyTorch's graph", 0.8, "times", _ratio(f"{WIDE}, TF32", GRAPH)),
    Target(f"{SQUARE} of cuBLAS", 85, "%", _percent(_ratio(SQUARE, "PyTorch", "CuPy", ours="minidl")), stretch=94),
    Target("layers, fused, of PyTorch", 100, "%", _percent(worst_layer)),
    Target(f"{SQUARE_TF32} of cuBLAS", 60, "%", _percent(_ratio(SQUARE_TF32, "PyTorch", ours="minidl")), stretch=80),
    *(
        Target(f"{family}, of the copy rate", 85, "%", partial(of_copy_rate, works=works))
        for family, works in MEMORY.items()
    ),
    Target(f"training to {accuracy.WANTED:.0%}, mean", 0.15, "s", partial(mean_run, figure="training"), True),
    Target(f"process to {accuracy.WANTED:.0%}, mean", 2, "s", partial(mean_run, figure="seconds"), True),
]


def table(rows: Rows) -> list[str]:
    """A line per target: work, target, measured, met or not."""
    lines = [("work", "target", "measured", ""), *((t.work, t.text, *t.verdict(rows)) for t in TARGETS)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
