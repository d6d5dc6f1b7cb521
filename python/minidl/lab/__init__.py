"""Experiments of the lecture's lab: each trains over several seeds and leaves a table, pictures and a page of text."""

from minidl.lab.cost import Cost, training_cost
from minidl.lab.experiment import Context, Experiment, Result, Run, by_variant
from minidl.lab.images import Loaders, Split, make_loaders
from minidl.lab.progress import RunProgress
from minidl.lab.runner import ExperimentInterrupted, Report, run_experiment, show
from minidl.lab.statistics import Spread, differ, spread_of
from minidl.lab.table import Column, Table

__all__ = [
    "Column",
    "Context",
    "Cost",
    "Experiment",
    "ExperimentInterrupted",
    "Loaders",
    "Report",
    "Result",
    "Run",
    "RunProgress",
    "Split",
    "Spread",
    "Table",
    "by_variant",
    "differ",
    "make_loaders",
    "run_experiment",
    "show",
    "spread_of",
    "training_cost",
]
