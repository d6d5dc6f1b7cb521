"""Truth values, element by element: computed by the array library, never recorded."""

from __future__ import annotations

from typing import Any

from minidl.ops.operands import broadcast_shape, require_same_backend, wrap
from minidl.tensor import Tensor

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "eq",
    "equal",
    "ge",
    "gt",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "logical_not",
    "lt",
    "ne",
]


def _truth(name: str, *operands: Any) -> Tensor:
    like = next((x for x in operands if isinstance(x, Tensor)), None)
    tensors = [wrap(x, like) for x in operands]
    backend = require_same_backend(name, *tensors)
    if len(tensors) == 2:
        broadcast_shape(name, tensors[0].array.shape, tensors[1].array.shape)
    return Tensor(backend.xp.asarray(getattr(backend.xp, name)(*[x.array for x in tensors])), backend)


def eq(a: Any, b: Any) -> Tensor:
    """a == b, element by element."""
    return _truth("equal", a, b)


def ne(a: Any, b: Any) -> Tensor:
    """a != b, element by element."""
    return _truth("not_equal", a, b)


def lt(a: Any, b: Any) -> Tensor:
    """a < b, element by element."""
    return _truth("less", a, b)


def le(a: Any, b: Any) -> Tensor:
    """a <= b, element by element."""
    return _truth("less_equal", a, b)


def gt(a: Any, b: Any) -> Tensor:
    """a > b, element by element."""
    return _truth("greater", a, b)


def ge(a: Any, b: Any) -> Tensor:
    """a >= b, element by element."""
    return _truth("greater_equal", a, b)


def isnan(x: Any) -> Tensor:
    """Where x is nan."""
    return _truth("isnan", x)


def isinf(x: Any) -> Tensor:
    """Where x is infinite."""
    return _truth("isinf", x)


def isfinite(x: Any) -> Tensor:
    """Where x is neither nan nor infinite."""
    return _truth("isfinite", x)


def logical_not(x: Any) -> Tensor:
    """Where x is 0."""
    return _truth("logical_not", x)


def bitwise_not(x: Any) -> Tensor:
    """not x for booleans, all bits turned for integers."""
    return _truth("bitwise_not", x)


def bitwise_and(a: Any, b: Any) -> Tensor:
    """a and b for booleans, bit by bit for integers."""
    return _truth("bitwise_and", a, b)


def bitwise_or(a: Any, b: Any) -> Tensor:
    """a or b for booleans, bit by bit for integers."""
    return _truth("bitwise_or", a, b)


def bitwise_xor(a: Any, b: Any) -> Tensor:
    """Either but not both for booleans, bit by bit for integers."""
    return _truth("bitwise_xor", a, b)


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether both have one shape and the same values."""
    return a.array.shape == b.array.shape and bool((a.array == b.array).all())


def allclose(a: Tensor, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether |a - b| <= atol + rtol * |b| everywhere."""
    return bool(a.backend.xp.allclose(a.array, wrap(b, a).array, rtol=rtol, atol=atol, equal_nan=equal_nan))
