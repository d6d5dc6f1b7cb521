"""What a training needs later, imported while its data are unpacked."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading

from minidl import backends
from minidl.plots.style import can_plot

# A training that has the interpreter's lock for microseconds at a time would wait for it 5 ms.
SWITCH_SECONDS = 1e-4


def import_beside(device: str) -> None:
    """Loads the device's back end in a thread, then what the picture needs: up to 0.5 s and 0.3 s less later on.

    Whoever needs them before imports them as usual, and gets the errors.
    """
    for work in (_start_driver, _import):
        threading.Thread(target=work, args=(device,), daemon=True).start()


def _start_driver(device: str) -> None:
    with contextlib.suppress(Exception):
        backends.start_driver(device)


def _import(device: str) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with contextlib.suppress(Exception):
            backends.load(device)
        with contextlib.suppress(Exception):
            if can_plot():
                for module in ("matplotlib.backends.backend_agg", "matplotlib.figure"):
                    importlib.import_module(module)
    finally:
        sys.setswitchinterval(before)
