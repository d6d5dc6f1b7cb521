"""Sums, means, extremes, variances, products and norms along any dimensions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from minidl.autograd import is_grad_enabled, record
from minidl.dtypes import to_numpy_dtype
from minidl.ops.comparison import eq, ne
from minidl.ops.copies import cast
from minidl.ops.elementwise import abs, div, maximum, minimum, mul, pow, sign, square, sub, where
from minidl.ops.indexing import ValuesAndIndices, flip
from minidl.ops.operands import require_float, unary
from minidl.ops.shape import axis_of, expand, reshape, unsqueeze
from minidl.tensor import Tensor

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "cumsum",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]


# ---- which dimensions, and how a kernel sees them


class Reduced(NamedTuple):
    """A reduction of a shape: the axes, and the result's shape with each of them as 1 and without them."""

    axes: tuple[int, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    elements: int  # behind each result

    def shape(self, keepdim: bool) -> tuple[int, ...]:
        """The result's shape."""
        return self.kept if keepdim else self.dropped


def reduced(op: str, x: Tensor, dim: Any) -> Reduced:
    """The reduction of x over dim: None or () for all dimensions, a number, or several."""
    shape = x.array.shape
    if dim is None or dim == ():
        axes = tuple(range(len(shape)))
    elif isinstance(dim, int):
        axes = (axis_of(op, dim, len(shape)),)
    else:
        axes = tuple(sorted(axis_of(op, d, len(shape)) for d in dim))
        if len(set(axes)) != len(axes):
            raise ValueError(f"{op}: dim names a dimension twice: {tuple(dim)} for {len(shape)} dimensions")
    axes = axes if shape else ()
    kept = tuple([1 if i in axes else extent for i, extent in enumerate(shape)])
    dropped = tuple([extent for i, extent in enumerate(shape) if i not in axes])
    return Reduced(axes, kept, dropped, math.prod([shape[i] for i in axes]))


def _as_block(x: Tensor, axes: tuple[int, ...]) -> Any:
    """x as a contiguous array of outer x reduced x inner; axes that are not neighbours are moved to the end first."""
    array, shape = x.array, x.array.shape
    if not axes:
        return x.backend.contiguous(array).reshape(array.size, 1, 1)
    first, last = axes[0], axes[-1] + 1
    if last - first == len(axes):
        block = (math.prod(shape[:first]), math.prod(shape[first:last]), math.prod(shape[last:]))
        return x.backend.contiguous(array).reshape(block)
    rest = [i for i in range(array.ndim) if i not in axes]
    outer = math.prod([shape[i] for i in rest])
    reduced_size = math.prod([shape[i] for i in axes])
    return x.backend.contiguous(array.transpose([*rest, *axes])).reshape(outer, reduced_size, 1)


def _by_library(x: Tensor, name: str, r: Reduced, keepdim: bool, **options: Any) -> Tensor:
    """The array library's reduction, for integers and booleans."""
    xp = x.backend.xp
    return Tensor(xp.asarray(getattr(xp, name)(x.array, axis=r.axes, keepdims=keepdim, **options)), x.backend)


def spread_back(grad: Tensor, r: Reduced, shape: tuple[int, ...]) -> Tensor:
    """A reduced gradient, repeated over the dimensions it was reduced over."""
    return expand(reshape(grad, r.kept), shape)


# ---- sums


def _scaled_sum(op: str, x: Tensor, r: Reduced, keepdim: bool, divisor: int) -> Tensor:
    backend, shape = x.backend, x.array.shape
    block = _as_block(x, r.axes)
    out = backend.empty(r.shape(keepdim), block.dtype)
    backend.kernels.sum_forward(block, out, divisor)

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        return (spread_back(grad_out if divisor == 1 else div(grad_out, float(divisor)), r, shape),)

    return record(Tensor(out, backend), (x,), backward, name=op)


def sum(x: Tensor, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The sum over dim, or over everything. Integers and booleans are added up as int64.

    >>> import minidl
    >>> minidl.ones(2, 3).sum(1).tolist()
    [3.0, 3.0]
    """
    if dtype is not None:
        x = cast(x, dtype)
    r = reduced("sum", x, dim)
    if x.array.dtype.kind != "f":
        return _by_library(x, "sum", r, keepdim, dtype="int64")
    return _scaled_sum("sum", x, r, keepdim, 1)


def mean(x: Tensor, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The mean over dim, or over everything; nan of nothing."""
    if dtype is not None:
        x = cast(x, dtype)
    require_float("mean", x)
    r = reduced("mean", x, dim)
    return _scaled_sum("mean", x, r, keepdim, r.elements)


def cumsum(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """out[i] = x[0] + ... + x[i] along dim."""
    if dtype is not None:
        x = cast(x, dtype)
    axis = axis_of("cumsum", dim, x.array.ndim)
    xp = x.backend.xp
    raw = x.array.dtype if x.array.dtype.kind == "f" else to_numpy_dtype("int64")
    array = xp.cumsum(x.array, axis=axis, dtype=raw) if x.array.ndim else x.array.astype(raw)

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        return (flip(cumsum(flip(grad_out, axis), axis), axis) if grad_out.array.ndim else grad_out,)

    return record(Tensor(array, x.backend), (x,), backward, name="cumsum")


# ---- products


def _products_of_the_others(x: Tensor, axis: int) -> Tensor:
    """For each element the product of the others along axis; right where some are 0."""
    if is_grad_enabled() and x.requires_grad:
        count = x.array.shape[axis]
        xp = x.backend.xp
        own = xp.eye(count, dtype=bool).reshape((count, count) + (1,) * (x.array.ndim - axis - 1))
        return prod(where(Tensor(own, x.backend), 1.0, unsqueeze(x, axis)), axis + 1)
    xp = x.backend.xp

    def part(start: int | None, stop: int | None) -> Any:
        return x.array[(slice(None),) * axis + (slice(start, stop),)]

    one = xp.ones_like(part(0, 1))
    before = xp.cumprod(xp.concatenate([one, part(None, -1)], axis), axis)
    after = xp.cumprod(xp.concatenate([one, xp.flip(part(1, None), axis)], axis), axis)
    after = xp.flip(after, axis)
    return Tensor(before * after, x.backend)


def prod(x: Tensor, dim: int | None = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The product over dim, or of everything; computed by the array library."""
    if dtype is not None:
        x = cast(x, dtype)
    if dim is None:
        flat = prod(reshape(x, (-1,)), 0)
        return reshape(flat, (1,) * x.array.ndim) if keepdim else flat
    r = reduced("prod", x, dim)
    if x.array.dtype.kind != "f":
        return _by_library(x, "prod", r, keepdim, dtype="int64")
    shape = x.array.shape

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        grad = spread_back(grad_out, r, shape)
        return (mul(grad, _products_of_the_others(x, r.axes[0])) if r.axes and r.elements else grad,)

    return record(_by_library(x, "prod", r, keepdim), (x,), backward, saved=(x,), name="prod")


# ---- extremes


def _require_elements(op: str, x: Tensor, r: Reduced) -> None:
    if r.elements == 0:
        raise ValueError(f"{op}: dim must have at least 1 element, got shape {tuple(x.array.shape)}")


def _extreme_values(op: str, kernel: str, x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """The extreme over dims; elements equal to it share the gradient."""
    r = reduced(op, x, dim)
    _require_elements(op, x, r)
    if x.array.dtype.kind != "f":
        return _by_library(x, kernel[:3], r, keepdim)
    out = x.backend.empty(r.shape(keepdim), x.array.dtype)
    getattr(x.backend.kernels, kernel)(_as_block(x, r.axes), out)

    def backward(grad_out: Tensor, out: Tensor) -> tuple[Tensor]:
        extreme = out.array.reshape(r.kept)
        hits = (x.array == extreme) | ((x.array != x.array) & (extreme != extreme))
        share = hits / hits.sum(axis=r.axes, keepdims=True)
        weights = Tensor(x.backend.xp.asarray(share, x.array.dtype), x.backend)
        return (mul(expand(reshape(grad_out, r.kept), x.array.shape), weights),)

    return record(Tensor(out, x.backend), (x,), backward, saved=(x,), saves_output=True, name=op)


def _extreme_with_index(op: str, kernel: str, x: Tensor, dim: int, keepdim: bool) -> ValuesAndIndices:
    """The extreme along one dim and its first place, which receives the gradient."""
    r = reduced(op, x, dim)
    _require_elements(op, x, r)
    backend, shape = x.backend, x.array.shape
    if x.array.dtype.kind != "f":
        index = _index_by_library(op, kernel, x, r, keepdim)
        return ValuesAndIndices(_by_library(x, kernel[:3], r, keepdim), index)
    values = backend.empty(r.shape(keepdim), x.array.dtype)
    index = Tensor(backend.empty(r.shape(keepdim), to_numpy_dtype("int64")), backend)
    getattr(backend.kernels, kernel)(_as_block(x, r.axes), values, index.array)

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        if not r.axes:
            return (grad_out,)
        places = [1] * len(shape)
        places[r.axes[0]] = r.elements
        is_chosen = backend.xp.arange(r.elements).reshape(places) == index.array.reshape(r.kept)
        return (where(Tensor(is_chosen, backend), spread_back(grad_out, r, shape), 0.0),)

    return ValuesAndIndices(record(Tensor(values, backend), (x,), backward, saved=(index,), name=op), index)


def _index_by_library(op: str, kernel: str, x: Tensor, r: Reduced, keepdim: bool) -> Tensor:
    xp = x.backend.xp
    index = getattr(xp, "arg" + kernel[:3])(x.array.reshape(-1) if len(r.axes) != 1 else x.array, axis=r.axes[0])
    return Tensor(xp.asarray(index, "int64").reshape(r.shape(keepdim)), x.backend)


def _index_of_extreme(op: str, kernel: str, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    r = reduced(op, x, dim)
    _require_elements(op, x, r)
    backend = x.backend
    if x.array.dtype.kind != "f" and r.axes:
        return _index_by_library(op, kernel, x, r, keepdim)
    index = backend.empty(r.shape(keepdim), to_numpy_dtype("int64"))
    if x.array.dtype.kind == "f":
        getattr(backend.kernels, kernel)(_as_block(x, r.axes), None, index)
    else:
        index[...] = 0
    return Tensor(index, backend)


def amax(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The maximum over dim (all dimensions by default); equal elements share the gradient. nan wins."""
    return _extreme_values("amax", "max_forward", x, dim, keepdim)


def amin(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The minimum over dim (all dimensions by default); equal elements share the gradient. nan wins."""
    return _extreme_values("amin", "min_forward", x, dim, keepdim)


def max(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Without dim the maximum of everything, whose gradient equal elements share. With dim a named tuple of
    (values, indices), whose gradient goes to the place named. With a tensor as dim, :func:`maximum`. nan wins.

    >>> import minidl
    >>> minidl.tensor([[1.0, 3.0], [4.0, 2.0]]).max(1).indices.tolist()
    [1, 0]
    """
    if isinstance(dim, Tensor):
        return maximum(x, dim)
    if dim is None:
        return _extreme_values("max", "max_forward", x, None, keepdim)
    return _extreme_with_index("max", "max_forward", x, dim, keepdim)


def min(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The minimum, in the three forms of :func:`max`."""
    if isinstance(dim, Tensor):
        return minimum(x, dim)
    if dim is None:
        return _extreme_values("min", "min_forward", x, None, keepdim)
    return _extreme_with_index("min", "min_forward", x, dim, keepdim)


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The first place of the maximum along dim, or in the flattened tensor."""
    return _index_of_extreme("argmax", "max_forward", x, dim, keepdim)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The first place of the minimum along dim, or in the flattened tensor."""
    return _index_of_extreme("argmin", "min_forward", x, dim, keepdim)


# ---- variance


def var(
    x: Tensor, dim: Any = None, correction: float = 1, keepdim: bool = False, unbiased: bool | None = None
) -> Tensor:
    """sum of (x - mean)^2 / (n - correction) over dim. ``unbiased`` is PyTorch's older name: True is correction 1."""
    require_float("var", x)
    if isinstance(dim, bool):  # torch.var(x, unbiased)
        dim, unbiased = None, dim
    freedom_lost = correction if unbiased is None else int(unbiased)
    r = reduced("var", x, dim)
    out = x.backend.empty(r.shape(keepdim), x.array.dtype)
    x.backend.kernels.var_forward(_as_block(x, r.axes), None, out, freedom_lost)
    freedom = r.elements - freedom_lost

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        scale = 2 / freedom if freedom > 0 else math.nan
        centered = sub(x, mean(x, r.axes, keepdim=True))
        return (mul(reshape(mul(grad_out, scale), r.kept), centered),)

    return record(Tensor(out, x.backend), (x,), backward, saved=(x,), name="var")


def _root(x: Tensor, name: str) -> Tensor:
    """sqrt(x) whose gradient at 0 is 0, as PyTorch has it for std and norm."""

    def backward(grad_out: Tensor, out: Tensor) -> tuple[Tensor]:
        return (where(eq(out, 0.0), 0.0, div(grad_out, mul(out, 2.0))),)

    return record(unary(x, "sqrt_forward"), (x,), backward, saves_output=True, name=name)


def std(
    x: Tensor, dim: Any = None, correction: float = 1, keepdim: bool = False, unbiased: bool | None = None
) -> Tensor:
    """The square root of :func:`var`; the gradient is 0 where it is 0."""
    return _root(var(x, dim, correction, keepdim, unbiased), "std")


def var_mean(x: Tensor, dim: Any = None, correction: float = 1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """(var, mean)."""
    return var(x, dim, correction, keepdim), mean(x, dim, keepdim)


def std_mean(x: Tensor, dim: Any = None, correction: float = 1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """(std, mean)."""
    return std(x, dim, correction, keepdim), mean(x, dim, keepdim)


# ---- norms and truth values


def norm(x: Tensor, p: float | str = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
    """(sum of |x|^p)^(1/p) over dim; p may be inf, -inf, 0 (how many are not 0) and "fro" (2)."""
    require_float("norm", x)
    if p in ("fro", 2):
        return _root(sum(square(x), dim, keepdim), "norm")
    if isinstance(p, str):
        raise ValueError(f"norm: p must be a number or 'fro', got {p!r}")
    if p == 1:
        return sum(abs(x), dim, keepdim)
    if math.isinf(p):
        return (amax if p > 0 else amin)(abs(x), () if dim is None else dim, keepdim)
    if p == 0:
        return sum(abs(sign(x)), dim, keepdim)
    return pow(sum(pow(abs(x), p), dim, keepdim), 1 / p)


def any(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether any element over dim is not 0."""
    return _by_library(x, "any", reduced("any", x, dim), keepdim)


def all(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether no element over dim is 0."""
    return _by_library(x, "all", reduced("all", x, dim), keepdim)


def count_nonzero(x: Tensor, dim: Any = None) -> Tensor:
    """How many elements over dim are not 0."""
    return sum(ne(x, 0), dim)
