"""`minidl train | predict | info | selftest | bench | lab | reproduce`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from minidl import backends
from minidl.cli import (  # noqa: F401 - they register
    lab_batch_norm,
    lab_init,
    lab_landscape,
    lab_lr_find,
    lab_optimizers,
    lab_perceptron,
    lab_regularization,
)
from minidl.cli.bench import bench_app
from minidl.cli.config import ACTIVATIONS, INITS, OPTIMIZERS, SCHEDULES, parse_hidden
from minidl.cli.lab import lab_app
from minidl.cli.options import existing_file, existing_folder, option, plain_errors, require_accuracy
from minidl.cli.reproduce import reproduce
from minidl.data import DATASET_NAMES

app = typer.Typer(
    name="minidl",
    help="Train, inspect and use small neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(bench_app, name="bench", help="Measure kernels, or whole training steps (bench train).")
app.add_typer(lab_app, name="lab", help="Experiments of the lecture: tables, pictures, a page of text.")

# Options that say where and how, not what: these may be given beside --resume.
RESUMABLE = (
    *("data_dir", "device", "threads", "checkpoint", "record", "plot", "quiet", "resume"),
    *("until_accuracy", "profile", "tensorboard", "hints", "plots"),
)


def main() -> None:
    """The `minidl` command."""
    app()


@app.command()
def train(
    context: typer.Context,
    dataset: Annotated[str | None, option("Images to learn (default: mnist).", DATASET_NAMES)] = None,
    data_dir: Annotated[
        Path | None, option("Folder that holds <dataset>/train-images-idx3-ubyte.gz ...", callback=existing_folder)
    ] = None,
    hidden: Annotated[
        str | None, option("Widths of the hidden layers, or none (default: 256,128).", metavar="WIDTHS")
    ] = None,
    activation: Annotated[str | None, option("Activation of the hidden layers (default: gelu).", ACTIVATIONS)] = None,
    init: Annotated[str | None, option("Initial weights (default: those of PyTorch).", INITS)] = None,
    dropout: Annotated[float | None, option("Probability of leaving a hidden unit out (default: 0.2).")] = None,
    batch_norm: Annotated[bool | None, option("Normalize the hidden layers (default: yes).")] = None,
    optimizer: Annotated[str | None, option("Optimizer (default: adamw).", OPTIMIZERS)] = None,
    lr: Annotated[float | None, option("Highest learning rate (default: one that suits the optimizer).")] = None,
    weight_decay: Annotated[float | None, option("Weight decay of the weight matrices (default: 0.01).")] = None,
    schedule: Annotated[str | None, option("Course of the learning rate (default: one-cycle).", SCHEDULES)] = None,
    epochs: Annotated[int | None, option("Passes over the training images (default: 10, digits 30).")] = None,
    batch_size: Annotated[int | None, option("Images per step (default: 256, digits 32).")] = None,
    val_fraction: Annotated[
        float | None, option("Part of the training images held out to validate (default: 0).")
    ] = None,
    patience: Annotated[
        int | None, option("Stop after so many epochs without a better validation loss; sets --val-fraction 0.1.")
    ] = None,
    seed: Annotated[int | None, option("Seed of weights, order and dropout (default: 0).")] = None,
    matmul_precision: Annotated[
        str | None,
        option(
            "high, medium: rounded factors where products are faster so (default: highest).",
            backends.MATMUL_PRECISIONS,
        ),
    ] = None,
    device: Annotated[str, option("Where to compute: cpu or cuda (default: cpu).")] = "cpu",
    threads: Annotated[int | None, option("CPU threads (default: all). Results do not depend on it.", min=1)] = None,
    checkpoint: Annotated[Path | None, option("File to save the run to after every epoch (default: in runs/).")] = None,
    resume: Annotated[
        Path | None, option("Checkpoint of an interrupted run to go on with.", callback=existing_file)
    ] = None,
    record: Annotated[
        str | None, option("File for the figures as JSON, - for standard output (default: in runs/).", metavar="FILE")
    ] = None,
    plot: Annotated[Path | None, option("File for the learning curve, PNG or SVG (default: in runs/).")] = None,
    plots: Annotated[
        bool, typer.Option("--plots", help="Draw confusion matrix, worst mistakes and first-layer weights, too.")
    ] = False,
    hints: Annotated[bool, typer.Option("--hints/--no-hints", help="Print hints on what looks wrong.")] = True,
    tensorboard: Annotated[
        Path | None, option("Folder for TensorBoard's curves and histograms (needs pip install tensorboard).")
    ] = None,
    until_accuracy: Annotated[
        float | None, option("Stop after the epoch whose test accuracy reaches this: to time how long that takes.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print where a step's time goes, kernel by kernel.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print one line at the end.")] = False,
) -> None:
    """Train a network on images of digits (or clothes) and measure its test accuracy."""
    from minidl.cli import session

    options = {k: v for k, v in context.params.items() if k not in RESUMABLE}
    given = {k: v for k, v in options.items() if v is not None}
    console = Console(quiet=quiet, stderr=record == "-")
    with plain_errors():
        if threads is not None:
            backends.set_num_threads(threads)
        backends.require(device)
        if hidden is not None:
            options["hidden"] = parse_hidden(hidden)
        if resume is not None and given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ValueError(f"--resume goes on with the options of the checkpoint; leave out {names}")
        require_accuracy("--until-accuracy", until_accuracy)
        request = session.Request(
            options,
            data_dir,
            device,
            checkpoint,
            resume,
            record,
            plot,
            until_accuracy,
            wants_profile=profile,
            tensorboard=tensorboard,
            wants_hints=hints,
            wants_plots=plots,
        )
        session.run(request, console)


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of `minidl train`.", callback=existing_file)],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="PNG files, or indices of test images.")],
    data_dir: Annotated[Path | None, option("Folder of the data set.", callback=existing_folder)] = None,
) -> None:
    """Classify images: show each with the probability of every class."""
    from minidl.cli.display import print_prediction
    from minidl.cli.predict import Predictor

    console = Console()
    with plain_errors():
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

    with plain_errors():
        if not print_selftest(run(), Console()):
            raise typer.Exit(1)


app.command()(reproduce)
