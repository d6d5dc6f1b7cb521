"""Parts and joins: indexing, gathering, concatenating, splitting, sorting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from minidl.autograd import is_grad_enabled, record
from minidl.changes import note_foreign_write
from minidl.ops.copies import cast, clone
from minidl.ops.elementwise import where
from minidl.ops.in_place import write_in_place
from minidl.ops.operands import require_same_backend, result_dtype, sum_to_shape, wrap
from minidl.ops.shape import axis_of, expand, reshape
from minidl.tensor import Tensor

__all__ = [
    "ValuesAndIndices",
    "argsort",
    "cat",
    "chunk",
    "einsum",
    "flip",
    "gather",
    "getitem",
    "index_select",
    "place",
    "scatter_",
    "setitem",
    "sort",
    "split",
    "stack",
    "topk",
    "tril",
    "triu",
    "unbind",
]


class ValuesAndIndices(NamedTuple):
    """What topk, sort, max(dim) and min(dim) return."""

    values: Tensor
    indices: Tensor


def _raw(index: Any) -> Any:
    if isinstance(index, Tensor):
        return index.array
    if isinstance(index, tuple):
        return tuple(_raw(part) for part in index)
    return index


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(isinstance(p, (int, slice)) or p is None or p is Ellipsis for p in parts if not isinstance(p, bool))


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index] as in NumPy: integers, slices, None and ... give views, arrays and masks give copies."""
    raw = _raw(index)
    basic = _is_basic(raw)
    array = x.backend.xp.asarray(x.array[raw])
    result = x._view(array) if basic else Tensor(array, x.backend)
    shape = x.array.shape
    return record(result, (x,), lambda grad_out: (place(grad_out, shape, raw, basic),), name="getitem")


def place(x: Tensor, shape: tuple[int, ...], index: Any, is_basic: bool = False) -> Tensor:
    """Zeros of ``shape`` with x added at ``index``: the adjoint of getitem, whose adjoint is getitem."""
    out = x.backend.xp.zeros(shape, x.array.dtype)
    if is_basic:
        out[index] = x.array
    else:
        x.backend.xp.add.at(out, index, x.array)
    return record(Tensor(out, x.backend), (x,), lambda grad_out: (getitem(grad_out, index),), name="place")


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value; recorded when x or value wants a gradient."""
    raw = _raw(index)
    source = cast(wrap(value, x), x.array.dtype)
    linked = None
    if is_grad_enabled() and (x.requires_grad or source.requires_grad):
        region, own = x.array[raw].shape, source.array.shape

        def backward(grad_out: Tensor) -> tuple[Tensor | None, Tensor | None]:
            kept = clone(grad_out)
            setitem(kept, raw, 0.0)
            grad_source = sum_to_shape(getitem(grad_out, raw), own) if len(own) <= len(region) else None
            return kept, grad_source

        linked = record(Tensor(x.array, x.backend), (x, source), backward, name="setitem")

    def write(array: Any) -> None:
        note_foreign_write("setitem")
        array[raw] = source.array

    write_in_place(x, "setitem", write, linked)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along dim."""
    if not tensors:
        raise ValueError("cat: needs at least one tensor")
    backend = require_same_backend("cat", *tensors)
    raw = tensors[0].array.dtype
    for x in tensors[1:]:
        raw = raw if x.array.dtype == raw else result_dtype(tensors[0], x)
    parts = [cast(x, raw) for x in tensors]
    axis = axis_of("cat", dim, parts[0].array.ndim)
    for x in parts:
        shapes = [tuple(e for i, e in enumerate(y.array.shape) if i != axis) for y in (parts[0], x)]
        if x.array.ndim != parts[0].array.ndim or shapes[0] != shapes[1]:
            raise ValueError(
                f"cat: shapes must agree outside dim {axis}, "
                f"got {tuple(parts[0].array.shape)} and {tuple(x.array.shape)}"
            )
    result = Tensor(backend.xp.concatenate([x.array for x in parts], axis=axis), backend)
    extents = [x.array.shape[axis] for x in parts]

    def backward(grad_out: Tensor) -> tuple[Tensor, ...]:
        return split(grad_out, extents, axis)

    return record(result, tuple(parts), backward, name="cat")


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along a new dimension."""
    from minidl.ops.shape import unsqueeze

    shapes = {tuple(x.array.shape) for x in tensors}
    if len(shapes) != 1:
        raise ValueError(f"stack: tensors must have one shape, got {sorted(shapes) or 'no tensor'}")
    return cat([unsqueeze(x, dim) for x in tensors], dim)


def split(x: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of the pieces along dim: of one size (the last may be smaller), or of the sizes listed."""
    axis = axis_of("split", dim, x.array.ndim)
    extent = x.array.shape[axis]
    if isinstance(split_size, int):
        if split_size < 1:
            raise ValueError(f"split: split_size must be at least 1, got {split_size}")
        sizes = [min(split_size, extent - start) for start in range(0, extent, split_size)] or [0]
    else:
        sizes = list(split_size)
        if sum(sizes) != extent:
            raise ValueError(f"split: sizes {sizes} must add up to the extent {extent} of dim {axis}")
    pieces, start = [], 0
    for size in sizes:
        pieces.append(getitem(x, (slice(None),) * axis + (slice(start, start + size),)))
        start += size
    return tuple(pieces)


def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most ``chunks`` pieces along dim, all but the last of one size."""
    if chunks < 1:
        raise ValueError(f"chunk: chunks must be at least 1, got {chunks}")
    extent = x.array.shape[axis_of("chunk", dim, x.array.ndim)]
    return split(x, max(1, -(-extent // chunks)), dim)


def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of the slices along dim."""
    axis = axis_of("unbind", dim, x.array.ndim)
    if x.array.ndim == 0:
        raise TypeError("unbind: a tensor without dimensions cannot be taken apart")
    return tuple(getitem(x, (slice(None),) * axis + (i,)) for i in range(x.array.shape[axis]))


def index_select(x: Tensor, dim: int, index: Any) -> Tensor:
    """The slices along dim that index names, in its order."""
    axis = axis_of("index_select", dim, x.array.ndim)
    return getitem(x, (slice(None),) * axis + (wrap(index, x),))


def _along(x: Tensor, axis: int, index: Any) -> tuple[Any, ...]:
    grids = list(x.backend.xp.indices(index.shape, sparse=True))
    grids[axis] = index
    return tuple(grids)


def gather(x: Tensor, dim: int, index: Any) -> Tensor:
    """out[i, j] = x[index[i, j], j] for dim 0, x[i, index[i, j]] for dim 1, and so on."""
    raw = wrap(index, x).array
    axis = axis_of("gather", dim, x.array.ndim)
    if raw.dtype.kind not in "iu" or raw.ndim != x.array.ndim:
        raise ValueError(f"gather: index must be integer with {x.array.ndim} dimensions, got {raw.dtype} {raw.shape}")
    if raw.size and (raw.min() < 0 or raw.max() >= x.array.shape[axis]):
        raise IndexError(f"gather: index must lie in 0..{x.array.shape[axis] - 1}, got {raw.min()}..{raw.max()}")
    return getitem(x, _along(x, axis, raw))


def scatter_(x: Tensor, dim: int, index: Any, source: Any) -> Tensor:
    """x[index[i, j], j] = source[i, j] for dim 0, and so on; source may be a number."""
    raw = wrap(index, x).array
    value = wrap(source, x)
    if value.array.ndim > 0:
        value = getitem(value, tuple(slice(0, extent) for extent in raw.shape))
    setitem(x, _along(x, axis_of("scatter_", dim, x.array.ndim), raw), value)
    return x


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle, zeros above the given diagonal."""
    mask = x.backend.xp.tri(*x.array.shape[-2:], k=diagonal, dtype=bool)
    return where(Tensor(mask, x.backend), x, 0.0)


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle, zeros below the given diagonal."""
    mask = ~x.backend.xp.tri(*x.array.shape[-2:], k=diagonal - 1, dtype=bool)
    return where(Tensor(mask, x.backend), x, 0.0)


def flip(x: Tensor, dims: Any) -> Tensor:
    """The order of the elements turned round along dims, as a copy."""
    axes = {axis_of("flip", d, x.array.ndim) for d in (dims if isinstance(dims, (tuple, list)) else (dims,))}
    return clone(getitem(x, tuple(slice(None, None, -1 if i in axes else 1) for i in range(x.array.ndim))))


def argsort(x: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    """The indices that would sort along dim; equal elements keep their order."""
    axis = axis_of("argsort", dim, x.array.ndim)
    if x.array.ndim == 0:
        return Tensor(x.backend.xp.zeros((), "int64"), x.backend)
    keys = x.array
    if descending:
        order = x.backend.xp.flip(x.backend.xp.argsort(x.backend.xp.flip(keys, axis), axis=axis, kind="stable"), axis)
        return Tensor(keys.shape[axis] - 1 - order, x.backend)
    return Tensor(x.backend.xp.argsort(keys, axis=axis, kind="stable"), x.backend)


def sort(x: Tensor, dim: int = -1, descending: bool = False) -> ValuesAndIndices:
    """The elements in order along dim, and where they were; equal elements keep their order."""
    order = argsort(x, dim, descending)
    return ValuesAndIndices(x if x.array.ndim == 0 else gather(x, dim, order), order)


def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True) -> ValuesAndIndices:
    """The k largest (or smallest) elements along dim, best first, and where they were."""
    axis = axis_of("topk", dim, x.array.ndim)
    if not 0 <= k <= x.array.shape[axis]:
        raise ValueError(f"topk: k must lie in 0..{x.array.shape[axis]}, got {k}")
    order = argsort(x, axis, descending=largest)
    best = Tensor(order.array[(slice(None),) * axis + (slice(0, k),)], x.backend)
    return ValuesAndIndices(gather(x, axis, best), best)


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Sums of products named by letters, e.g. ``einsum("ij,jk->ik", a, b)``; computed by the array library.

    The gradient of one operand is an einsum of grad_out and the others; RuntimeError where an operand that wants one
    repeats a letter.
    """
    equation = equation.replace(" ", "")
    left, _, right = equation.partition("->")
    terms = left.split(",")
    if "->" not in equation:
        letters = left.replace(",", "")
        right = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    backend = require_same_backend("einsum", *operands)
    # Contiguous, because the order of the library's sums depends on strides.
    arrays = [backend.contiguous(x.array) for x in operands]
    result = Tensor(backend.xp.asarray(backend.xp.einsum(equation, *arrays)), backend)

    def gradient(i: int, grad_out: Tensor) -> Tensor | None:
        if not operands[i].requires_grad:
            return None
        others = [j for j in range(len(operands)) if j != i]
        source = ",".join([right] + [terms[j] for j in others])
        available = "".join(dict.fromkeys(c for c in terms[i] if c in source))
        if len(set(terms[i])) != len(terms[i]):
            raise RuntimeError(f"einsum: no gradient for an operand with a repeated letter ({terms[i]!r})")
        partial = einsum(f"{source}->{available}", grad_out, *[operands[j] for j in others])
        # A letter found in this operand alone was summed over: its gradient is constant along it.
        for place_of, letter in enumerate(terms[i]):
            if letter not in available:
                partial = reshape(partial, [*partial.array.shape[:place_of], 1, *partial.array.shape[place_of:]])
        return expand(partial, operands[i].array.shape)

    def backward(grad_out: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(gradient(i, grad_out) for i in range(len(operands)))

    return record(result, operands, backward, saved=operands, name="einsum")
