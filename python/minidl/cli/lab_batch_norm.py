"""`minidl lab batchnorm`."""

from __future__ import annotations

from typing import Annotated

from minidl.cli import lab
from minidl.cli.options import option


@lab.experiment("batchnorm")
def batchnorm(
    epochs: Annotated[int | None, option("Passes over the training images (default: 50).")] = None,
    lr: Annotated[float | None, option("Lowest learning rate; 5 and 30 times it follow (default: 0.1).")] = None,
    weight_std: Annotated[float | None, option("Standard deviation of the initial weights (default: 0.1).")] = None,
) -> lab.Choice:
    """Deep sigmoids with and without batch norm: accuracy, inputs that drift, higher rates (Ioffe and Szegedy 2015)."""
    from minidl.lab.batch_norm import QUICK, BatchNorm

    options = {"epochs": epochs, "lr": lr, "weight_std": weight_std}
    return BatchNorm, options, QUICK
