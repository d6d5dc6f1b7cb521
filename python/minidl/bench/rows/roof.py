"""Rows of the two kernels that measure the roofs: they should come out near 100 %."""

from __future__ import annotations

from minidl.bench.row import ELEMENTS, Row

ROWS = [
    Row("multiply_add", {"cache": (12288,), "memory": ()}, 2 * 4096),
    Row(
        "triad",
        ELEMENTS,
        2,
        "np.add(np.multiply(b, factor, out=out), a, out=out)",
        "torch.add(a, b, alpha=factor, out=out)",
    ),
]
