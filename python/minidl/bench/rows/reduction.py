"""Rows of the reductions: over rows, and over columns as a bias gradient needs it."""

from __future__ import annotations

from minidl.bench.row import MEMORY_SIZE, Row

# outer x reduced x inner
SHAPES = {
    "cache": ((128, 256, 1), (1, 128, 256)),
    "memory": ((MEMORY_SIZE // 256, 256, 1), (1, MEMORY_SIZE // 256, 256)),
}

ROWS = [
    Row("sum_forward", SHAPES, 1, "x.sum(1, out=out) / divisor", "torch.sum(x, 1, out=out).div_(divisor)"),
    Row("max_forward", SHAPES, 0, "(x.max(1), x.argmax(1))", "torch.max(x, 1, out=(out, index))"),
    Row("min_forward", SHAPES, 0, "(x.min(1), x.argmin(1))", "torch.min(x, 1, out=(out, index))"),
    Row(
        "var_forward",
        SHAPES,
        4,
        "(x.mean(1), x.var(1, ddof=1))",
        "torch.var_mean(x, 1, correction=correction)[::-1]",
    ),
    Row(
        "count_correct",
        {"cache": ((128, 10), (3000, 10)), "memory": ((1 << 20, 10),)},
        0,
        "np.count_nonzero(logits.argmax(1) == labels)",
        "(logits.argmax(1) == labels).sum()",
    ),
    Row("append_result", {"cache": ((64, 7),), "memory": ()}, 0, traffic=lambda operands: 48.0),
]
