"""Shapes: views of the same memory where strides allow it, with gradients that are views again."""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd import record
from minidl.ops.operands import sum_to_shape
from minidl.tensor import Tensor

__all__ = [
    "broadcast_tensors",
    "broadcast_to",
    "expand",
    "flatten",
    "permute",
    "repeat",
    "reshape",
    "squeeze",
    "t",
    "transpose",
    "unsqueeze",
    "view",
]


def axis_of(op: str, dim: int, ndim: int) -> int:
    """A dimension counted from the front; IndexError outside [-ndim, ndim)."""
    limit = max(ndim, 1)
    if not -limit <= dim < limit:
        raise IndexError(f"{op}: dim must lie in {-limit}..{limit - 1} for a tensor of {ndim} dimensions, got {dim}")
    return dim % limit


def _filled_shape(op: str, x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    size = x.array.size
    unknown = [i for i, extent in enumerate(shape) if extent == -1]
    known = math.prod(extent for extent in shape if extent != -1)
    fits = size % known == 0 if len(unknown) == 1 and known > 0 else known == size and not unknown
    if not fits or any(extent < -1 for extent in shape):
        raise ValueError(f"{op}: a tensor of shape {tuple(x.array.shape)} ({size} elements) does not fit shape {shape}")
    return tuple(size // known if extent == -1 else extent for extent in shape)


def reshape(x: Tensor, shape: Any) -> Tensor:
    """The same elements in order with another shape, one extent of which may be -1; a view where possible."""
    wanted = _filled_shape("reshape", x, tuple(shape))
    own = x.array.shape
    if wanted == own:
        array = x.array.view()
    elif x.array.flags.c_contiguous:
        array = x.array.reshape(wanted)
    else:
        array = x.backend.contiguous(x.array).reshape(wanted)
    return record(x._view(array), (x,), lambda grad_out: (reshape(grad_out, own),), name="reshape")


def view(x: Tensor, shape: Any) -> Tensor:
    """reshape that never copies: ValueError for a tensor that is not contiguous."""
    wanted = _filled_shape("view", x, tuple(shape))
    if not x.array.flags.c_contiguous and wanted != x.array.shape:
        raise ValueError(f"view: the tensor of shape {tuple(x.array.shape)} is not contiguous; use reshape()")
    return reshape(x, wanted)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from start_dim to end_dim as one."""
    ndim = x.array.ndim
    first, last = axis_of("flatten", start_dim, ndim), axis_of("flatten", end_dim, ndim)
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} must not lie after end_dim {end_dim}")
    shape = x.array.shape
    return reshape(x, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def squeeze(x: Tensor, dim: Any = None) -> Tensor:
    """Without the dimensions of extent 1, or without those named in dim that have it."""
    ndim = x.array.ndim
    dims = (
        range(ndim)
        if dim is None
        else [axis_of("squeeze", d, ndim) for d in (dim if isinstance(dim, tuple) else (dim,))]
    )
    return reshape(x, [extent for i, extent in enumerate(x.array.shape) if extent != 1 or i not in dims])


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """With one more dimension, of extent 1, at dim."""
    place = axis_of("unsqueeze", dim, x.array.ndim + 1)
    shape = list(x.array.shape)
    shape.insert(place, 1)
    return _restrided(x, x.array[(slice(None),) * place + (None,)], "unsqueeze")


def _restrided(x: Tensor, array: Any, name: str) -> Tensor:
    own = x.array.shape
    return record(x._view(array), (x,), lambda grad_out: (reshape(grad_out, own),), name=name)


def permute(x: Tensor, dims: Any) -> Tensor:
    """The dimensions in another order, as a view."""
    order = [axis_of("permute", d, x.array.ndim) for d in dims]
    if sorted(order) != list(range(x.array.ndim)):
        raise ValueError(f"permute: dims must name each of the {x.array.ndim} dimensions once, got {tuple(dims)}")
    back = [order.index(i) for i in range(len(order))]
    return record(x._view(x.array.transpose(order)), (x,), lambda grad_out: (permute(grad_out, back),), name="permute")


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged, as a view."""
    ndim = x.array.ndim
    first, second = axis_of("transpose", dim0, ndim), axis_of("transpose", dim1, ndim)
    array = x.array.swapaxes(first, second) if ndim else x.array.view()
    return record(x._view(array), (x,), lambda grad_out: (transpose(grad_out, first, second),), name="transpose")


def t(x: Tensor) -> Tensor:
    """The transposed matrix, as a view; vectors and scalars as they are."""
    if x.array.ndim > 2:
        raise ValueError(f"t: a matrix is wanted, got shape {tuple(x.array.shape)}; use permute() or transpose()")
    return transpose(x, 0, 1) if x.array.ndim == 2 else x


def expand(x: Tensor, shape: Any) -> Tensor:
    """Repeated along dimensions of extent 1 without copying; -1 keeps an extent."""
    wanted = tuple(shape)
    own = x.array.shape
    extra = len(wanted) - len(own)
    if extra < 0:
        raise ValueError(f"expand: shape {wanted} has fewer dimensions than the tensor's {tuple(own)}")
    filled = tuple(own[i - extra] if extent == -1 and i >= extra else extent for i, extent in enumerate(wanted))
    if any(extent not in (1, filled[i + extra]) for i, extent in enumerate(own)) or any(e < 0 for e in filled):
        raise ValueError(f"expand: a tensor of shape {tuple(own)} cannot be expanded to {wanted}")
    array = x.backend.xp.broadcast_to(x.array, filled)
    return record(x._view(array), (x,), lambda grad_out: (sum_to_shape(grad_out, own),), name="expand")


broadcast_to = expand


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All expanded to their common shape."""
    import numpy as np

    shape = np.broadcast_shapes(*[x.array.shape for x in tensors])
    return tuple(expand(x, shape) for x in tensors)


def _repeated_view(x: Tensor, times: tuple[int, ...]) -> Tensor:
    """Each dimension split into (repeat, extent), the repeat being a broadcast one."""
    extra = len(times) - x.array.ndim
    shape = (1,) * extra + tuple(x.array.shape)
    paired = reshape(x, [part for extent in shape for part in (1, extent)])
    return expand(paired, [part for n, extent in zip(times, shape, strict=True) for part in (n, extent)])


def repeat(x: Tensor, times: Any) -> Tensor:
    """The tensor laid side by side ``times[i]`` times along dimension i, as a copy."""
    counts = tuple(times)
    if len(counts) < x.array.ndim or any(n < 0 for n in counts):
        raise ValueError(f"repeat: needs a count >= 0 per dimension of shape {tuple(x.array.shape)}, got {counts}")
    shape = (1,) * (len(counts) - x.array.ndim) + tuple(x.array.shape)
    return reshape(_repeated_view(x, counts), [n * extent for n, extent in zip(counts, shape, strict=True)])
