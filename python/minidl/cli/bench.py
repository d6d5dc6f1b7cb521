"""The commands `minidl bench`, `minidl bench train` and `minidl bench sklearn`: parse and call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from minidl import _cpu, backends
from minidl.cli.options import existing_folder, option, plain_errors, require_accuracy


class _KernelsByDefault(TyperGroup):
    """`minidl bench NAME...` means `minidl bench kernels NAME...`."""

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        if not arguments or arguments[0] not in self.commands:
            arguments = ["kernels", *arguments]
        return super().parse_args(context, arguments)


bench_app = typer.Typer(cls=_KernelsByDefault, rich_markup_mode=None)


@bench_app.command(hidden=True)
def kernels(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[KERNEL_OR_FAMILY]...", help="What to measure (default: all).")
    ] = None,
    threads: Annotated[int | None, option("CPU threads of every library (default: all).", min=1)] = None,
    isa: Annotated[str | None, option("Instruction set (default: the best).", _cpu.available_isas())] = None,
    dtype: Annotated[str, option("Number type (default: float32).", ("float32", "float64"))] = "float32",
    size: Annotated[
        str, option("Arrays in cache, in memory, or both (default: all).", ("cache", "memory", "all"))
    ] = "all",
    torch: Annotated[
        str | None, option("Interpreter that imports torch (default: this one, if it does).", metavar="PYTHON")
    ] = None,
    json: Annotated[Path | None, option("File for the figures.", metavar="FILE")] = None,
    plot: Annotated[Path | None, option("File for the roofline, a PNG picture.", metavar="FILE")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One shape per size, short samples.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the file of --json: only what is missing, wrong or was disturbed."),
    ] = False,
) -> None:
    """Measure kernels against this machine's roofs, NumPy and PyTorch. A result that is wrong has no time and makes the
    exit code 1. Training steps: minidl bench train --help."""
    from minidl.cli import bench_kernels as command

    with plain_errors():
        if resume and json is None:
            raise ValueError("--resume goes on with the file of --json, which was not given")
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
            resume,
        )
        if not command.run(request, Console()):
            raise typer.Exit(1)


@bench_app.command(name="train")
def bench_train(
    net: Annotated[
        list[str] | None,
        option(
            "Networks to measure, may be repeated (default: all).", metavar="|".join(("small", "normalized", "wide"))
        ),
    ] = None,
    batch: Annotated[list[int] | None, option("Batch sizes to measure, may be repeated (default: all).")] = None,
    threads: Annotated[int | None, option("CPU threads of every library (default: all).", min=1)] = None,
    rounds: Annotated[int, option("Processes per library (default: 5).", min=1)] = 5,
    seconds: Annotated[float, option("Of measuring in each process (default: 1).", min=0.001)] = 1.0,
    torch: Annotated[
        str | None, option("Interpreter that imports torch (default: this one).", metavar="PYTHON")
    ] = None,
    jax: Annotated[str | None, option("Interpreter that imports jax (default: this one).", metavar="PYTHON")] = None,
    sklearn: Annotated[
        str | None, option("Interpreter that imports sklearn (default: this one).", metavar="PYTHON")
    ] = None,
    to_accuracy: Annotated[
        float | None, option("Time whole runs, until an epoch ends with this test accuracy, instead of steps.")
    ] = None,
    data_dir: Annotated[
        Path | None, option("Folder of the data set, for --to-accuracy.", callback=existing_folder)
    ] = None,
    json: Annotated[Path | None, option("File for the figures.", metavar="FILE")] = None,
) -> None:
    """Measure whole training steps, or runs to an accuracy, beside PyTorch, JAX and scikit-learn where they are
    installed: each library in a process of its own, turn by turn."""
    from minidl.cli import bench_steps as command

    with plain_errors():
        require_accuracy("--to-accuracy", to_accuracy)
        pythons = {"torch": torch, "jax": jax, "sklearn": sklearn}
        threads = threads or backends.get_num_threads()
        if to_accuracy is not None:
            command.run_race(to_accuracy, pythons, data_dir, threads, rounds, json, Console())
        else:
            command.run_steps(net or [], batch or [], pythons, threads, rounds, seconds, json, Console())


@bench_app.command(name="sklearn")
def bench_sklearn(
    size: Annotated[
        list[str] | None, option("Data to fit, may be repeated (default: all).", metavar="large|small")
    ] = None,
    threads: Annotated[int | None, option("CPU threads of both (default: all).", min=1)] = None,
    rounds: Annotated[int, option("Processes per library (default: 5).", min=1)] = 5,
    seconds: Annotated[float, option("Of measuring in each process (default: 1).", min=0.001)] = 1.0,
    sklearn: Annotated[
        str | None, option("Interpreter that imports sklearn (default: this one).", metavar="PYTHON")
    ] = None,
    json: Annotated[Path | None, option("File for the figures.", metavar="FILE")] = None,
) -> None:
    """Measure whole fits of minidl.sklearn's MLPClassifier beside scikit-learn's own, of as many epochs: each library
    in a process of its own, turn by turn. Another last loss makes the exit code 1."""
    from minidl.cli import bench_fits as command

    with plain_errors():
        threads = threads or backends.get_num_threads()
        if not command.run_fits(size or [], sklearn, threads, rounds, seconds, json, Console()):
            raise typer.Exit(1)
