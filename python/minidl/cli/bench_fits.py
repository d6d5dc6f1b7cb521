"""`minidl bench sklearn`: whole fits beside scikit-learn's own MLP, printed and recorded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from minidl.bench.fitting import LIBRARIES, FitComparison, compare_fits, select_fits
from minidl.bench.machine import describe_machine
from minidl.bench.report import SCHEMA, write_report
from minidl.cli.bench_notes import print_notes
from minidl.cli.outputs import check_writable


def run_fits(
    sizes: Sequence[str],
    python: str | None,
    threads: int,
    rounds: int,
    seconds: float,
    target: Path | None,
    console: Console,
) -> bool:
    """Measures, prints task by task, records; whether both libraries always ended at the same loss."""
    tasks = select_fits(sizes)
    if target is not None:
        check_writable(target)
    machine = describe_machine()
    heading = f"{machine['cpu']}, {machine['cores']} cores; {machine['isa']}, {threads} threads, {rounds} rounds"
    console.print(f"{heading}; times are medians of whole fits", highlight=False, soft_wrap=True)
    print_notes(machine, [], console)
    comparisons = []
    for comparison in compare_fits(tasks, python or sys.executable, threads, rounds, seconds):
        comparisons.append(comparison)
        _print_comparison(comparison, console)
    if target is not None:
        rows = [comparison.to_json() for comparison in comparisons]
        report = {"kind": "fits", "schema": SCHEMA, "machine": machine, "threads": threads, "rounds": rounds}
        write_report({**report, "rows": rows}, target)
        console.print(f"figures: {escape(str(target))}", highlight=False, soft_wrap=True)
    return all(comparison.is_same_training for comparison in comparisons)


def _print_comparison(comparison: FitComparison, console: Console) -> None:
    busy = f"  [yellow]busy, others took up to {comparison.others:.0%} of a core[/]" * comparison.was_disturbed
    console.print(f"[bold]{comparison.task.name}[/]{busy}", highlight=False, soft_wrap=True)
    for library in LIBRARIES:
        line = f"  {library:8} {comparison.median[library]:8.3f} s, fastest {comparison.fastest[library]:8.3f}"
        line += f", memory {comparison.memory[library] / 1e6:6.1f} MB, loss {comparison.loss[library]:.5f}"
        if library != "minidl":
            line += f"; ratio {comparison.ratio:5.2f} ({min(comparison.ratios):.2f} to {max(comparison.ratios):.2f})"
        console.print(escape(line), highlight=False, soft_wrap=True)
    if not comparison.is_same_training:
        console.print("  [red]the losses differ: these were not the same trainings[/]")
