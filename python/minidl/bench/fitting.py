"""Whole fits of minidl.sklearn's MLPClassifier beside scikit-learn's own: a process per library and round, in turn."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from minidl.bench.processes import BUSY_SHARE, least_disturbed, run_worker

LIBRARIES = ("minidl", "sklearn")


@dataclass(frozen=True)
class FitTask:
    """Data and a network, and how many epochs the fit takes."""

    size: str
    samples: int
    features: int
    classes: int
    hidden: tuple[int, ...]
    epochs: int
    dtype: str = "float32"
    batch: int = 200

    @property
    def name(self) -> str:
        """
        >>> FitTask("small", 1797, 64, 10, (100,), 20).name
        '1797 x 64 float32; 64-100-10, batch 200, 20 epochs'
        """
        net = "-".join(str(width) for width in (self.features, *self.hidden, self.classes))
        return f"{self.samples} x {self.features} {self.dtype}; {net}, batch {self.batch}, {self.epochs} epochs"


# MNIST's size and that of scikit-learn's digits, with the batch that is scikit-learn's default.
FIT_TASKS = [
    FitTask("large", 60_000, 784, 10, (256, 128), 2),
    FitTask("large", 60_000, 784, 10, (256, 128), 2, "float64"),
    FitTask("small", 1797, 64, 10, (100,), 20),
    FitTask("small", 1797, 64, 10, (100,), 20, "float64"),
]


def select_fits(sizes: Sequence[str]) -> list[FitTask]:
    """The tasks of some sizes, all for none. ValueError for a size that there is not."""
    known = tuple(dict.fromkeys(task.size for task in FIT_TASKS))
    for size in sizes:
        if size not in known:
            raise ValueError(f"--size must be one of {', '.join(known)}, got {size!r}")
    return [task for task in FIT_TASKS if not sizes or task.size in sizes]


@dataclass(frozen=True)
class FitComparison:
    """A task's figures: seconds per fit, peak bytes and last loss by library; ratios to minidl over the rounds."""

    task: FitTask
    versions: dict[str, str]
    median: dict[str, float]
    fastest: dict[str, float]
    memory: dict[str, int]
    loss: dict[str, float]
    ratios: list[float]
    others: float

    @property
    def ratio(self) -> float:
        """The median over pairs of processes of (scikit-learn's median fit / ours)."""
        return statistics.median(self.ratios)

    @property
    def is_same_training(self) -> bool:
        """Whether both ended at the same loss: from the same seed they take the same steps, but for rounding."""
        return math.isclose(self.loss["minidl"], self.loss["sklearn"], rel_tol=1e-2)

    @property
    def was_disturbed(self) -> bool:
        return self.others > BUSY_SHARE

    def to_json(self) -> dict[str, Any]:
        return {"name": self.task.name, **asdict(self)}


def run_fits(python: str, library: str, task: FitTask, threads: int, seconds: float) -> dict[str, Any]:
    """The figures of one process. ImportError where it fails, with the last line of what it said."""
    request = {"library": library, "task": asdict(task), "threads": threads, "seconds": seconds}
    return run_worker(python, "fit_worker.py", request, threads, library == "minidl")


def compare_fits(
    tasks: Sequence[FitTask], python: str, threads: int, rounds: int, seconds: float, repeats: int = 2
) -> Iterator[FitComparison]:
    """Task by task: in every round each library once, in a new process of an interpreter that has both."""
    for task in tasks:
        runs: dict[str, list[dict[str, Any]]] = {library: [] for library in LIBRARIES}
        for _ in range(rounds):
            for library in LIBRARIES:
                run = functools.partial(run_fits, python, library, task, threads, seconds)
                runs[library].append(least_disturbed(run, repeats))
        yield summarize_fits(task, runs)


def summarize_fits(task: FitTask, runs: dict[str, list[dict[str, Any]]]) -> FitComparison:
    """The rounds' figures together."""
    return FitComparison(
        task,
        {library: taken[0]["version"] for library, taken in runs.items()},
        {library: statistics.median(run["median"] for run in taken) for library, taken in runs.items()},
        {library: min(run["fastest"] for run in taken) for library, taken in runs.items()},
        {library: max(run["memory"] for run in taken) for library, taken in runs.items()},
        {library: taken[0]["value"] for library, taken in runs.items()},
        [theirs["median"] / ours["median"] for ours, theirs in zip(runs["minidl"], runs["sklearn"], strict=True)],
        max(run["others"] for taken in runs.values() for run in taken),
    )
