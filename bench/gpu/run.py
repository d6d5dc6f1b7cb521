"""A run: each section in a process of its own, restarted after an error, ended when its time is up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

from gpu.log import Log
from gpu.session import Budget, Options, Section, pending

# A process that does not end by itself when its section's time is up, in a long kernel or a compiler, is killed.
GRACE_SECONDS = 5.0
ERROR_STATUS = 3  # of a process that has logged a row's error and stopped
Start = Callable[[Section, float], int]  # runs a section's pending rows for so long; its exit status


def run_sections(
    sections: Sequence[Section], options: Options, log: Log, budget: Budget, start: Start, say: Callable[[str], None]
) -> None:
    """Starts a section until all its rows are in the log, its time is up, or it says that it has done what it can."""
    for section in sections:
        while missing := list(pending(section, options, log.rows)):
            seconds = budget.granted(section.name)
            if seconds < 1:
                say(f"{section.name}: the time is used up, {len(missing)} rows are left out")
                break
            say(f"-- {section.name}: {len(missing)} rows, at most {seconds:.0f} s")
            before = len(log.rows)
            status = start(section, seconds)
            log.reload()
            if status == 0:
                break
            if len(log.rows) == before:  # it died without a word: that row is not tried again
                log.add(missing[0].name, {"failure": f"its process ended with status {status}"})


def run_process(command: Sequence[str], seconds: float) -> int:
    """The exit status; that of a killed process, with all that it has started, where it does not end in time."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait(seconds + GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def has_failed(rows: Mapping[str, Mapping[str, object]]) -> bool:
    return any("failure" in row for row in rows.values())
