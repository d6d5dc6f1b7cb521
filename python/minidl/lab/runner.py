"""Runs an experiment: what is not yet finished is trained, then everything is written."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from minidl.generator import get_rng_state, set_rng_state
from minidl.lab.cost import measure_pace
from minidl.lab.experiment import Context, Experiment, Result, Run
from minidl.lab.folder import Folder, plain
from minidl.lab.table import Table
from minidl.plots.style import can_plot

WITHOUT_MATPLOTLIB = "not drawn: matplotlib is not installed; pip install matplotlib, then --resume draws them"


@dataclass(frozen=True)
class Report:
    """What an experiment has found, and where it is written."""

    experiment: Experiment
    results: list[Result]
    tables: dict[str, Table]  # the first one is "table"
    paragraphs: list[str]
    folder: Path
    pictures: list[Path]


class ExperimentInterrupted(KeyboardInterrupt):
    """Ctrl-C: the runs that were finished are kept."""


def run_experiment(
    experiment: Experiment,
    folder: Path | str,
    *,
    context: Context | None = None,
    resume: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> Report:
    """Trains the runs of an experiment and writes table.csv, table.json, further tables, page.md and the pictures into
    `folder`.

    With `resume`, runs that the folder already holds are not trained again; with `force`, they are removed first. The
    random state of the process is as before afterwards.

    Raises:
        FileExistsError: the folder holds something, and neither was asked for.
        ValueError: the folder belongs to other settings.
        ExperimentInterrupted: Ctrl-C; finished runs are kept.
    """
    context = context or Context()
    console = console or Console(quiet=True)
    experiment.prepare(context)
    runs = experiment.runs(context)
    keys = [run.key for run in runs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"{experiment.name}: runs must have names of their own, got {sorted(keys)}")
    target = Folder(Path(folder), experiment.name, experiment.settings(), resume, force)
    state = get_rng_state()
    try:
        results = _run_all(runs, experiment, context, target, console)
    finally:
        set_rng_state(state)
    tables = {"table": experiment.table(results), **experiment.more_tables(results)}
    paragraphs = experiment.page(results)
    _write_tables(tables, target)
    pictures = _draw(experiment, results, target)
    _write_page(experiment, tables, paragraphs, pictures, target)
    return Report(experiment, results, tables, paragraphs, target.path, pictures)


def _run_all(
    runs: Sequence[Run], experiment: Experiment, context: Context, folder: Folder, console: Console
) -> list[Result]:
    finished = {run.key: result for run in runs if (result := folder.finished(run))}
    left = [run for run in runs if run.key not in finished]
    if finished:
        console.print(f"{len(finished)} of {len(runs)} runs are finished already", highlight=False)
    if not left:
        return [finished[run.key] for run in runs]
    pace = measure_pace(context.device)
    seconds = {run.key: pace.seconds(run.cost) for run in left}
    count = f"{len(left)} run" + "s" * (len(left) > 1)
    console.print(f"{count}, about {duration(sum(seconds.values()))} on this machine", highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(30),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=max(sum(seconds.values()), 1e-9))
        done = 0.0
        for run in left:
            progress.update(task, description=f"{run.variant}, seed {run.seed}")
            share = seconds[run.key]

            def report(part: float, done: float = done, share: float = share) -> None:
                progress.update(task, completed=done + part * share)

            try:
                started = time.perf_counter()
                figures = experiment.execute(run, replace(context, report=report))
                figures = {**figures, "seconds": time.perf_counter() - started}
            except KeyboardInterrupt:
                raise ExperimentInterrupted(
                    f"stopped in {run.variant}, seed {run.seed}; {len(finished)} of {len(runs)} runs are kept in "
                    f"{folder.path}, the same command with --resume goes on"
                ) from None
            finished[run.key] = folder.keep(run, figures)
            done += share
            progress.update(task, completed=done)
            if not console.is_terminal:
                took = f"{figures['seconds']:.1f} s"
                console.print(
                    f"{len(finished)}/{len(runs)}  {escape(run.variant)}, seed {run.seed}: {took}", highlight=False
                )
    return [finished[run.key] for run in runs]


def _write_tables(tables: dict[str, Table], folder: Folder) -> None:
    for name, table in tables.items():
        folder.write(f"{name}.csv", table.csv())
        folder.write(f"{name}.json", json.dumps(plain(table.records()), indent=2) + "\n")


def _draw(experiment: Experiment, results: Sequence[Result], folder: Folder) -> list[Path]:
    """Every figure as PNG and as SVG; none without matplotlib."""
    if not can_plot():
        return []
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    paths = []
    for name, figure in experiment.draw(results).items():
        FigureCanvasAgg(figure)
        for suffix in ("png", "svg"):
            path = folder.path / f"{name}.{suffix}"
            figure.savefig(path, dpi=150)
            paths.append(path)
            figure.set_layout_engine("none")  # the layout is found once: that takes longer than to draw
    return paths


def _write_page(
    experiment: Experiment,
    tables: dict[str, Table],
    paragraphs: Sequence[str],
    pictures: Sequence[Path],
    folder: Folder,
) -> None:
    shown = [f"![{path.stem}]({path.name})" for path in pictures if path.suffix == ".png"]
    grids = [table.markdown() for table in tables.values()]
    parts = [f"# {experiment.title}", *grids, *shown, *paragraphs]
    folder.write("page.md", "\n\n".join(parts) + "\n")


def duration(seconds: float) -> str:
    """ "40 seconds", "12 minutes", "1.5 hours".

    >>> duration(8), duration(300), duration(5400)
    ('8 seconds', '5 minutes', '1.5 hours')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} second" + "s" * (round(seconds) > 1)
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def show(report: Report, console: Console) -> None:
    """Prints the tables, the page and where everything is."""
    for table in report.tables.values():
        _show_table(table, console)
    for paragraph in report.paragraphs:
        console.print(escape(paragraph), highlight=False)
        console.print()
    drawn = ", ".join(path.name for path in report.pictures) or ("none" if can_plot() else WITHOUT_MATPLOTLIB)
    files = ", ".join(f"{name}.{suffix}" for name in report.tables for suffix in ("csv", "json"))
    lines: dict[str, Any] = {"folder": report.folder, "tables": f"{files}, page.md", "pictures": drawn}
    for name, text in lines.items():
        console.print(f"[bold]{name:9}[/] {escape(str(text))}", highlight=False, soft_wrap=True)


def _show_table(table: Table, console: Console) -> None:
    from rich import box
    from rich.measure import Measurement
    from rich.table import Table as RichTable

    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(table.columns):
        grid.add_column(escape(column.heading), justify="left" if i == 0 else "right", overflow="fold")
    for row in table.texts():
        grid.add_row(*(escape(cell) for cell in row))
    if not console.is_terminal:  # a file has no edge at which lines must be broken
        width = Measurement.get(console, console.options.update(max_width=10_000), grid).maximum
        console = Console(file=console.file, width=width, quiet=console.quiet)
    console.print(grid)
