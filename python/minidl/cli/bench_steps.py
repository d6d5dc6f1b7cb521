"""`minidl bench train`: training steps and whole runs beside other libraries, printed and recorded."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from minidl import _cpu
from minidl.bench.accuracy import Race, race
from minidl.bench.machine import describe_machine
from minidl.bench.report import SCHEMA, write_report
from minidl.bench.roofs import measure_roofs
from minidl.bench.training import OTHERS, OURS, Comparison, available, compare, select_tasks
from minidl.cli.bench_notes import print_notes
from minidl.cli.config import RunConfig
from minidl.cli.outputs import check_writable

RECIPE_OPTIONS = ("hidden", "dropout", "lr", "weight_decay", "batch_size", "epochs")


def run_steps(
    nets: Sequence[str],
    batches: Sequence[int],
    pythons: Mapping[str, str | None],
    threads: int,
    rounds: int,
    seconds: float,
    target: Path | None,
    console: Console,
) -> None:
    """Measures, prints task by task, records."""
    tasks = select_tasks(nets, batches)
    if target is not None:
        check_writable(target)
    found, missing = available(pythons)
    _cpu.set_thread_count(threads)
    roofs = measure_roofs()
    machine = describe_machine()
    _print_machine(machine, threads, rounds, missing, console)
    console.print(f"multiply-add roof {roofs.flops / 1e9:.0f} GFLOP/s; times are medians of steps", highlight=False)
    comparisons = []
    for comparison in compare(tasks, found, threads, rounds, roofs, seconds):
        comparisons.append(comparison)
        _print_comparison(comparison, console)
    if target is not None:
        rows = [comparison.to_json() for comparison in comparisons]
        report = {"kind": "training", "roofs": roofs.to_json(), "rows": rows}
        _write(report, machine, threads, rounds, target, console)


def run_race(
    wanted: float,
    pythons: Mapping[str, str | None],
    data_dir: Path | None,
    threads: int,
    rounds: int,
    target: Path | None,
    console: Console,
) -> None:
    """Times whole runs to an accuracy, prints and records."""
    if target is not None:
        check_writable(target)
    found, missing = available({"torch": pythons.get("torch")})
    missing = [line for line in missing if line.startswith("torch")]
    machine = describe_machine()
    _print_machine(machine, threads, rounds, missing, console)
    config = RunConfig().to_json()
    recipe = {name: config[name] for name in RECIPE_OPTIONS}
    result = race(wanted, recipe, found.get("torch"), data_dir, threads, rounds)
    _print_race(result, console)
    if target is not None:
        _write({"kind": "accuracy", "rows": [result.to_json()]}, machine, threads, rounds, target, console)


def _print_machine(
    machine: Mapping[str, Any], threads: int, rounds: int, missing: Sequence[str], console: Console
) -> None:
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores; {machine['isa']}, {threads} threads, {rounds} rounds",
        highlight=False,
        soft_wrap=True,
    )
    print_notes(machine, missing, console)


def _print_comparison(comparison: Comparison, console: Console) -> None:
    busy = f"  [yellow]busy, others took up to {comparison.others:.0%} of a core[/]" * comparison.was_disturbed
    floor = f"{comparison.of_floor:.0%} of the FLOP floor's rate"
    console.print(f"[bold]{comparison.task.name}[/]: {floor}{busy}", highlight=False, soft_wrap=True)
    for library in (*OURS, *OTHERS):
        if library not in comparison.median:
            continue
        median, fastest = comparison.median[library] * 1e6, comparison.fastest[library] * 1e6
        line = f"  {library:16} {median:9.1f} us, fastest {fastest:9.1f}"
        line += f", memory {comparison.memory[library] / 1e6:6.1f} MB"
        if library in comparison.ratios:
            ratios = comparison.ratios[library]
            line += f"; ratio {comparison.ratio(library):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            line += f", of fastest {comparison.ratio_of_fastest(library):5.2f}"
        console.print(escape(line), highlight=False, soft_wrap=True)


def _print_race(result: Race, console: Console) -> None:
    for name, runs in (("minidl", result.minidl), ("torch", result.torch)):
        if runs:
            seconds = [run.seconds for run in runs]
            details = ", ".join(f"{run.seconds:.2f} s ({run.epochs} epochs, {run.accuracy:.2%})" for run in runs)
            console.print(f"{name:8} {statistics.median(seconds):6.2f} s: {details}", highlight=False, soft_wrap=True)
        if any(run.accuracy < result.wanted for run in runs):
            console.print(f"[yellow]{name} did not reach {result.wanted:.2%} in every run[/]", highlight=False)
    if result.torch:
        span = f"{min(result.ratios):.2f} to {max(result.ratios):.2f}"
        console.print(f"ratio of wall times, torch / minidl: {result.ratio:.2f} ({span})", highlight=False)


def _write(
    report: Mapping[str, Any], machine: Mapping[str, Any], threads: int, rounds: int, target: Path, console: Console
) -> None:
    write_report({**report, "schema": SCHEMA, "machine": machine, "threads": threads, "rounds": rounds}, target)
    console.print(f"figures: {escape(str(target))}", highlight=False, soft_wrap=True)
