"""`minidl bench`: rows measured, printed, recorded, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from minidl import _cpu
from minidl.bench import QUICK, Measurement, Plan, measure_all, measure_roofs
from minidl.bench.libraries import started
from minidl.bench.machine import describe_machine
from minidl.bench.report import make_report, read_to_go_on, write_report
from minidl.bench.roofline import plot_roofline
from minidl.bench.roofs import Roofs
from minidl.bench.select import select_rows
from minidl.cli.bench_notes import print_notes
from minidl.cli.outputs import check_writable
from minidl.plots.style import can_plot


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    names: Sequence[str]
    threads: int
    isa: str | None
    dtype: str
    sizes: Sequence[str]
    torch: str | None
    json: Path | None
    plot: Path | None
    is_quick: bool
    goes_on: bool = False


def run(request: Request, console: Console) -> bool:
    """Measures, prints row by row and records; True if every result was right."""
    rows = select_rows(request.names)
    if request.plot is not None and not can_plot():
        raise ImportError("--plot needs matplotlib, which is not installed: pip install matplotlib")
    for path in (request.json, request.plot):
        if path is not None:
            check_writable(path)
    if request.isa is not None:
        _cpu.set_isa(request.isa)
    _cpu.set_thread_count(request.threads)
    plan, shapes_per_size = (QUICK, 1) if request.is_quick else (Plan(), None)
    measurements: dict[tuple[str, str, str], Measurement] = {}
    with started({"torch": request.torch}, request.threads, _cpu.isa()) as (workers, missing):
        if request.goes_on and request.json is not None and request.json.exists():
            before, roofs = read_to_go_on(request.json, request.dtype, workers)
            measurements = {m.place: m for m in before}
        else:
            roofs = measure_roofs(request.dtype, 0.02 if request.is_quick else 0.15)
        _print_head(request, roofs, missing, console)
        known = {place: m for place, m in measurements.items() if m.is_sound}
        libraries = dict(workers)
        for m in measure_all(rows, request.sizes, request.dtype, libraries, roofs, plan, shapes_per_size, known):
            _print_row(m, console)
            measurements[m.place] = m
            if request.json is not None and m.place not in known:
                # After every row: a run that is cut off goes on with --resume.
                write_report(make_report(list(measurements.values()), roofs, request.dtype, workers), request.json)
        report = make_report(list(measurements.values()), roofs, request.dtype, workers)
    if request.json is not None:
        write_report(report, request.json)
        console.print(f"figures: {escape(str(request.json))}", highlight=False, soft_wrap=True)
    if request.plot is not None:
        machine = report["machine"]
        title = f"{machine['cpu']}, {machine['isa']}, {request.threads} threads, {request.dtype}"
        plot_roofline(list(measurements.values()), roofs, request.plot, title)
        console.print(f"roofline: {escape(str(request.plot))}", highlight=False, soft_wrap=True)
    wrong = [m for m in measurements.values() if m.failure]
    if wrong:
        console.print(f"[red]{len(wrong)} of {len(measurements)} rows are wrong[/]", highlight=False)
    return not wrong


def _print_head(request: Request, roofs: Roofs, missing: Sequence[str], console: Console) -> None:
    machine = describe_machine()
    load = f", load {machine['load']:.1f}" if machine["load"] is not None else ""
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores{load}; {machine['isa']}, {request.threads} threads, "
        f"{request.dtype}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"roofs: {roofs.flops / 1e9:.0f} GFLOP/s; {roofs.cache / 1e9:.0f} GB/s in cache, "
        f"{roofs.memory / 1e9:.0f} GB/s in memory",
        highlight=False,
    )
    print_notes(machine, missing, console)
    console.print(
        f"{'kernel':29} {'shape':25} {'us':>10} {'spread':>7} {'GFLOP/s':>8} {'GB/s':>6} {'of roof':>14} "
        f"{'NumPy us':>10} {'ratio':>6} {'torch us':>10} {'ratio':>6}",
        style="bold",
        highlight=False,
        soft_wrap=True,
    )


def _print_row(m: Measurement, console: Console) -> None:
    start = f"{m.kernel:29} {m.shape:25}"
    if m.failure:
        console.print(f"{escape(start)} [red]{escape(m.failure)}[/]", highlight=False, soft_wrap=True)
        return
    own = m.timings["minidl"]
    text = (
        f"{start} {own.median * 1e6:10.2f} {own.spread:7.0%} {m.cost.flops / own.median / 1e9:8.1f} "
        f"{m.cost.bytes / own.median / 1e9:6.1f} {m.of_roof:6.0%} {m.roof:7}"
    )
    for library in ("numpy", "torch"):
        ratio = m.ratio_to(library)
        if ratio is None:
            text += f" {'-':>10} {'-':>6}"
        else:
            text += f" {m.timings[library].median * 1e6:10.2f} {ratio:6.2f}"
    disturbed = [f"{name} {t.others:.0%}" for name, t in m.timings.items() if t.was_disturbed]
    busy = [f"busy, others took of a core: {', '.join(disturbed)}"] if disturbed else []
    notes = "; ".join([*m.notes, *busy])
    note = f"  [yellow]{escape(notes)}[/]" if notes else ""
    console.print(escape(text) + note, highlight=False, soft_wrap=True)
