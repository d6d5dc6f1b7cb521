"""The norm of several gradients taken together, and scaling them down to a largest one, in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl._tape import note_changes
from minidl.changes import note_foreign_write
from minidl.tensor import Tensor

__all__: list[str] = []

_float64 = np.dtype(np.float64)


def note_changed(tensors: list[Tensor], arrays: Sequence[Any]) -> None:
    """After a kernel wrote into ``arrays``, which are the tensors' own or, of those not contiguous, copies."""
    for tensor, array in zip(tensors, arrays, strict=True):
        if array is not tensor.array:
            note_foreign_write("a step of parameters that are not contiguous")
            tensor.array[...] = array
    note_changes(tensors)


def by_kind(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors, those of one device and number type together: a kernel takes one kind at a time."""
    if not tensors:
        return []
    backend, dtype = tensors[0].backend, tensors[0].array.dtype
    for tensor in tensors:
        if tensor.backend is not backend or tensor.array.dtype != dtype:
            break
    else:
        return [list(tensors)]
    kinds: dict[tuple[str, Any], list[Tensor]] = {}
    for tensor in tensors:
        kind = (tensor.backend.name, tensor.array.dtype)
        if kind in kinds:
            kinds[kind].append(tensor)
        else:
            kinds[kind] = [tensor]
    return list(kinds.values())


def squared_norm(tensors: Sequence[Tensor]) -> Any:
    """The sum of the squares of all elements, in a float64 array of one element on the first tensor's device."""
    total = None
    for same in by_kind(tensors):
        backend = same[0].backend
        out = backend.empty((1,), _float64)
        backend.kernels.squared_norm([backend.contiguous(tensor.array) for tensor in same], out)
        if total is not None:
            backend.kernels.add_forward(total, out, out)
        total = out
    return total


def power_norm(tensors: Sequence[Tensor], p: float) -> Any:
    """(sum of |x|^p)^(1/p) over all elements, the largest |x| for p = inf; like ``squared_norm``, not yet squared."""
    xp = tensors[0].backend.xp
    magnitudes = [abs(tensor.array.astype(_float64)) for tensor in tensors if tensor.numel() > 0]
    if not magnitudes:
        return xp.zeros(1)
    if p == math.inf:
        return xp.stack([m.max() for m in magnitudes]).max(keepdims=True)
    return xp.stack([(m**p).sum() for m in magnitudes]).sum(keepdims=True) ** (1 / p)


def scale_to_norm_(tensors: Sequence[Tensor], squared: Any, max_norm: float) -> None:
    """tensors *= min(1, max_norm / (sqrt(squared) + 1e-6)), in place."""
    for same in by_kind(tensors):
        backend = same[0].backend
        arrays = [backend.contiguous(tensor.array) for tensor in same]
        backend.kernels.scale_gradients(arrays, squared, max_norm)
        note_changed(same, arrays)
