"""One library in a process of its own: takes arrays, computes an expression, times it.

Runs in interpreters without minidl, so it imports nothing but the standard library, NumPy and the library asked for.
One JSON line asks, one answers.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

# An answer that another library computes may differ by its own rounding, not by what it is.
AGREEMENT = 2e-3
# What an expression may raise in a library that has other names or rules; the row shows it.
ERRORS = (ArithmeticError, AttributeError, LookupError, NameError, OSError, RuntimeError, TypeError, ValueError)


def calls_per_sample(function: Callable[[], object], sample_seconds: float = 2e-4) -> int:
    """How often to call for one sample to outlast the clock's grain. Warms up: caches, pages, sleeping threads."""
    begin = time.perf_counter()
    function()
    for _ in range(3 if time.perf_counter() - begin < 0.05 else 0):
        function()
    begin = time.perf_counter()
    function()
    return max(1, round(sample_seconds / max(time.perf_counter() - begin, 1e-8)))


def take_samples(function: Callable[[], object], seconds: float, calls: int) -> list[float]:
    """Seconds per call, sample by sample, for about `seconds` and at least 3 samples."""
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(calls):
            function()
        samples.append((time.perf_counter() - begin) / calls)
    return samples


class Session:
    """What a library is asked: `prepare` a row, then `sample` it; `version` at the start."""

    def __init__(self, library: str, threads: int) -> None:
        self.library = library
        self.function: Callable[[], Any] = lambda: None
        self.calls = 0
        self.module: Any = importlib.import_module("minidl._cpu" if library == "minidl" else library)
        if library == "minidl":
            importlib.import_module("minidl")  # reads the environment: instruction set, threads
        elif library == "torch":
            self.module.set_num_threads(threads)
            self.module.set_grad_enabled(False)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request; `error` says in words what went wrong."""
        try:
            result: dict[str, Any] = getattr(self, request.pop("do"))(**request)
        except ERRORS as error:
            return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        return result

    def version(self) -> dict[str, Any]:
        module = sys.modules["minidl"] if self.library == "minidl" else self.module
        return {"version": str(module.__version__), "python": sys.executable}

    def prepare(self, folder: str, values: dict[str, Any], expression: str, setup: str) -> dict[str, Any]:
        """Loads the arrays, computes the expression once and says how far its first result is from `result.npy`.

        minidl leaves its outputs in `folder` instead: the arrays it was given, after the call.
        """
        names = {name: self._load(folder, value) for name, value in values.items()}
        namespace: dict[str, Any] = {"np": np, self.library: self.module, **names}
        exec(setup, namespace)
        self.function = eval(f"lambda: {expression}", namespace)
        result = self.function()
        self.calls = 0
        if self.library == "minidl":
            self._save_outputs(folder, values, names)
            return {}
        wanted = os.path.join(folder, "result.npy")
        return {"difference": _difference(result, np.load(wanted))} if os.path.exists(wanted) else {}

    def sample(self, seconds: float) -> dict[str, Any]:
        """Seconds per call, sample by sample, and the time that this process has had on all cores meanwhile."""
        if self.calls == 0:
            self.calls = calls_per_sample(self.function)
        self.function()  # wakes the threads, which slept while another library was measured
        wall, cpu = time.perf_counter(), time.process_time()
        samples = take_samples(self.function, seconds, self.calls)
        return {"samples": samples, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    def _load(self, folder: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._load(folder, item) for item in value]
        if isinstance(value, dict) and "array" in value:
            return self._own(np.load(os.path.join(folder, value["array"])))
        if isinstance(value, dict):
            return getattr(getattr(self.module, value["enum"]), value["name"])
        return value

    def _own(self, array: Any) -> Any:
        """The array in memory that the library gives to its own: at cache lines, in large pages, or as it may be."""
        if self.library == "torch":
            return self.module.from_numpy(array).clone()
        if self.library == "numpy" or not array.flags.c_contiguous:
            return array
        own = self.module.empty(array.shape, array.dtype)
        own[...] = array
        return own

    def _save_outputs(self, folder: str, values: dict[str, Any], names: dict[str, Any]) -> None:
        for name, value in values.items():
            for item, array in zip(_flat(value), _flat(names[name]), strict=True):
                if isinstance(item, dict) and "array" in item:
                    np.save(os.path.join(folder, "after-" + item["array"]), array)


def _flat(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in _flat(item)] if isinstance(value, list) else [value]


def _difference(result: Any, wanted: Any) -> float | None:
    """The largest difference from the array wanted, relative to its elements or to 1; None for no array of its size."""
    while isinstance(result, list | tuple):
        result = result[0]
    array = np.asarray(result, np.float64)
    if array.size != wanted.size:
        return None
    wanted = np.asarray(wanted, np.float64)
    scale = np.maximum(np.abs(wanted), max(1e-30, min(1.0, float(np.abs(wanted).max(initial=0)))))
    return float((np.abs(array.reshape(wanted.shape) - wanted) / scale).max(initial=0))


def main() -> None:
    """Answers until the input ends."""
    library, threads = sys.argv[1], int(sys.argv[2])
    # What a library prints goes to stderr: answers have the output for themselves.
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        session = Session(library, threads)
    except ImportError as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers, flush=True)
        return
    for line in sys.stdin:
        print(json.dumps(session.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
