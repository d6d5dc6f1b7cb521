"""`minidl lab perceptron`."""

from __future__ import annotations

from typing import Annotated

from minidl.cli import lab
from minidl.cli.options import option


@lab.experiment("perceptron", on_images=False)
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
) -> lab.Choice:
    """Boundaries in the plane: one neuron, why xor needs a hidden layer, and the heads for three kinds of targets."""
    from minidl.lab.perceptron import QUICK, Perceptron

    options = {
        "planes": None if planes is None else lab.parse_names(planes),
        "hidden": None if hidden is None else lab.parse_numbers("--hidden", hidden),
        **{"samples": samples, "noise": noise, "epochs": epochs},
    }
    return Perceptron, options, QUICK
