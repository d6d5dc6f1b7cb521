"""How many rows of logits are classified right, and a log of such counts and losses."""

from __future__ import annotations

import numpy as np

from minidl.ops.operands import require_float, require_same_backend
from minidl.tensor import Tensor

__all__ = ["append_result_", "count_correct"]


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


def append_result_(log: Tensor, loss: Tensor, correct: Tensor | None = None) -> Tensor:
    """Writes {loss, correct} into the next row of a log, by a kernel: a captured step does so in every replay.

    log is float64 with 1 + 2 * rows elements, first of all 0: how many results there were so far, then the rows, of
    which the last is followed by the first. loss has one element; so has correct, int64, and -1 stands where there is
    none. Raises ValueError for other sizes, TypeError for other number types.

    >>> import minidl
    >>> log = minidl.zeros(1 + 2 * 2, dtype=minidl.float64)
    >>> for loss in (0.5, 0.25, 0.125):
    ...     _ = minidl.ops.append_result_(log, minidl.tensor(loss))
    >>> log.tolist()
    [3.0, 0.125, -1.0, 0.25, -1.0]
    """
    given = (loss,) if correct is None else (loss, correct)
    require_same_backend("append_result_", log, *given)
    log.backend.kernels.append_result(loss.array, None if correct is None else correct.array, log.array)
    log._bump_version()
    return log
