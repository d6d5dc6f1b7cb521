"""What a figure depends on, for the record of a run."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl import _cpu

# Variables by which a library computes otherwise than it would by itself on this processor.
SETTINGS = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
    "XLA_FLAGS",
)


def library_settings() -> dict[str, str]:
    """Those of them that are set: NumPy's OpenBLAS, told that it is on an older processor, may take twice the time."""
    return {name: os.environ[name] for name in SETTINGS if os.environ.get(name)}


def describe_machine() -> dict[str, Any]:
    """Processor, cores, load, versions, instruction set, threads, settings of libraries."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "minidl": minidl.__version__,
        "isa": _cpu.isa(),
        "threads": _cpu.thread_count(),
        "settings": library_settings(),
    }


def _processor() -> str:
    """The processor's name, on x86 with family and model: a virtual machine may name every generation alike."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    pairs = (line.partition(":") for line in reversed(lines))
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    name = fields.get("model name", platform.processor())
    if "cpu family" in fields and "model" in fields:
        return f"{name} (family {fields['cpu family']}, model {fields['model']})"
    return name
