"""`minidl lab ...`: experiments on the command line; what all of them share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console

from minidl import backends
from minidl.cli.options import existing_folder, option, plain_errors
from minidl.data import DATASET_NAMES

lab_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

DatasetOption = Annotated[str | None, option("Images to learn (default: mnist).", DATASET_NAMES)]
DataDirOption = Annotated[
    Path | None, option("Folder that holds <dataset>/train-images-idx3-ubyte.gz ...", callback=existing_folder)
]
SeedsOption = Annotated[str | None, option("Seeds, such as 0,1,2 (default: the experiment's).", metavar="LIST")]
OutOption = Annotated[Path | None, option("Folder for tables, pictures and page (default: in runs/).")]
DeviceOption = Annotated[str, option("Where to compute: cpu or cuda (default: cpu).")]
ThreadsOption = Annotated[int | None, option("CPU threads (default: all). Results do not depend on it.", min=1)]
QuickOption = Annotated[bool, typer.Option("--quick", help="A small version that takes less than a minute.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with what the folder holds.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what the folder holds.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
# The options that every experiment has, with their defaults, and those of experiments on images.
SHARED: dict[str, tuple[Any, Any]] = {
    "seeds": (SeedsOption, None),
    "quick": (QuickOption, False),
    "out": (OutOption, None),
    "device": (DeviceOption, "cpu"),
    "threads": (ThreadsOption, None),
    "resume": (ResumeOption, False),
    "force": (ForceOption, False),
    "quiet": (QuietOption, False),
}
OF_IMAGES: dict[str, tuple[Any, Any]] = {"dataset": (DatasetOption, None), "data_dir": (DataDirOption, None)}

# What a command makes of its own options: the experiment's class, its fields where they were given, its quick form.
Choice = tuple[Any, dict[str, Any], dict[str, Any]]


def experiment(name: str, *, on_images: bool = True) -> Callable[[Callable[..., Choice]], Callable[..., None]]:
    """Makes `minidl lab NAME` of a function of the experiment's own options; those that all have are added to them."""
    shared = {**OF_IMAGES, **SHARED} if on_images else SHARED

    def register(choose: Callable[..., Choice]) -> Callable[..., None]:
        @functools.wraps(choose)
        def command(**values: Any) -> None:
            common = {key: values.pop(key) for key in shared}
            with plain_errors():
                make, options, quick_form = choose(**values)
            options |= {key: common.pop(key) for key in ("dataset", "seeds") if key in common}
            common["quick"] = quick_form if common["quick"] else None
            run_on_command_line(make, options, **{"data_dir": None, **common})

        own, hints = inspect.signature(choose).parameters, get_type_hints(choose, include_extras=True)
        kinds = {**{key: (hints[key], parameter.default) for key, parameter in own.items()}, **shared}
        by_name = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter(key, by_name, annotation=kind, default=default) for key, (kind, default) in kinds.items()
        ]
        command.__signature__ = inspect.Signature(parameters, return_annotation=None)  # type: ignore[attr-defined]
        command.__annotations__ = {key: kind for key, (kind, _) in kinds.items()}
        del command.__wrapped__
        lab_app.command(name)(command)
        return command

    return register


def parse_seeds(text: str) -> tuple[int, ...]:
    """ "0,1,2" -> (0, 1, 2).

    Raises:
        ValueError: not whole numbers from 0 to 2^63 - 1, or one of them twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) < 2**63 for part in parts):
        raise ValueError(f"--seeds must be whole numbers from 0 to 2^63 - 1 such as 0,1,2, got {text!r}")
    seeds = tuple(int(part) for part in parts)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds must differ from one another, got {text!r}")
    return seeds


def parse_numbers(name: str, text: str) -> tuple[int, ...]:
    """ "2,5,10" -> (2, 5, 10); the experiment checks the range.

    Raises:
        ValueError: not whole numbers.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise ValueError(f"{name} must be whole numbers such as 2,5, got {text!r}")
    return tuple(int(part) for part in parts)


def parse_names(text: str) -> tuple[str, ...]:
    """ "adam, sgd" -> ("adam", "sgd"); the experiment checks the names."""
    return tuple(part.strip() for part in text.split(","))


def run_on_command_line(
    make: Any,
    options: dict[str, Any],
    *,
    quick: dict[str, Any] | None,
    out: Path | None,
    data_dir: Path | None,
    device: str,
    threads: int | None,
    resume: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Makes an experiment from the options that were given (not None), over those of its quick form, runs and shows it.

    Errors of use become one line and exit code 1.
    """
    console = Console(quiet=quiet)
    with plain_errors():
        if resume and force:
            raise ValueError("--resume goes on with what --force would remove: give one of them")
        if threads is not None:
            backends.set_num_threads(threads)
        backends.load(device)
        given = {name: value for name, value in options.items() if value is not None}
        if isinstance(given.get("seeds"), str):
            given["seeds"] = parse_seeds(given["seeds"])
        experiment = make(**{**(quick or {}), **given})
        from minidl.lab import Context, run_experiment, show

        folder = out or Path("runs") / (f"lab-{experiment.name}" + ("-quick" if quick is not None else ""))
        context = Context(device=device, data_dir=data_dir, shows_progress=not quiet)
        console.print(f"[bold]{experiment.title}[/]", highlight=False)
        show(run_experiment(experiment, folder, context=context, resume=resume, force=force, console=console), console)
