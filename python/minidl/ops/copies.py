"""Copies and casts."""

from __future__ import annotations

from typing import Any

from minidl.autograd import record
from minidl.backends import Backend
from minidl.changes import note_foreign_write
from minidl.dtypes import to_numpy_dtype
from minidl.tensor import Tensor

__all__ = [
    "cast",
    "clone",
    "contiguous",
    "move",
]


def clone(x: Tensor) -> Tensor:
    """A copy in memory of its own; the gradient flows through."""
    backend = x.backend
    if x.array.dtype.kind == "f":
        out = backend.empty(x.array.shape, x.array.dtype)
        backend.kernels.copy_strided(x.array, out)
    else:
        out = x.array.copy()
    return record(Tensor(out, backend), (x,), lambda grad_out: (grad_out,), name="clone")


def contiguous(x: Tensor) -> Tensor:
    """x if its elements lie one after the other, else a copy for which they do."""
    return x if x.array.flags.c_contiguous else clone(x)


def store(array: Any, values: Any, backend: Backend, name: str) -> None:
    """array[...] = values, broadcast, where the two share no memory: by a kernel if there is one for such arrays."""
    if array.dtype.kind == "f" and array.dtype == values.dtype and array.flags.c_contiguous:
        backend.kernels.copy_strided(values, array)
    else:
        note_foreign_write(name)
        array[...] = values


def cast(x: Tensor, wanted: Any) -> Tensor:
    """x with another number type; between floats the gradient flows through."""
    raw = to_numpy_dtype(wanted)
    if x.array.dtype == raw:
        return x
    own = x.array.dtype
    result = Tensor(x.array.astype(raw), x.backend)
    if raw.kind != "f":
        return result
    return record(result, (x,), lambda grad_out: (cast(grad_out, own),), name="cast")


def move(x: Tensor, backend: Backend) -> Tensor:
    """x in the memory of another device; the gradient moves back."""
    if x.backend is backend:
        return x
    own = x.backend
    result = Tensor(backend.from_host(own.to_host(x.array)), backend)
    return record(result, (x,), lambda grad_out: (move(grad_out, own),), name="move")
