"""`minidl train | predict | info | selftest | bench`: parse, call, print."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from minidl import _cpu, backends
from minidl.cli.config import ACTIVATIONS, INITS, OPTIMIZERS, SCHEDULES, parse_hidden
from minidl.data import DATASET_NAMES

app = typer.Typer(
    name="minidl",
    help="Train, inspect and use small neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# Options that say where and how, not what: these may be given beside --resume.
RESUMABLE = ("data_dir", "device", "threads", "checkpoint", "record", "plot", "quiet", "resume")


def main() -> None:
    """The `minidl` command."""
    app()


def _names(known: Any) -> str:
    return "|".join(known)


def _one_of(known: Any) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in known:
            raise typer.BadParameter(f"must be one of {', '.join(known)}, got {value!r}")
        return value

    return check


def _existing_folder(value: Path | None) -> Path | None:
    if value is not None and not value.is_dir():
        raise typer.BadParameter(f"must be an existing folder, got {str(value)!r}")
    return value


def _existing_file(value: Path | None) -> Path | None:
    if value is not None and not value.is_file():
        raise typer.BadParameter(f"must be an existing file, got {str(value)!r}")
    return value


def _option(text: str, known: Any = None, **more: Any) -> Any:
    if known is not None:
        more |= {"metavar": _names(known), "callback": _one_of(known)}
    return typer.Option(help=text, show_default=False, **more)


@app.command()
def train(
    context: typer.Context,
    dataset: Annotated[str | None, _option("Images to learn (default: mnist).", DATASET_NAMES)] = None,
    data_dir: Annotated[
        Path | None, _option("Folder that holds <dataset>/train-images-idx3-ubyte.gz ...", callback=_existing_folder)
    ] = None,
    hidden: Annotated[
        str | None, _option("Widths of the hidden layers, or none (default: 256,128).", metavar="WIDTHS")
    ] = None,
    activation: Annotated[str | None, _option("Activation of the hidden layers (default: gelu).", ACTIVATIONS)] = None,
    init: Annotated[str | None, _option("Initial weights (default: those of PyTorch).", INITS)] = None,
    dropout: Annotated[float | None, _option("Probability of leaving a hidden unit out (default: 0.2).")] = None,
    batch_norm: Annotated[bool | None, _option("Normalize the hidden layers (default: yes).")] = None,
    optimizer: Annotated[str | None, _option("Optimizer (default: adamw).", OPTIMIZERS)] = None,
    lr: Annotated[float | None, _option("Highest learning rate (default: one that suits the optimizer).")] = None,
    weight_decay: Annotated[float | None, _option("Weight decay of the weight matrices (default: 0.01).")] = None,
    schedule: Annotated[str | None, _option("Course of the learning rate (default: one-cycle).", SCHEDULES)] = None,
    epochs: Annotated[int | None, _option("Passes over the training images (default: 10, digits 30).")] = None,
    batch_size: Annotated[int | None, _option("Images per step (default: 256, digits 32).")] = None,
    val_fraction: Annotated[
        float | None, _option("Part of the training images held out to validate (default: 0).")
    ] = None,
    patience: Annotated[
        int | None, _option("Stop after so many epochs without a better validation loss; sets --val-fraction 0.1.")
    ] = None,
    seed: Annotated[int | None, _option("Seed of weights, order and dropout (default: 0).")] = None,
    device: Annotated[str, _option("Where to compute: cpu or cuda (default: cpu).")] = "cpu",
    threads: Annotated[int | None, _option("CPU threads (default: all). Results do not depend on it.", min=1)] = None,
    checkpoint: Annotated[
        Path | None, _option("File to save the run to after every epoch (default: in runs/).")
    ] = None,
    resume: Annotated[
        Path | None, _option("Checkpoint of an interrupted run to go on with.", callback=_existing_file)
    ] = None,
    record: Annotated[
        str | None, _option("File for the figures as JSON, - for standard output (default: in runs/).", metavar="FILE")
    ] = None,
    plot: Annotated[Path | None, _option("File for the learning curve, a PNG picture (default: in runs/).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print one line at the end.")] = False,
) -> None:
    """Train a network on images of digits (or clothes) and measure its test accuracy."""
    from minidl.cli import session

    options = {k: v for k, v in context.params.items() if k not in RESUMABLE}
    given = {k: v for k, v in options.items() if v is not None}
    console = Console(quiet=quiet, stderr=record == "-")
    with _plain_errors():
        if threads is not None:
            backends.set_num_threads(threads)
        backends.load(device)
        if hidden is not None:
            options["hidden"] = parse_hidden(hidden)
        if resume is not None and given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ValueError(f"--resume goes on with the options of the checkpoint; leave out {names}")
        request = session.Request(options, data_dir, device, checkpoint, resume, record, plot)
        session.run(request, console)


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of `minidl train`.", callback=_existing_file)],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="PNG files, or indices of test images.")],
    data_dir: Annotated[Path | None, _option("Folder of the data set.", callback=_existing_folder)] = None,
) -> None:
    """Classify images: show each with the probability of every class."""
    from minidl.cli.display import print_prediction
    from minidl.cli.predict import Predictor

    console = Console()
    with _plain_errors():
        predictor = Predictor(checkpoint, data_dir)
        for source in images:
            print_prediction(predictor.predict(source), predictor.classes, console)


@app.command()
def info() -> None:
    """Show version, instruction sets, threads, devices, optional packages, data."""
    from minidl.cli.info import describe_installation

    console = Console()
    for name, text in describe_installation().items():
        console.print(f"[bold]{name:21}[/] {escape(text)}", highlight=False, soft_wrap=True)


@app.command()
def selftest() -> None:
    """Check every kernel of this installation on this machine against NumPy in float64."""
    from minidl.cli.display import print_selftest
    from minidl.selftest import run

    with _plain_errors():
        if not print_selftest(run(), Console()):
            raise typer.Exit(1)


class _KernelsByDefault(TyperGroup):
    """`minidl bench NAME...` means `minidl bench kernels NAME...`."""

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        if not arguments or arguments[0] not in self.commands:
            arguments = ["kernels", *arguments]
        return super().parse_args(context, arguments)


bench_app = typer.Typer(cls=_KernelsByDefault, rich_markup_mode=None)
app.add_typer(bench_app, name="bench", help="Measure kernels, or whole training steps (bench train).")


@bench_app.command(hidden=True)
def kernels(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[KERNEL_OR_FAMILY]...", help="What to measure (default: all).")
    ] = None,
    threads: Annotated[int | None, _option("CPU threads of every library (default: all).", min=1)] = None,
    isa: Annotated[str | None, _option("Instruction set (default: the best).", _cpu.available_isas())] = None,
    dtype: Annotated[str, _option("Number type (default: float32).", ("float32", "float64"))] = "float32",
    size: Annotated[
        str, _option("Arrays in cache, in memory, or both (default: all).", ("cache", "memory", "all"))
    ] = "all",
    torch: Annotated[
        str | None, _option("Interpreter that imports torch (default: this one, if it does).", metavar="PYTHON")
    ] = None,
    json: Annotated[Path | None, _option("File for the figures.", metavar="FILE")] = None,
    plot: Annotated[Path | None, _option("File for the roofline, a PNG picture.", metavar="FILE")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One shape per size, short samples.")] = False,
) -> None:
    """Measure kernels against this machine's roofs, NumPy and PyTorch. A result that is wrong has no time and makes the
    exit code 1. Training steps: minidl bench train --help."""
    from minidl.cli import bench as command

    with _plain_errors():
        request = command.Request(
            names or [],
            threads or backends.get_num_threads(),
            isa,
            dtype,
            ("cache", "memory") if size == "all" else (size,),
            torch,
            json,
            plot,
            quick,
        )
        if not command.run(request, Console()):
            raise typer.Exit(1)


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Errors of use become one line on stderr and exit code 1; Ctrl-C becomes exit code 130."""
    try:
        yield
    except (ValueError, OSError, ArithmeticError, ImportError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.strerror:
            text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        _print_error("[bold red]error:[/] ", text)
        raise typer.Exit(1) from None
    except KeyboardInterrupt as error:
        _print_error("", str(error) or "interrupted")
        raise typer.Exit(130) from None


def _print_error(prefix: str, text: str) -> None:
    Console(stderr=True).print(prefix + escape(text), highlight=False, soft_wrap=True)
