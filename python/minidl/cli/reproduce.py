"""`minidl reproduce NAME`: a paper's figure or table beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from minidl.cli import lab
from minidl.cli.options import one_of, option

PAPERS = ("simard2003", "srivastava2014", "ioffe2015")
# What --quick changes: it shows that the program works and says so on its page.
QUICK: dict[str, dict[str, Any]] = {
    "simard2003": {"seeds": (0, 1), "epochs": 3},
    "srivastava2014": {"seeds": (0,), "epochs": 2},
    "ioffe2015": {"seeds": (0, 1), "epochs": 5, "evaluations": 20},
}
QUICK_TUNING: dict[str, dict[str, Any]] = {
    "simard2003": {"epochs": 1},
    "srivastava2014": {"epochs": 1, "dataset": "digits"},
    "ioffe2015": {"epochs": 1, "evaluations": 5},
}


def reproduce(
    name: Annotated[str, typer.Argument(metavar="|".join(PAPERS), callback=one_of(PAPERS), help="The paper.")],
    dataset: lab.DatasetOption = None,
    data_dir: lab.DataDirOption = None,
    epochs: Annotated[int | None, option("Passes over the training images (default: the recipe's).")] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Compare recipes on held-out training images instead.")] = False,
    seeds: lab.SeedsOption = None,
    out: lab.OutOption = None,
    device: lab.DeviceOption = "cpu",
    threads: lab.ThreadsOption = None,
    quick: lab.QuickOption = False,
    resume: lab.ResumeOption = False,
    force: lab.ForceOption = False,
    quiet: lab.QuietOption = False,
) -> None:
    """Train what a paper has trained, over several seeds, and set its numbers beside ours."""
    from minidl.lab.reproduce import REPRODUCTIONS

    paper = REPRODUCTIONS[name]
    small = (QUICK_TUNING if tune else QUICK)[name]
    folder = f"reproduce-{name}" + ("-tune" if tune else "") + ("-quick" if quick else "")
    lab.run_on_command_line(
        paper.tuning if tune else paper,
        {"dataset": dataset, "epochs": epochs, "seeds": seeds},
        quick=small if quick else None,
        out=out or Path("runs") / folder,
        data_dir=data_dir,
        device=device,
        threads=threads,
        resume=resume,
        force=force,
        quiet=quiet,
    )
