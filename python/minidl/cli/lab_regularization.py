"""`minidl lab regularization`."""

from __future__ import annotations

from typing import Annotated

from minidl.cli import lab
from minidl.cli.options import option


def parse_counts(text: str) -> tuple[int | None, ...]:
    """ "1000,all" -> (1000, None).

    Raises:
        ValueError: neither whole numbers nor "all".
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part == "all" or part.isdigit() for part in parts):
        raise ValueError(f"--train-counts must be whole numbers or all, such as 1000,all, got {text!r}")
    return tuple(None if part == "all" else int(part) for part in parts)


@lab.experiment("regularization")
def regularization(
    methods: Annotated[
        str | None,
        option(
            "none, l2, l1, l1-proximal, max-norm, dropout-0.2, dropout-0.5, early-stopping, batch-norm, "
            "dropout-max-norm, dropout-l2, batch-norm-dropout (default: all).",
            metavar="LIST",
        ),
    ] = None,
    train_counts: Annotated[
        str | None,
        option("Numbers of images to learn, or all (default: 1000,10000,all; quick: 1000,5000).", metavar="LIST"),
    ] = None,
    width: Annotated[int | None, option("Units of a hidden layer (default: 256; quick: 128).")] = None,
    steps: Annotated[int | None, option("Steps of a run, about (default: 2000; quick: 200).")] = None,
    lr: Annotated[float | None, option("Learning rate (default: 0.05).")] = None,
    l2: Annotated[float | None, option("Weight decay (default: 0.001).")] = None,
    l1: Annotated[float | None, option("Factor of the sum of |w| (default: 0.00002).")] = None,
    max_norm: Annotated[float | None, option("Largest norm of the weights into a unit (default: 1).")] = None,
) -> lab.Choice:
    """Compare L2, L1, max-norm, dropout, early stopping, batch norm on few and many images."""
    from minidl.lab.regularization import QUICK, Regularization

    options = {
        "methods": methods and lab.parse_names(methods),
        "train_counts": train_counts and parse_counts(train_counts),
        "width": width,
        "steps": steps,
        "lr": lr,
        "l2": l2,
        "l1": l1,
        "max_norm": max_norm,
    }
    return Regularization, options, QUICK
