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
    threading.Thread(target=_import, args=(device,), daemon=True).start()


def _import(device: str) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with contextlib.suppress(Exception):
            backends.load(device).synchronize()  # a GPU's driver takes its time to get ready, too
        with contextlib.suppress(Exception):
            if can_plot():
                for module in ("matplotlib.backends.backend_agg", "matplotlib.figure"):
                    importlib.import_module(module)
    finally:
        sys.setswitchinterval(before)
