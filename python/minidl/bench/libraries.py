"""The libraries of a run: which can be had, each in a process of its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from minidl.bench.processes import Worker


@contextlib.contextmanager
def started(
    pythons: dict[str, str | None], threads: int, isa: str | None
) -> Iterator[tuple[dict[str, Worker], list[str]]]:
    """Workers of minidl, NumPy and the libraries named with their interpreters (None: this one), ended afterwards; and
    a line about each that could not be had. ImportError where an interpreter that was named does not have its library.
    """
    workers: dict[str, Worker] = {}
    missing: list[str] = []
    try:
        for library in ("minidl", "numpy", *pythons):
            python = pythons.get(library)
            try:
                workers[library] = Worker(
                    library, python or sys.executable, threads, isa if library == "minidl" else None
                )
            except ImportError:
                if python is not None or library in ("minidl", "numpy"):
                    raise
                missing.append(
                    f"{library} is not installed here and is left out; --{library} PYTHON names an interpreter with it"
                )
        yield workers, missing
    finally:
        for worker in workers.values():
            worker.close()
