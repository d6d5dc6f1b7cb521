"""Ctrl-C between steps, not within one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C was pressed; the step under way was finished first, and checkpoints were written."""


class InterruptFlag:
    """Whether Ctrl-C was pressed since the flag was raised as a signal handler."""

    def __init__(self) -> None:
        self.is_set = False

    def note(self, number: int, frame: Any) -> None:
        """The signal handler: the first Ctrl-C is noted, a second one stops at once."""
        if self.is_set:
            raise KeyboardInterrupt
        self.is_set = True


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[InterruptFlag]:
    """Ctrl-C sets the flag instead of breaking off; only in the main thread, other threads get no signals."""
    flag = InterruptFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous = signal.signal(signal.SIGINT, flag.note)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, previous)
