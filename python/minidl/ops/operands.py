"""What op functions are built from: operands made alike, one kernel run, gradients summed to a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import backends
from minidl.backends import Backend
from minidl.dtypes import from_numpy_dtype
from minidl.ops.copies import cast
from minidl.tensor import Tensor

_kind_order = {"b": 0, "u": 1, "i": 1, "f": 2}


default_float = np.dtype(np.float32)


def wrap(value: Any, like: Tensor | None = None) -> Tensor:
    """A tensor as it is; anything else as a tensor on ``like``'s back end that records nothing."""
    if isinstance(value, Tensor):
        return value
    if like is not None and like.array.dtype.kind == "f" and is_number(value):
        constant = like.backend.empty((), like.array.dtype)
        like.backend.kernels.fill(constant, value)  # not by NumPy: a captured step sees kernels only
        return Tensor(constant, like.backend)
    backend = like.backend if like is not None else backends.cpu
    array = backend.xp.asarray(value)
    if not isinstance(value, np.ndarray | np.generic) and array.dtype == np.float64:
        array = array.astype(like.array.dtype if like is not None and like.array.dtype.kind == "f" else default_float)
    from_numpy_dtype(array.dtype)  # TypeError for text, None and the like
    return Tensor(array, backend)


def is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def require_same_backend(op: str, *tensors: Tensor) -> Backend:
    """The back end that all tensors share; TypeError names the two that differ."""
    backend = tensors[0].backend
    for x in tensors:
        if x.backend is not backend:
            raise TypeError(f"{op}: tensors must be on one device, got {tensors[0].device} and {x.device}")
    return backend


def require_float(op: str, x: Tensor) -> None:
    """TypeError unless x is float32 or float64."""
    if x.array.dtype.kind != "f":
        raise TypeError(f"{op}: input must be float32 or float64, got {x.array.dtype}; convert it with .float()")


def result_dtype(a: Tensor, b: Tensor) -> np.dtype[Any]:
    """PyTorch's promotion: the higher kind wins (bool < integer < float); within a kind, tensors with dimensions
    outweigh those without, then the wider type wins."""
    first, second = a.array.dtype, b.array.dtype
    if first == second:
        return first  # type: ignore[no-any-return]
    kinds = _kind_order[first.kind], _kind_order[second.kind]
    if kinds[0] != kinds[1]:
        return first if kinds[0] > kinds[1] else second  # type: ignore[no-any-return]
    if (a.array.ndim == 0) != (b.array.ndim == 0):
        return second if a.array.ndim == 0 else first  # type: ignore[no-any-return]
    return np.promote_types(first, second)


def binary_operands(op: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one back end and one dtype; a Python number takes the other's dtype where its kind allows."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        require_same_backend(op, a, b)
        if a.array.dtype == b.array.dtype:
            return a, b
    else:
        like = a if isinstance(a, Tensor) else b
        a, b = wrap(a, like), wrap(b, like)
    raw = result_dtype(a, b)
    return cast(a, raw), cast(b, raw)


def float_operand(op: str, x: Any) -> Tensor:
    """x as a float tensor: integers and booleans become float32, as PyTorch's unary functions do."""
    tensor = wrap(x)
    return tensor if tensor.array.dtype.kind == "f" else cast(tensor, default_float)


def broadcast_shape(op: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(tuple(s)) for s in shapes)
        raise ValueError(f"{op}: shapes {listed} cannot be broadcast together") from None


def sum_to_shape(grad: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sums a gradient over the dimensions that broadcasting added or stretched."""
    if grad.array.shape == shape:
        return grad
    from minidl.ops.reduction import sum as sum_op
    from minidl.ops.shape import reshape

    extra = grad.array.ndim - len(shape)
    stretched = [i + extra for i, extent in enumerate(shape) if extent == 1 and grad.array.shape[i + extra] != 1]
    dims = tuple(range(extra)) + tuple(stretched)
    return reshape(sum_op(grad, dims, keepdim=True), shape) if dims else reshape(grad, shape)


class ThroughRelu(Tensor):
    """A gradient with respect to max(x, 0) that was taken back to x where it was computed. Added to another it becomes
    a plain tensor; what relu's backward then does once more changes nothing."""

    __slots__ = ()


def reads_relu(x: Tensor) -> bool:
    """Whether the gradient of x may be given as ThroughRelu: relu made x, and nobody looks at its gradient before."""
    node = x._node
    return node is not None and node.is_relu and not node.hooks


def run(backend: Backend, kernel: Any, *arguments: Any) -> Any:
    """kernel(*arguments). A kernel refuses arrays that are not contiguous before it writes anything; it gets copies of
    those then. Outputs must be contiguous."""
    try:
        return kernel(*arguments)
    except ValueError:
        pass  # what else may be wrong is said once, below
    arrays = backend.xp.ndarray
    return kernel(*(backend.contiguous(x) if isinstance(x, arrays) else x for x in arguments))


def unary(x: Tensor, kernel: str, *scalars: float) -> Tensor:
    """out = kernel(x), element by element; records nothing."""
    backend = x.backend
    array = backend.contiguous(x.array)
    out = backend.empty(array.shape, array.dtype)
    getattr(backend.kernels, kernel)(array, out, *scalars)
    return Tensor(out, backend)


def unary_backward(saved: Tensor, grad_out: Tensor, kernel: str, *scalars: float) -> Tensor:
    """grad_x = kernel(saved, grad_out), element by element; records nothing."""
    backend = saved.backend
    array = backend.contiguous(saved.array)
    out = backend.empty(array.shape, array.dtype)
    getattr(backend.kernels, kernel)(array, backend.contiguous(grad_out.array), out, *scalars)
    return Tensor(out, backend)


def relu_backward(out: Tensor, grad_out: Tensor) -> Tensor:
    """grad_out where out > 0, else 0; nothing is left to do for a ThroughRelu."""
    if type(grad_out) is ThroughRelu:
        return Tensor(grad_out.array, grad_out.backend)
    return unary_backward(out, grad_out, "relu_backward")


def binary_kernel(op: str, a: Tensor, b: Tensor, kernel: str) -> Tensor:
    backend = a.backend
    first, second = a.array, b.array
    shape = first.shape if first.shape == second.shape else broadcast_shape(op, first.shape, second.shape)
    out = backend.empty(shape, first.dtype)
    getattr(backend.kernels, kernel)(first, second, out)
    return Tensor(out, backend)
