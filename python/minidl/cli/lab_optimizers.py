"""`minidl lab optimizers`."""

from __future__ import annotations

from typing import Annotated

from minidl.cli import lab
from minidl.cli.options import option


@lab.experiment("optimizers")
def optimizers(
    methods: Annotated[
        str | None,
        option(
            "gd, sgd, batch-16, batch-64, batch-256, momentum, nesterov, adagrad, rmsprop, adam, adamw (default: all).",
            metavar="LIST",
        ),
    ] = None,
    train_count: Annotated[int | None, option("Images to learn at most (default: 20000; quick: 2000).")] = None,
    width: Annotated[int | None, option("Units of the hidden layer (default: 100).")] = None,
    epochs: Annotated[int | None, option("Passes over the images (default: 10; quick: 3).")] = None,
    gd_epochs: Annotated[int | None, option("Passes of gd, one step each (default: 100; quick: 30).")] = None,
    sgd_epochs: Annotated[int | None, option("Passes of sgd, a step per image (default: 2; quick: 1).")] = None,
) -> lab.Choice:
    """Compare GD, SGD, mini-batches, Momentum, Nesterov, Adagrad, RMSProp, Adam, AdamW."""
    from minidl.lab.optimizers import QUICK, Optimizers

    options = {
        "methods": methods and lab.parse_names(methods),
        "train_count": train_count,
        "width": width,
        "epochs": epochs,
        "gd_epochs": gd_epochs,
        "sgd_epochs": sgd_epochs,
    }
    return Optimizers, options, QUICK
