"""Rows of what follows an optimizer's step: all parameters of a network in one call."""

from __future__ import annotations

from minidl.bench.row import Row
from minidl.bench.rows.optimizer import SHAPES, gradient_traffic, segment_flops

ROWS = [
    Row(
        "soft_threshold",
        SHAPES,
        segment_flops(3),
        "[np.multiply(np.sign(p), np.maximum(abs(p) - schedule[0] * l1_decay, 0), out=p) for p in params]",
        "[p.copy_(torch.nn.functional.softshrink(p, (schedule[0] * l1_decay).item())) for p in params]",
        traffic=gradient_traffic(2),
    ),
    # Within the norm from the second call on: rows are read and left alone, as most are in most steps of a training.
    Row(
        "limit_row_norms",
        SHAPES,
        segment_flops(2),
        "[np.multiply(w, max_norm / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), max_norm), out=w)"
        " for w in weights]",
        "[w.renorm_(2, 0, max_norm) for w in weights]",
        traffic=gradient_traffic(1),
    ),
]
