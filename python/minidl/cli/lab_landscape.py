"""`minidl lab landscape`."""

from __future__ import annotations

from typing import Annotated

from minidl.cli import lab
from minidl.cli.options import option


@lab.experiment("landscape")
def landscape(
    depths: Annotated[str | None, option("Hidden layers of each network (default: 2,10).", metavar="LIST")] = None,
    width: Annotated[int | None, option("Units of each hidden layer (default: 100).")] = None,
    epochs: Annotated[int | None, option("Passes over the training images (default: 10).")] = None,
    points: Annotated[int | None, option("Points of the plane along each side, odd (default: 41).")] = None,
    reach: Annotated[float | None, option("How far the plane goes, in sizes of the weights (default: 1).")] = None,
) -> lab.Choice:
    """The loss around a trained minimum along two random directions, with and without batch norm (Li et al. 2018)."""
    from minidl.lab.landscape import QUICK, Landscape

    options = {
        "depths": None if depths is None else lab.parse_numbers("--depths", depths),
        **{"width": width, "epochs": epochs, "points": points, "reach": reach},
    }
    return Landscape, options, QUICK
