"""Changes of a tensor's own memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minidl.autograd import is_grad_enabled, record
from minidl.changes import note_foreign_write
from minidl.ops.copies import cast, clone, move, store
from minidl.ops.elementwise import add, clamp, div, mul, sub
from minidl.ops.operands import broadcast_shape, sum_to_shape, wrap
from minidl.tensor import Tensor

__all__ = [
    "add_",
    "clamp_",
    "copy_",
    "count_up_",
    "div_",
    "fill_",
    "mul_",
    "sub_",
]


def write_in_place(x: Tensor, name: str, write: Callable[[Any], None], result: Tensor | None = None) -> Tensor:
    """Changes x's memory. A recorded change (``result`` carries its node) is allowed for what PyTorch allows it for,
    except views: their base would need a new history."""
    if x.requires_grad and is_grad_enabled():
        if x._node is None:
            raise RuntimeError(f"{name}: a leaf that requires a gradient can be changed in place only under no_grad()")
        if x.array.base.__class__ is x.array.__class__:
            raise RuntimeError(f"{name}: a view cannot be changed in place while it is recorded; use clone() first")
    elif result is not None and result.requires_grad and x.array.base.__class__ is x.array.__class__:
        raise RuntimeError(f"{name}: a view cannot receive a recorded value in place; use clone() first")
    write(x.array)
    x._bump_version()
    if result is not None and result._node is not None:
        x._node, x.requires_grad = result._node, True
        if result._node.output is not None and x._version is not None:
            result._node.output = (x.array, x.backend, x._version, x._version[0])
    return x


def _assign(x: Tensor, name: str, result: Tensor) -> Tensor:
    if result.array.dtype.kind == "f" and x.array.dtype.kind != "f":
        raise TypeError(f"{name}: a float result cannot be stored in place in a tensor of {x.dtype}")
    if result.array.shape != x.array.shape:
        raise ValueError(
            f"{name}: the result has shape {tuple(result.shape)} and does not fit in place into {tuple(x.shape)}"
        )

    def write(array: Any) -> None:
        store(array, result.array, x.backend, name)

    return write_in_place(x, name, write, result)


def _before(x: Tensor, other: Any) -> Tensor:
    """x's values as they are now, for the gradient of a recorded change of x."""
    if not is_grad_enabled() or not (x.requires_grad or getattr(other, "requires_grad", False)):
        return x
    copy = Tensor(x.array.copy(), x.backend, x.requires_grad)
    copy._node = x._node
    return copy


def add_(x: Tensor, other: Any, alpha: float = 1) -> Tensor:
    """x += alpha * other."""
    if (
        isinstance(other, Tensor)
        and not (is_grad_enabled() and (x.requires_grad or other.requires_grad))
        and other.array.shape == x.array.shape
        and other.array.dtype == x.array.dtype
        and x.array.dtype.kind == "f"
        and x.array.flags.c_contiguous
    ):
        x.backend.kernels.add_scaled(other.backend.contiguous(other.array), x.array, alpha)
        x._bump_version()
        return x
    return _assign(x, "add_", add(x, other, alpha))


def sub_(x: Tensor, other: Any, alpha: float = 1) -> Tensor:
    """x -= alpha * other."""
    return _assign(x, "sub_", sub(x, other, alpha))


def mul_(x: Tensor, other: Any) -> Tensor:
    """x *= other."""
    return _assign(x, "mul_", mul(_before(x, other), other))


def div_(x: Tensor, other: Any) -> Tensor:
    """x /= other."""
    return _assign(x, "div_", div(_before(x, other), other))


def clamp_(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x = min(max(x, min), max), in place."""
    return _assign(x, "clamp_", clamp(_before(x, None), min, max))


def count_up_(x: Tensor) -> Tensor:
    """x += 1 for an int64 tensor with one element, by a kernel, so that a captured step counts when it is replayed.

    >>> import minidl
    >>> minidl.ops.count_up_(minidl.tensor(3)).item()
    4
    """
    x.backend.kernels.count_up(x.array)
    x._bump_version()
    return x


def fill_(x: Tensor, value: Any) -> Tensor:
    """x = value everywhere."""
    number = value.item() if isinstance(value, Tensor) else value

    def write(array: Any) -> None:
        if array.dtype.kind == "f" and array.flags.c_contiguous:
            x.backend.kernels.fill(array, number)
        else:
            note_foreign_write("fill_")
            array[...] = number

    zero = None if not (x.requires_grad and is_grad_enabled() and x._node is not None) else mul(x, 0.0)
    return write_in_place(x, "fill_", write, zero)


def copy_(x: Tensor, source: Any) -> Tensor:
    """x = source, broadcast, converted to x's number type and brought to its device."""
    tensor = wrap(source, x)
    broadcast_shape("copy_", x.array.shape, tensor.array.shape)
    converted = move(cast(tensor, x.array.dtype), x.backend)
    shape = tensor.array.shape
    linked = None
    if is_grad_enabled() and converted.requires_grad:
        linked = record(
            Tensor(x.array, x.backend), (converted,), lambda grad_out: (sum_to_shape(grad_out, shape),), name="copy"
        )

    def write(array: Any) -> None:
        values = converted.array
        if x.backend.xp.may_share_memory(array, values):
            values = clone(converted.detach()).array
        store(array, values, x.backend, "copy_")

    return write_in_place(x, "copy_", write, linked)
