"""How many rows of logits are classified right."""

from __future__ import annotations

import numpy as np

from minidl.ops.operands import require_float, require_same_backend
from minidl.tensor import Tensor

__all__ = ["count_correct"]


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """The number of rows whose first largest logit stands at the label, as an int64 tensor without dimensions.

    logits (rows, classes), labels (rows,): (argmax(logits, 1) == labels).sum() in one kernel, without gradient. A label
    outside 0..classes - 1 is never right. Raises ValueError for other shapes, TypeError for labels that are not int64.

    >>> import minidl
    >>> minidl.ops.count_correct(minidl.tensor([[0.1, 0.9], [0.8, 0.2]]), minidl.tensor([1, 1])).item()
    1
    """
    require_same_backend("count_correct", logits, labels)
    require_float("count_correct", logits)
    if logits.array.ndim != 2 or labels.array.shape != logits.array.shape[:1]:
        raise ValueError(
            f"count_correct: logits must be (rows, classes) and labels (rows,), got {tuple(logits.array.shape)} "
            f"and {tuple(labels.array.shape)}"
        )
    if labels.array.dtype != np.int64:
        raise TypeError(f"count_correct: labels must be int64, got {labels.array.dtype}; convert them with .long()")
    backend = logits.backend
    out = backend.empty((), labels.array.dtype)
    backend.kernels.count_correct(backend.contiguous(logits.array), backend.contiguous(labels.array), out)
    return Tensor(out, backend)
