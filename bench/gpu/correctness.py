"""Every kernel against NumPy in float64, with poisoned outputs; then the test suite with the GPU required."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpu.log import Figures
from gpu.session import Case, Context, Options, Section
from minidl import selftest
from minidl.bench.rows import FAMILIES
from minidl.host_arrays import CopyingKernels
from minidl.selftest.check import Call

ROOT = Path(__file__).resolve().parents[2]
POISONED_BYTES = 1 << 30


def poison(gpu: Any) -> None:
    """Leaves nan in memory that the pool will hand out next: what a kernel does not write shows."""
    gpu.kernels.fill(gpu.backend.empty((POISONED_BYTES // 4,), np.dtype(np.float32)), float("nan"))


def self_test(context: Context, family: str, kernels: Any = None) -> Figures:
    """The checks of `minidl selftest` for a family's kernels, in both number types."""
    kernels = kernels or CopyingKernels(context.gpu.kernels)
    poison(context.gpu)
    results = [
        selftest.check_kernel(row.kernel, "cuda", dtype, kernels)
        for row in FAMILIES[family]
        for dtype in selftest.DTYPES
    ]
    return _summary([(f"{result.kernel} {result.dtype}", result.worst, result.failure) for result in results])


def at_size(context: Context, family: str, size: str, kernels: Any = None) -> Figures:
    """The same checks at the shapes of the benchmarks, which reach the variants for large arrays."""
    kernels = kernels or CopyingKernels(context.gpu.kernels)
    poison(context.gpu)
    results: list[tuple[str, float, str]] = []
    for row in FAMILIES[family]:
        for shape in row.shapes[size]:
            if context.seconds_left() <= 0:
                return {**_summary(results), "notes": ["the time did not suffice for all kernels"]}
            results.append(_checked(kernels, row.kernel, row.call(shape, "float32"), str(shape)))
    return _summary(results)


def _checked(kernels: Any, kernel: str, call: Call, shape: str) -> tuple[str, float, str]:
    getattr(kernels, kernel)(*call.arguments)
    worst = max((_share(expected) for expected in call.expected), default=0.0)
    return f"{kernel} {shape}", worst, "" if worst <= 1 else f"{worst:.3g} times what is allowed"


def _share(expected: Any) -> float:
    error = float(expected.worst_error())
    return error / expected.epsilons if expected.epsilons else (np.inf if error else 0.0)


def _summary(results: list[tuple[str, float, str]]) -> Figures:
    wrong = [f"{name}: {failure}" for name, _, failure in results if failure]
    if wrong:
        return {"failure": "; ".join(wrong), "checked": len(results)}
    worst = max(results, key=lambda result: result[1], default=("", 0.0, ""))
    return {"checked": len(results), "kernels": [name for name, _, _ in results], "worst": worst[1], "at": worst[0]}


def run_pytest(context: Context, selection: str) -> Figures:
    """The tests whose names match, in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", selection, "--tb=line"]
    command.append("--ignore=tests/test_gpu_check.py")
    return run_and_count(command, context.seconds_left(), {"MINIDL_REQUIRE": "cuda"})


def run_and_count(command: list[str], seconds: float, more: dict[str, str]) -> Figures:
    """What the last line of pytest counts; a failure where a test failed or the time did not suffice."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds, env={**os.environ, **more}
        )
    except subprocess.TimeoutExpired as error:
        shown = error.stdout or b""
        text = shown.decode(errors="replace") if isinstance(shown, bytes) else shown
        return {"failure": f"not done after {seconds:.0f} s: {' '.join(text.split())[-80:]}"}
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", lines[-1])}
    if done.returncode or not counts.get("passed"):
        bad = [line for line in lines if line.startswith(("FAILED", "ERROR"))][:20]
        return {"failure": " | ".join([lines[-1], *bad]), **counts}
    return counts


def _own_cases() -> Iterator[Case]:
    for family in FAMILIES:
        yield Case(f"self-test, {family}", partial(self_test, family=family))
    for size in ("cache", "memory"):
        for family, rows in FAMILIES.items():
            if any(row.shapes[size] for row in rows):
                yield Case(f"self-test at {size} sizes, {family}", partial(at_size, family=family, size=size))


def cases(options: Options) -> list[Case]:
    return list(_own_cases())


def pytest_cases(options: Options) -> list[Case]:
    return [
        Case("pytest, tests on the GPU", partial(run_pytest, selection="gpu")),
        Case("pytest, all other tests", partial(run_pytest, selection="not gpu")),
    ]


SECTION = Section("correctness", 60, cases)
PYTEST = Section("pytest", 90, pytest_cases)
