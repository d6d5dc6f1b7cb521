"""`minidl train`: loads, trains, measures, records."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

import minidl
from minidl import _cpu, backends, generator
from minidl.cli.config import RunConfig
from minidl.cli.hints import Hints
from minidl.cli.outputs import Outputs
from minidl.cli.plots import plot_learning_curve, plot_network
from minidl.cli.recipe import build_loaders, build_model, build_optimizer, build_schedule, pixel_scale
from minidl.data import DatasetNotFoundError, ImageSet, load_images
from minidl.io import write_atomically
from minidl.plots.style import can_plot
from minidl.training import (
    Callback,
    EarlyStopping,
    History,
    ModelCheckpoint,
    ProgressBar,
    StopAtAccuracy,
    TensorBoard,
    Training,
    evaluate,
)
from minidl.wording import counted


@dataclass(frozen=True)
class Outcome:
    """A finished run."""

    config: RunConfig
    history: History
    test_loss: float
    test_accuracy: float
    seconds: float
    device: str
    pictures: dict[str, str] = field(default_factory=dict)  # paths by name


def load_or_fall_back(name: str | None, data_dir: Path | None, console: Console) -> ImageSet:
    """The data set asked for; MNIST if none was, or the embedded digits where MNIST cannot be had, said loudly."""
    try:
        return load_images(name or "mnist", data_dir, show_progress=not console.quiet)
    except DatasetNotFoundError as error:
        if name is not None:
            raise
        loud = Console(stderr=True)
        loud.print("[bold yellow]MNIST cannot be had:[/]", escape(str(error)), highlight=False, soft_wrap=True)
        loud.print("[bold yellow]Training on digits instead:[/] 1,797 small handwritten digits that minidl carries.\n")
        return load_images("digits")


def train(
    config: RunConfig,
    images: ImageSet,
    device: str,
    outputs: Outputs,
    resume: Path | None,
    console: Console,
    until_accuracy: float | None = None,
    wants_profile: bool = False,
    board: TensorBoard | None = None,
    wants_hints: bool = True,
    wants_plots: bool = False,
) -> Outcome:
    """Trains as configured, or until an epoch reaches a test accuracy, and measures the test accuracy.

    Raises:
        NonFiniteLossError, TrainingInterrupted: see `training.fit`.
    """
    started = time.perf_counter()
    generator.manual_seed(config.seed)
    backends.set_float32_matmul_precision(config.matmul_precision)
    loaders = build_loaders(config, images, device)
    rows, columns = images.train_images.shape[1:]
    model = build_model(config, rows * columns, len(images.classes)).to(device)
    optimizer = build_optimizer(config, model)
    schedule = build_schedule(config, optimizer, config.epochs * len(loaders.train))
    callbacks: list[Callback] = [] if console.quiet else [ProgressBar(console)]
    hints = Hints(console) if wants_hints and not console.quiet else None
    if hints is not None:
        callbacks.append(hints)
    if board is not None:
        callbacks.append(board)
    if config.patience is not None:
        callbacks.append(EarlyStopping("val_loss", config.patience))
    stop = None if until_accuracy is None else StopAtAccuracy(loaders.test, until_accuracy)
    if stop is not None:
        callbacks.append(stop)
    callbacks.append(ModelCheckpoint(outputs.checkpoint))
    training = Training(
        model,
        loaders.train,
        config.epochs,
        optimizer,
        scheduler=schedule,
        val_data=loaders.val,
        callbacks=callbacks,
        config={"run": config.to_json(), "data": describe_data(images)},
    )
    if resume is not None:
        training.load(resume)
    if not console.quiet:
        describe_run(config, images, model, len(loaders.train), console)
    if hints is not None:
        hints.look(training)
    history = training.run()
    test_loss, test_accuracy = (stop and stop.measured) or evaluate(model, loaders.test)
    seconds = time.perf_counter() - started
    if wants_profile:
        from minidl.cli.profile import print_profile  # draws in the benchmarks

        x, target = next(iter(loaders.train))
        print_profile(model, training.loss, optimizer, x, target, console)
    pictures = plot_network(model, loaders.test, images, outputs) if wants_plots else {}
    return Outcome(config, history, test_loss, test_accuracy or 0.0, seconds, device, pictures)


def describe_data(images: ImageSet) -> dict[str, Any]:
    """What `minidl predict` needs to prepare an image as the training images were."""
    scale, shift = pixel_scale(images)
    shape = list(images.train_images.shape[1:])
    classes = list(images.classes)
    return {"shape": shape, "classes": classes, "pixel_max": images.pixel_max, "scale": scale, "shift": shift}


def describe_run(config: RunConfig, images: ImageSet, model: Any, steps: int, console: Console) -> None:
    rows, columns = images.train_images.shape[1:]
    widths = "-".join(str(width) for width in (rows * columns, *config.hidden, len(images.classes)))
    count = sum(parameter.numel() for parameter in model.parameters())
    extras = [config.activation] + ["batch norm"] * config.batch_norm
    extras += [f"dropout {config.dropout:g}"] if config.dropout else []
    lines = {
        "data": f"{images.name}: {len(images.train_labels):,} to learn from, {len(images.test_labels):,} to test on"
        f" ({images.origin})",
        "model": f"{widths}, {', '.join(extras)}; {count:,} parameters",
        "training": f"{counted(config.epochs, 'epoch')} of {steps} batches of {config.batch_size}; "
        f"{config.optimizer}, learning rate {config.lr:g} ({config.schedule}), seed {config.seed}",
        "machine": f"{_cpu.isa()}, {counted(backends.get_num_threads(), 'thread')}",
    }
    for name, text in lines.items():
        console.print(f"[bold]{name:9}[/] {escape(text)}", highlight=False, soft_wrap=True)
    console.print()


def make_record(outcome: Outcome) -> dict[str, Any]:
    """The run as JSON; equal fingerprints mean equal losses, step by step and bit by bit."""
    return {
        "version": minidl.__version__,
        "dataset": outcome.config.dataset,
        "seed": outcome.config.seed,
        "device": outcome.device,
        "instruction_set": _cpu.isa(),
        "threads": backends.get_num_threads(),
        "config": outcome.config.to_json(),
        "epochs": [asdict(figures) for figures in outcome.history.epochs],
        "test_loss": outcome.test_loss,
        "test_accuracy": outcome.test_accuracy,
        "seconds": outcome.seconds,
        "fingerprint": outcome.history.fingerprint,
    }


def write_results(outcome: Outcome, outputs: Outputs) -> dict[str, str]:
    """Writes record and picture; returns what to tell about each."""
    text = json.dumps(make_record(outcome), indent=2)
    told = {"checkpoint": str(outputs.checkpoint)}
    if outputs.record is None:
        print(text)
        told["record"] = "on standard output"
    else:
        write_atomically(outputs.record, (text + "\n").encode())
        told["record"] = str(outputs.record)
    if can_plot():
        title = f"{outcome.config.dataset}: test accuracy {outcome.test_accuracy:.2%}"
        plot_learning_curve(outcome.history, outputs.plot, title, outcome.test_loss, outcome.test_accuracy)
        told["learning curve"] = str(outputs.plot)
    else:
        told["learning curve"] = "not drawn; pip install matplotlib gives the picture, the record has the figures"
    return told | outcome.pictures
