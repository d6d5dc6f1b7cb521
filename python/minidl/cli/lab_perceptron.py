"""`minidl lab perceptron`."""

from __future__ import annotations

from typing import Annotated

from minidl.cli import lab
from minidl.cli.options import option, plain_errors


@lab.lab_app.command()
def perceptron(
    planes: Annotated[
        str | None, option("Two-class data: of blobs, xor, moons, circles, spirals (default: all).", metavar="LIST")
    ] = None,
    hidden: Annotated[
        str | None, option("Hidden units of each model, 0 for one neuron (default: 0,3,16).", metavar="LIST")
    ] = None,
    samples: Annotated[int | None, option("Training points (default: 400).")] = None,
    noise: Annotated[float | None, option("Standard deviation of the points' noise (default: 0.1).")] = None,
    epochs: Annotated[int | None, option("Passes over the training points (default: 300).")] = None,
    seeds: lab.SeedsOption = None,
    out: lab.OutOption = None,
    device: lab.DeviceOption = "cpu",
    threads: lab.ThreadsOption = None,
    quick: lab.QuickOption = False,
    resume: lab.ResumeOption = False,
    force: lab.ForceOption = False,
    quiet: lab.QuietOption = False,
) -> None:
    """Boundaries in the plane: one neuron, why xor needs a hidden layer, and the heads for three kinds of targets."""
    from minidl.lab.perceptron import QUICK, Perceptron

    with plain_errors():
        options = {
            "planes": None if planes is None else tuple(part.strip() for part in planes.split(",")),
            "hidden": None if hidden is None else lab.parse_numbers("--hidden", hidden),
            **{"samples": samples, "noise": noise, "epochs": epochs, "seeds": seeds},
        }
    lab.run_on_command_line(
        Perceptron,
        options,
        quick=QUICK if quick else None,
        out=out,
        data_dir=None,
        device=device,
        threads=threads,
        resume=resume,
        force=force,
        quiet=quiet,
    )
