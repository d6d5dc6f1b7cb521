"""`minidl lab lr-find`."""

from __future__ import annotations

from typing import Annotated

from minidl.cli import lab
from minidl.cli.options import option


@lab.experiment("lr-find")
def find_learning_rates(
    optimizers: Annotated[str | None, option("sgd, momentum, rmsprop, adam (default: all).", metavar="LIST")] = None,
    batch_sizes: Annotated[
        str | None, option("Images in a batch (default: 32,128,512; quick: 32,256).", metavar="LIST")
    ] = None,
    train_count: Annotated[int | None, option("Images to learn (default: all; quick: 8000).")] = None,
    width: Annotated[int | None, option("Units of the first hidden layer (default: 256).")] = None,
    sweep_steps: Annotated[int | None, option("Steps of a sweep (default: 100).")] = None,
    epochs: Annotated[int | None, option("Passes with a rate (default: 1).")] = None,
) -> lab.Choice:
    """Sweep the learning rate, then train with what the sweep suggests, less and more."""
    from minidl.lab.learning_rates import QUICK, LearningRates

    options = {
        "optimizers": optimizers and lab.parse_names(optimizers),
        "batch_sizes": batch_sizes and lab.parse_numbers("--batch-sizes", batch_sizes),
        "train_count": train_count,
        "width": width,
        "sweep_steps": sweep_steps,
        "epochs": epochs,
    }
    return LearningRates, options, QUICK
