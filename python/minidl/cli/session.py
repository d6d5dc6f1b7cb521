"""One call of `minidl train`, from its options to the closing summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from minidl.cli.config import RunConfig
from minidl.cli.imports import import_beside
from minidl.cli.outputs import check_folder, check_writable, choose_outputs
from minidl.cli.train import Outcome, load_or_fall_back, train, write_results
from minidl.data import load_images
from minidl.plots.style import SUFFIXES, can_plot
from minidl.training import TensorBoard, TrainingInterrupted, load_checkpoint

STEPS_PER_RECORD = 10  # in TensorBoard's event file


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line; `options` are those of RunConfig, None where not given."""

    options: dict[str, Any]
    data_dir: Path | None = None
    device: str = "cpu"
    checkpoint: Path | None = None
    resume: Path | None = None
    record: str | None = None
    plot: Path | None = None
    until_accuracy: float | None = None
    wants_profile: bool = False
    tensorboard: Path | None = None
    wants_hints: bool = True
    wants_plots: bool = False


def run(request: Request, console: Console) -> Outcome:
    """Checks everything, then trains and reports.

    Raises:
        ValueError, OSError: an option, a path or a file is not right; nothing has been started then.
        NonFiniteLossError: the loss became nan or inf.
        TrainingInterrupted: Ctrl-C; the message says how to go on.
    """
    for name, is_wanted in (("--plot", request.plot is not None), ("--plots", request.wants_plots)):
        if is_wanted and not can_plot():
            raise ImportError(f"{name} needs matplotlib, which is not installed: pip install matplotlib")
    board = None
    if request.tensorboard is not None:
        board = TensorBoard(request.tensorboard, every=STEPS_PER_RECORD, histograms=True)
        check_folder(request.tensorboard)
    # Before a download, too: nobody wants to wait for that and then learn of a wrong path.
    for path in (request.checkpoint, request.record, request.plot):
        if path not in (None, "-"):
            check_writable(Path(path))
    if request.plot is not None and request.plot.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--plot must end in {' or '.join(SUFFIXES)}, got {str(request.plot)!r}")
    import_beside(request.device)
    if request.resume is not None:
        config = RunConfig.from_json(_run_options(request.resume))
        images = load_images(config.dataset, request.data_dir, show_progress=not console.quiet)
    else:
        config = RunConfig.from_options(request.options)
        images = load_or_fall_back(request.options["dataset"], request.data_dir, console)
        if images.name != config.dataset:
            config = config.with_dataset(images.name, request.options)
    outputs = choose_outputs(config.dataset, request.checkpoint, request.record, request.plot, request.resume)
    outputs.check()
    try:
        outcome = train(
            config,
            images,
            request.device,
            outputs,
            request.resume,
            console,
            request.until_accuracy,
            request.wants_profile,
            board,
            request.wants_hints,
            request.wants_plots,
        )
    except TrainingInterrupted as error:
        resume = f"minidl train --resume {outputs.checkpoint}"
        raise TrainingInterrupted(f"{error}; everything is saved, go on with: {resume}") from None
    told = write_results(outcome, outputs)
    if request.tensorboard is not None:
        told["tensorboard"] = f"tensorboard --logdir {request.tensorboard}"
    _print_summary(outcome, told, console)
    return outcome


def _run_options(path: Path) -> dict[str, Any]:
    config = load_checkpoint(path)["config"]
    if "run" not in config:
        raise ValueError(f"--resume {path} must come from `minidl train`, which keeps its options in it")
    options: dict[str, Any] = config["run"]
    return options


def _print_summary(outcome: Outcome, told: dict[str, str], console: Console) -> None:
    accuracy = f"test accuracy {outcome.test_accuracy:.2%}"
    if console.quiet:
        print(f"{accuracy} in {outcome.seconds:.1f} s, checkpoint {told['checkpoint']}", flush=True)
        return
    console.print(f"\n[bold green]{accuracy}[/] in {outcome.seconds:.1f} s", highlight=False)
    console.print(f"[bold]{'fingerprint':14}[/] {outcome.history.fingerprint}", highlight=False)
    for name, text in told.items():
        console.print(f"[bold]{name:14}[/] {escape(text)}", highlight=False, soft_wrap=True)
    console.print(f"\nTry it: minidl predict {escape(told['checkpoint'])} 0 1 2", highlight=False, soft_wrap=True)
