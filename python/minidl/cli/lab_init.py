"""`minidl lab init`."""

from __future__ import annotations

from typing import Annotated

from minidl.cli import lab
from minidl.cli.options import option


@lab.experiment("init")
def init(
    inits: Annotated[
        str | None,
        option(
            "zeros, too-small, normal, xavier-normal, xavier-uniform, kaiming-normal, kaiming-uniform, too-large "
            "(default: all; quick: those that are not uniform).",
            metavar="LIST",
        ),
    ] = None,
    activations: Annotated[str | None, option("tanh, sigmoid, relu (default: all).", metavar="LIST")] = None,
    depths: Annotated[
        str | None, option("Numbers of hidden layers, 2 to 10 (default: 2,5,10; quick: 2,10).", metavar="LIST")
    ] = None,
    width: Annotated[int | None, option("Units of a hidden layer (default: 100).")] = None,
    train_count: Annotated[int | None, option("Images to learn at most (default: 20000; quick: 2000).")] = None,
    epochs: Annotated[int | None, option("Passes over them (default: 4; quick: 2).")] = None,
    lr: Annotated[float | None, option("Learning rate of all networks (default: 0.05).")] = None,
) -> lab.Choice:
    """Compare initial weights: zeros, Xavier, Kaiming, too small, too large."""
    from minidl.lab.initialization import QUICK, Initialization

    options = {
        "inits": inits and lab.parse_names(inits),
        "activations": activations and lab.parse_names(activations),
        "depths": depths and lab.parse_numbers("--depths", depths),
        "width": width,
        "train_count": train_count,
        "epochs": epochs,
        "lr": lr,
    }
    return Initialization, options, QUICK
