"""The other side of `worker`: a process per library, and whether strangers took its cores while it was measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

# After a sample that used several cores. OpenBLAS's and OpenMP's threads go on spinning for 0.1 to 0.2 s: whoever is
# measured next would share its cores with them, and run at half speed.
PAUSE_SECONDS = 0.25
# Part of one core that other processes may take during a sample.
BUSY_SHARE = 0.15

THREAD_VARIABLES = ("MINIDL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# run_path rather than the file itself: that would put this folder before the standard library.
RUN_FILE = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


class Library(Protocol):
    """Something that answers the requests of `worker.Session`."""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]: ...


def environment(threads: int, **more: str) -> dict[str, str]:
    """This process's environment, with one number of threads for every library."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), **more}


def own_package_first() -> dict[str, str]:
    """The environment variable that lets another process of this interpreter import this very package."""
    package = str(Path(__file__).resolve().parents[2])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))}


def run_worker(python: str, worker: str, request: dict[str, Any], threads: int, has_minidl: bool) -> dict[str, Any]:
    """What a worker of this folder prints as JSON, run once in a process of its own; `request["library"]` names what
    it measures, `has_minidl` says that this very package is to be importable there. ImportError where it fails, with
    the last line of what it said."""
    folder = Path(__file__).resolve().parent
    command = [python, "-c", RUN_FILE, str(folder / worker), json.dumps({**request, "folder": str(folder)})]
    more = own_package_first() if has_minidl else {}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(threads, **more))
    except OSError as error:
        raise ImportError(f"{python} cannot be started: {error.strerror}") from None
    if done.returncode:
        raise ImportError(f"{request['library']} in {python}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def least_disturbed(run: Callable[[], dict[str, Any]], repeats: int) -> dict[str, Any]:
    """The figures of that of a few processes to which strangers left most; the first that was hardly disturbed."""
    best: dict[str, Any] = {}
    for _ in range(1 + repeats):
        figures = run()
        if not best or figures["others"] < best["others"]:
            best = figures
        if figures["others"] <= BUSY_SHARE:
            break
    return best


class Worker:
    """A worker process of one library.

    Raises:
        ImportError: its interpreter does not have the library, or cannot be started.
    """

    def __init__(self, library: str, python: str, threads: int, isa: str | None = None) -> None:
        self.library = library
        more = own_package_first() if library == "minidl" else {}
        if isa is not None:
            more["MINIDL_CPU_ISA"] = isa
        command = [python, "-c", RUN_FILE, str(Path(__file__).with_name("worker.py")), library, str(threads)]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment(threads, **more),
            )
        except OSError as error:
            raise ImportError(f"{python} cannot be started: {error.strerror}") from None
        self.version = self.answer({"do": "version"})
        if "error" in self.version:
            self.close()
            raise ImportError(f"{python} does not import {library}: {self.version['error']}")

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer; `error` in it where the request failed or the process is gone."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"error": f"its process ended with status {self.process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # a request that a process killed before did not read
                    pipe.close()
        self.process.wait()


class OtherProcesses:
    """How much of the cores other processes took between `begin` and `share`."""

    def __init__(self) -> None:
        self.cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.tick = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
        self._wall = self._busy = self._own = 0.0

    def begin(self) -> None:
        self._wall, self._busy, self._own = time.perf_counter(), self._busy_seconds(), time.process_time()

    def share(self, measured_cpu_seconds: float) -> float:
        """In cores, less what the measured process and this one took; 0 where /proc/stat cannot be read.

        The kernel counts in ticks of about 10 ms: what may be rounding is not held against anybody.
        """
        wall = time.perf_counter() - self._wall
        own = time.process_time() - self._own + measured_cpu_seconds
        others = self._busy_seconds() - self._busy - own - 2 * self.tick
        return max(0.0, others / max(wall, 1e-9))

    def _busy_seconds(self) -> float:
        """Of the cores that this process may use: all but idle, waiting for disks and what guests are counted twice."""
        try:
            lines = Path("/proc/stat").read_text().splitlines()
        except OSError:
            return 0.0
        names = {f"cpu{core}" for core in self.cores}
        fields: Sequence[list[str]] = [line.split() for line in lines if line.split()[0] in names]
        return sum(sum(int(n) for n in row[1:9]) - int(row[4]) - int(row[5]) for row in fields) * self.tick
