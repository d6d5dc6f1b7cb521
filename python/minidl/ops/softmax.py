"""Softmax, its logarithm, and the logarithm of a sum of exponentials."""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd import is_grad_enabled, record
from minidl.ops.copies import cast
from minidl.ops.elementwise import exp, mul, sub
from minidl.ops.operands import float_operand
from minidl.ops.reduction import reduced, spread_back, sum
from minidl.ops.shape import axis_of, permute, reshape, transpose
from minidl.tensor import Tensor

__all__ = ["log_softmax", "logsumexp", "softmax"]


def as_rows(x: Tensor) -> Any:
    """x's array as rows x columns, the columns being the last dimension."""
    shape = x.array.shape or (1,)
    return x.backend.contiguous(x.array).reshape(math.prod(shape[:-1]), shape[-1])


def _row_kernel(x: Tensor, kernel: str, *others: Tensor) -> Tensor:
    """A kernel over rows whose output has x's shape; records nothing."""
    rows = as_rows(x)
    out = x.backend.empty(rows.shape, rows.dtype)
    getattr(x.backend.kernels, kernel)(rows, *[as_rows(other) for other in others], out)
    return Tensor(out.reshape(x.array.shape), x.backend)


def _softmax_of_rows(x: Tensor) -> Tensor:
    def backward(grad_out: Tensor, out: Tensor) -> tuple[Tensor]:
        if is_grad_enabled():
            return (mul(out, sub(grad_out, sum(mul(grad_out, out), -1, keepdim=True))),)
        return (_row_kernel(out, "softmax_backward", grad_out),)

    return record(_row_kernel(x, "softmax_forward"), (x,), backward, saves_output=True, name="softmax")


def _log_softmax_of_rows(x: Tensor) -> Tensor:
    def backward(grad_out: Tensor, out: Tensor) -> tuple[Tensor]:
        if is_grad_enabled():
            return (sub(grad_out, mul(exp(out), sum(grad_out, -1, keepdim=True))),)
        return (_row_kernel(out, "log_softmax_backward", grad_out),)

    return record(_row_kernel(x, "log_softmax_forward"), (x,), backward, saves_output=True, name="log_softmax")


def softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """e^x / sum of e^x along dim, shifted by the maximum so that nothing overflows; nan along a dim of only -inf.

    On the CPU, what would be a denormal number is 0: elements 87 below the maximum, 708 in float64.

    >>> import minidl
    >>> minidl.softmax(minidl.tensor([0.0, 0.0]), 0).tolist()
    [0.5, 0.5]
    """
    x = float_operand("softmax", x if dtype is None else cast(x, dtype))
    axis = axis_of("softmax", dim, x.array.ndim)
    if axis >= x.array.ndim - 1:
        return _softmax_of_rows(x)
    return transpose(_softmax_of_rows(transpose(x, axis, -1)), axis, -1)


def log_softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """x - logsumexp(x) along dim: the logarithm of :func:`softmax`, exact where that underflows."""
    x = float_operand("log_softmax", x if dtype is None else cast(x, dtype))
    axis = axis_of("log_softmax", dim, x.array.ndim)
    if axis >= x.array.ndim - 1:
        return _log_softmax_of_rows(x)
    return transpose(_log_softmax_of_rows(transpose(x, axis, -1)), axis, -1)


def logsumexp(x: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """ln(sum of e^x) over dim, a number or several; -inf of nothing."""
    x = float_operand("logsumexp", x)
    r = reduced("logsumexp", x, dim)
    shape, axes = x.array.shape, r.axes
    if axes != tuple(range(len(shape) - len(axes), len(shape))):
        rest = [i for i in range(len(shape)) if i not in axes]
        moved = permute(x, [*rest, *axes])
        return reshape(logsumexp(moved, tuple(range(len(rest), len(shape)))), r.shape(keepdim))
    rows = x.backend.contiguous(x.array).reshape(math.prod(r.dropped), r.elements)
    out = x.backend.empty(r.shape(keepdim), rows.dtype)
    x.backend.kernels.logsumexp_forward(rows, out)

    def backward(grad_out: Tensor, out: Tensor) -> tuple[Tensor]:
        if is_grad_enabled():
            return (mul(spread_back(grad_out, r, shape), exp(sub(x, spread_back(out, r, shape)))),)
        backend = x.backend
        rows = backend.contiguous(x.array).reshape(math.prod(r.dropped), r.elements)
        grad_x = backend.empty(rows.shape, rows.dtype)
        backend.kernels.logsumexp_backward(rows, out.array, backend.contiguous(grad_out.array), grad_x)
        return (Tensor(grad_x.reshape(shape), backend),)

    return record(Tensor(out, x.backend), (x,), backward, saved=(x,), saves_output=True, name="logsumexp")
