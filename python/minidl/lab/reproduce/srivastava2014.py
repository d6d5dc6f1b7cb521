"""Srivastava et al. 2014: dropout, and dropout with max-norm, on MNIST."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from minidl.lab.reproduce.error_rates import ErrorRates, PaperRow
from minidl.lab.reproduce.recipe import Recipe

DROPOUT = Recipe((1024, 1024, 1024), lr=0.05, epochs=80, input_dropout=0.2, dropout=0.5, momentum=0.9, warmup=0.05)
TRIES = (
    *({"optimizer": "sgd", "lr": lr} for lr in (0.02, 0.05, 0.1)),
    *({"optimizer": "adam", "lr": lr} for lr in (0.0003, 0.001)),
)


@dataclass(frozen=True)
class Srivastava2014(ErrorRates):
    """Three layers of 1024 rectified linear units, with dropout, and with dropout and max-norm.

    >>> [row.paper_percent for row in Srivastava2014().rows]
    [1.25, 1.06]
    """

    name: ClassVar[str] = "srivastava2014"
    title: ClassVar[str] = "Srivastava et al. 2014: dropout and max-norm"
    source: ClassVar[str] = (
        "Nitish Srivastava, Geoffrey Hinton, Alex Krizhevsky, Ilya Sutskever and Ruslan Salakhutdinov 2014, "
        '"Dropout: A Simple Way to Prevent Neural Networks from Overfitting", table 2: three layers of 1024 rectified '
        "linear units with dropout have 1.25 % test error on MNIST, with max-norm as well 1.06 %. Inputs are left out "
        "with the probability 0.2, hidden units with 0.5. The paper trains for a million updates with a momentum that "
        "ends at 0.95 and the norm 2 (appendix B.1); ours takes fewer."
    )
    rows: ClassVar[tuple[PaperRow, ...]] = (
        PaperRow("ReLU 3 x 1024, dropout", 1.25, 1.35, DROPOUT, TRIES),
        PaperRow(
            "ReLU 3 x 1024, dropout + max-norm",
            1.06,
            None,
            replace(DROPOUT, max_norm=2.0),
            tuple({"max_norm": norm, "lr": lr} for norm in (2.0, 3.0) for lr in (0.02, 0.05, 0.1)),
        ),
    )
