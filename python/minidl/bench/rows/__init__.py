"""One row per kernel of kernels.def, by family."""

from __future__ import annotations

from minidl.bench.row import Row
from minidl.bench.rows import (
    activation,
    elementwise,
    loss,
    matmul,
    normalization,
    optimizer,
    random,
    reduction,
    regularization,
    roof,
    softmax,
)

FAMILIES: dict[str, list[Row]] = {
    "elementwise": elementwise.ROWS,
    "activation": activation.ROWS,
    "matmul": matmul.ROWS,
    "reduction": reduction.ROWS,
    "softmax": softmax.ROWS,
    "loss": loss.ROWS,
    "normalization": normalization.ROWS,
    "random": random.ROWS,
    "optimizer": [*optimizer.ROWS, *regularization.ROWS],
    "roof": roof.ROWS,
}
ROWS: dict[str, Row] = {row.kernel: row for rows in FAMILIES.values() for row in rows}
FAMILY_OF: dict[str, str] = {row.kernel: family for family, rows in FAMILIES.items() for row in rows}
