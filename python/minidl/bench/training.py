"""Whole training steps beside PyTorch, JAX and scikit-learn: a process per library and round, turn by turn."""

from __future__ import annotations

import functools
import itertools
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from minidl import _cpu
from minidl.backends import BFLOAT16_PIECES
from minidl.bench.processes import BUSY_SHARE, least_disturbed, run_worker
from minidl.bench.roofs import Roofs

OURS = ("minidl captured", "minidl eager")
OTHERS = ("torch", "jax", "sklearn")


@dataclass(frozen=True)
class Task:
    """A network, a batch, and whether it learns or only infers."""

    widths: tuple[int, ...]
    batch: int
    batch_norm: bool = False
    dropout: float = 0.0
    is_inference: bool = False
    matmul_precision: str = "highest"

    @property
    def net(self) -> str:
        """
        >>> Task((784, 512, 512, 10), 128, True, 0.2).net
        '784-512-512-10, batch norm, dropout 0.2'
        """
        extras = ["batch norm"] * self.batch_norm + [f"dropout {self.dropout:g}"] * (self.dropout > 0)
        return ", ".join(["-".join(str(width) for width in self.widths), *extras])

    @property
    def name(self) -> str:
        """
        >>> Task((784, 10), 1, is_inference=True, matmul_precision="medium").name
        '784-10; inference, batch 1, medium precision'
        """
        precision = f", {self.matmul_precision} precision" if self.matmul_precision != "highest" else ""
        return f"{self.net}; {'inference, ' if self.is_inference else ''}batch {self.batch}{precision}"

    @property
    def flops(self) -> float:
        """Of the matrix products alone: forward, and for training the gradients of weights and of hidden inputs.

        >>> Task((4, 3, 2), 1).flops == 2 * (2 * (4 * 3 + 3 * 2)) + 2 * 3 * 2
        True
        """
        weights = [inputs * outputs for inputs, outputs in itertools.pairwise(self.widths)]
        forward = 2.0 * self.batch * sum(weights)
        return forward if self.is_inference else 2 * forward + 2.0 * self.batch * sum(weights[1:])

    def can_run_in(self, library: str) -> bool:
        """scikit-learn has neither batch norm nor dropout, and here only its epochs are timed; neither it nor JAX has
        products of less than float32 on a CPU."""
        if self.matmul_precision != "highest" and library in ("jax", "sklearn"):
            return False
        return library != "sklearn" or not (self.batch_norm or self.dropout or self.is_inference)


SMALL, NORMALIZED, WIDE = (784, 256, 128, 10), (784, 512, 512, 10), (784, 1024, 1024, 1024, 10)
TASKS = [
    *(Task(SMALL, batch) for batch in (32, 64, 128, 512)),
    Task(NORMALIZED, 128, batch_norm=True, dropout=0.2),
    Task(WIDE, 128, dropout=0.5),
    *(Task(SMALL, batch, is_inference=True) for batch in (1, 128)),
    *(Task(SMALL, batch, matmul_precision=name) for name in ("high", "medium") for batch in (128, 512)),
    *(Task(WIDE, 128, dropout=0.5, matmul_precision=name) for name in ("high", "medium")),
]
NETS = {"small": SMALL, "normalized": NORMALIZED, "wide": WIDE}


def select_tasks(nets: Sequence[str], batches: Sequence[int] = ()) -> list[Task]:
    """The tasks of some nets (all for none) and batch sizes (all for none), those of less precision only where it makes
    products faster. ValueError where none is left."""
    for net in nets:
        if net not in NETS:
            raise ValueError(f"--net must be one of {', '.join(NETS)}, got {net!r}")
    chosen = {NETS[net] for net in nets} or set(NETS.values())
    faster = {name for name, pieces in BFLOAT16_PIECES.items() if _cpu.fastest_bfloat16(pieces) != "none"}
    possible = [task for task in TASKS if task.matmul_precision in {"highest", *faster}]
    tasks = [task for task in possible if task.widths in chosen and (not batches or task.batch in batches)]
    if not tasks:
        known = sorted({task.batch for task in TASKS if task.widths in chosen})
        raise ValueError(f"--batch must be one of {', '.join(str(batch) for batch in known)} for these nets")
    return tasks


@dataclass(frozen=True)
class Comparison:
    """A task's figures: seconds per step and peak bytes by library; ratios to `minidl captured` over the rounds."""

    task: Task
    versions: dict[str, str]
    median: dict[str, float]
    fastest: dict[str, float]
    memory: dict[str, int]
    ratios: dict[str, list[float]]
    others: float
    of_floor: float

    def ratio(self, library: str) -> float | None:
        """The median over pairs of processes of (their median step / ours)."""
        return statistics.median(self.ratios[library]) if library in self.ratios else None

    def ratio_of_fastest(self, library: str) -> float | None:
        return self.fastest[library] / self.fastest[OURS[0]] if library in self.fastest else None

    @property
    def was_disturbed(self) -> bool:
        return self.others > BUSY_SHARE

    def to_json(self) -> dict[str, Any]:
        return {"name": self.task.name, **asdict(self), "flops": self.task.flops}


def run_process(
    python: str, library: str, task: Task, threads: int, seconds: float, on_gpu: bool = False
) -> dict[str, Any]:
    """The figures of one process. ImportError where it fails, with the last line of what it said."""
    request = {"library": library, "task": asdict(task), "threads": threads, "seconds": seconds, "on_gpu": on_gpu}
    return run_worker(python, "step_worker.py", request, threads, library.startswith("minidl"))


def available(pythons: Mapping[str, str | None]) -> tuple[dict[str, str], list[str]]:
    """The libraries that can be had, with their interpreters, and a line about each that cannot.

    ImportError where an interpreter that was named does not have its library.
    """
    found, missing = dict.fromkeys(OURS, sys.executable), []
    for library in pythons:
        python = pythons[library]
        module = "sklearn.neural_network" if library == "sklearn" else library
        command = [python or sys.executable, "-c", f"import {module}"]
        try:
            works = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError as error:
            raise ImportError(f"{python} cannot be started: {error.strerror}") from None
        if works:
            found[library] = command[0]
        elif python is not None:
            raise ImportError(f"{python} does not import {module}")
        else:
            missing.append(f"{library} is not installed here and is left out; --{library} PYTHON names an interpreter")
    return found, missing


def compare(
    tasks: Sequence[Task],
    pythons: Mapping[str, str],
    threads: int,
    rounds: int,
    roofs: Roofs,
    seconds: float = 1.0,
    repeats: int = 2,
) -> Iterator[Comparison]:
    """Task by task: in every round each library once, in a new process."""
    for task in tasks:
        libraries = [library for library in pythons if task.can_run_in(library)]
        runs: dict[str, list[dict[str, Any]]] = {library: [] for library in libraries}
        for _ in range(rounds):
            for library in libraries:
                arguments = pythons[library], library, task, threads, seconds
                runs[library].append(least_disturbed(functools.partial(run_process, *arguments), repeats))
        yield _summarize(task, runs, roofs)


def _summarize(task: Task, runs: Mapping[str, Sequence[Mapping[str, Any]]], roofs: Roofs) -> Comparison:
    own = runs[OURS[0]]
    median = {library: statistics.median(run["median"] for run in taken) for library, taken in runs.items()}
    return Comparison(
        task,
        {library: taken[0]["version"] for library, taken in runs.items()},
        median,
        {library: min(run["fastest"] for run in taken) for library, taken in runs.items()},
        {library: max(run["memory"] for run in taken) for library, taken in runs.items()},
        {
            library: [theirs["median"] / ours["median"] for theirs, ours in zip(taken, own, strict=True)]
            for library, taken in runs.items()
            if library != OURS[0]
        },
        max(run["others"] for taken in runs.values() for run in taken),
        task.flops / roofs.flops / median[OURS[0]],
    )
