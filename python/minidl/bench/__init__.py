"""Benchmarks: every kernel against the machine's roofs, NumPy and PyTorch; whole training steps; profiles."""

from __future__ import annotations

from minidl.bench.machine import describe_machine
from minidl.bench.measure import Measurement, measure, measure_all
from minidl.bench.roofs import Roofs, measure_roofs
from minidl.bench.row import Cost, Row
from minidl.bench.rows import FAMILIES, ROWS
from minidl.bench.timing import QUICK, Plan, Timing

__all__ = [
    "FAMILIES",
    "QUICK",
    "ROWS",
    "Cost",
    "Measurement",
    "Plan",
    "Roofs",
    "Row",
    "Timing",
    "describe_machine",
    "measure",
    "measure_all",
    "measure_roofs",
]
