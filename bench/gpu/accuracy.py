"""Time to 98 % test accuracy on MNIST, from process start, for several seeds; the same recipe in PyTorch."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from gpu.log import Figures
from gpu.session import Case, Context, Options, Section
from minidl.bench.accuracy import run_minidl, run_torch
from minidl.cli.bench_steps import RECIPE_OPTIONS
from minidl.cli.config import RunConfig
from minidl.data.images import find_files

WANTED = 0.98


def run(context: Context, library: str, seed: int) -> Figures:
    """One process: its seconds, those of training alone, epochs, the accuracy reached."""
    files = find_files("mnist", context.options.data_dir)
    if files is None:
        return {"skipped": "MNIST is not on this machine; `minidl train` downloads it, --data-dir names its folder"}
    folder, threads = Path(files[0]).parent, os.cpu_count() or 1
    if library == "minidl":
        figures = asdict(run_minidl(WANTED, folder.parent, threads, seed, device="cuda"))
    elif context.torch is None:
        return {"skipped": "PyTorch is not installed, or finds no GPU"}
    else:
        config = RunConfig().to_json()
        recipe = {name: config[name] for name in RECIPE_OPTIONS}
        figures = asdict(run_torch(sys.executable, WANTED, recipe, folder, threads, seed, device="cuda"))
    return judge(figures)


def judge(figures: Figures) -> Figures:
    """The figures of a run that got there, or its failure."""
    if figures["accuracy"] < WANTED:
        return {"failure": f"{figures['accuracy']:.2%} after {figures['epochs']} epochs instead of {WANTED:.0%}"}
    return figures


def case_name(library: str, seed: int) -> str:
    return f"{library} to {WANTED:.0%}, seed {seed}"


def cases(options: Options) -> list[Case]:
    return [
        Case(case_name(library, seed), partial(run, library=library, seed=seed))
        for seed in range(options.seeds)
        for library in ("minidl", "PyTorch")
    ]


SECTION = Section("time to accuracy", 60, cases)
