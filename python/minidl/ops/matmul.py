"""Matrix products: matmul and its named special cases, and linear with bias and activation fused in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd import is_grad_enabled, record
from minidl.backends import Backend
from minidl.ops.elementwise import add, mul
from minidl.ops.operands import (
    ThroughRelu,
    reads_relu,
    relu_backward,
    require_float,
    require_same_backend,
    run,
    sum_to_shape,
    unary_backward,
)
from minidl.ops.reduction import sum as sum_op
from minidl.ops.shape import reshape, transpose
from minidl.tensor import Tensor

__all__ = ["addmm", "bmm", "dot", "linear", "matmul", "mm", "mv", "outer"]

_ACTIVATIONS = ("relu", "sigmoid", "tanh")


def _shapes(a: Tensor, b: Tensor) -> str:
    return f"got shapes {tuple(a.array.shape)} and {tuple(b.array.shape)}"


def _require_matching(op: str, a: Tensor, b: Tensor) -> None:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        raise TypeError(f"{op}: both must be tensors, got {type(a).__name__} and {type(b).__name__}")
    require_same_backend(op, a, b)
    if a.array.dtype != b.array.dtype:
        raise TypeError(f"{op}: both must have one dtype, got {a.dtype} and {b.dtype}; convert one with .to(dtype)")


def _require_dims(op: str, x: Tensor, ndim: int, argument: str) -> None:
    if x.array.ndim != ndim:
        raise ValueError(f"{op}: {argument} must have {ndim} dimensions, got shape {tuple(x.array.shape)}")


# ---- matmul


def _matrices(backend: Backend, array: Any) -> tuple[Any, bool]:
    """(matrices in C order, whether these are the transposed ones): a transposed view is not copied."""
    if array.flags.c_contiguous:
        return array, False
    flipped = array.swapaxes(-1, -2)
    return (flipped, True) if flipped.flags.c_contiguous else (backend.contiguous(array), False)


def _batch(backend: Backend, array: Any, batch_shape: tuple[int, ...]) -> Any:
    """Matrices as batch x rows x columns; a single one keeps batch 1, which the kernel repeats."""
    rows, columns = array.shape[-2:]
    count = math.prod(array.shape[:-2])
    if count != 1 and count != math.prod(batch_shape):
        array = backend.contiguous(backend.xp.broadcast_to(array, (*batch_shape, rows, columns)))
        count = math.prod(batch_shape)
    return array.reshape(count, rows, columns)


def _multiply_arrays(backend: Backend, a: Any, b: Any) -> Any:
    """a @ b for arrays of at least two dimensions; floats by our kernel, integers by the array library."""
    if a.dtype.kind != "f":
        return backend.xp.matmul(a, b)
    rows, columns = a.shape[-2], b.shape[-1]
    if a.ndim == 2 and b.ndim == 2:
        out = backend.empty((rows, columns), a.dtype)
        (a, transpose_a), (b, transpose_b) = _matrices(backend, a), _matrices(backend, b)
        backend.kernels.matmul(a, b, out, transpose_a, transpose_b)
        return out
    batch_shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = backend.empty((*batch_shape, rows, columns), a.dtype)
    (a, transpose_a), (b, transpose_b) = _matrices(backend, a), _matrices(backend, b)
    a, b = _batch(backend, a, batch_shape), _batch(backend, b, batch_shape)
    backend.kernels.matmul(a, b, out.reshape(-1, rows, columns), transpose_a, transpose_b)
    return out


def _require_product(a: Tensor, b: Tensor) -> None:
    """ValueError unless the inner extents agree and the batches broadcast."""
    first, second = a.array.shape, b.array.shape
    if first[-1] != second[-2]:
        raise ValueError(f"matmul: columns of the first must equal rows of the second, {_shapes(a, b)}")
    for x, y in zip(reversed(first[:-2]), reversed(second[:-2]), strict=False):
        if x != y and 1 not in (x, y):
            raise ValueError(f"matmul: batch dimensions must be equal or 1, {_shapes(a, b)}")


def _rows(x: Tensor) -> Tensor:
    """All matrices of a batch below each other; a vector as one row."""
    return reshape(x, (math.prod(x.array.shape[:-1]), x.array.shape[-1]))


def _grad_second(a: Tensor, b: Tensor, grad_out: Tensor) -> Tensor:
    """a^T grad_out, summed over the batch that b is shared by."""
    if b.array.ndim == 2 and grad_out.array.ndim > 2 and a.array.shape[:-1] == grad_out.array.shape[:-1]:
        a, grad_out = _rows(a), _rows(grad_out)
    return sum_to_shape(_multiply(transpose(a, -1, -2), grad_out), b.array.shape)


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """matmul of tensors of at least two dimensions."""
    _require_product(a, b)
    result = Tensor(_multiply_arrays(a.backend, a.array, b.array), a.backend)
    wants_a, wants_b = a.requires_grad, b.requires_grad

    def backward(grad_out: Tensor) -> tuple[Tensor | None, Tensor | None]:
        grad_a = sum_to_shape(_multiply(grad_out, transpose(b, -1, -2)), a.array.shape) if wants_a else None
        return grad_a, _grad_second(a, b, grad_out) if wants_b else None

    return record(result, (a, b), backward, saved=(a, b), name="matmul")


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product: (..., m, k) and (..., k, n) give (..., m, n), batches being broadcast.

    A vector counts as a row on the left and as a column on the right; that dimension is then missing from the result.
    Transposed views (``x.T``) are read as they lie. Integers are multiplied by the array library, without gradient.

    On the CPU, denormal numbers (below 1.18e-38 in float32, 2.23e-308 in float64) count as 0 in the factors, the terms
    and the sums of a product, ``linear``'s and the gradients' included: gradients that vanish end there, instead of
    becoming numbers with which many processors compute 50 times as slowly.

    Raises ValueError for shapes that do not fit and TypeError for two dtypes or devices.

    >>> import minidl
    >>> a = minidl.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> (a @ minidl.tensor([1.0, 1.0])).tolist()
    [3.0, 7.0]
    """
    _require_matching("matmul", a, b)
    if a.array.ndim == 0 or b.array.ndim == 0:
        raise ValueError(f"matmul: both must have at least 1 dimension, {_shapes(a, b)}; use * with a scalar")
    if a.array.ndim > 1 and b.array.ndim > 1:
        return _multiply(a, b)
    if a.array.shape[-1] != b.array.shape[max(0, b.array.ndim - 2)]:
        raise ValueError(f"matmul: the extents that are summed over must be equal, {_shapes(a, b)}")
    row = reshape(a, (1, a.array.shape[0])) if a.array.ndim == 1 else a
    column = reshape(b, (b.array.shape[0], 1)) if b.array.ndim == 1 else b
    product = _multiply(row, column)
    shape = product.array.shape
    kept = (shape[-2:-1] if a.array.ndim > 1 else ()) + (shape[-1:] if b.array.ndim > 1 else ())
    return reshape(product, shape[:-2] + kept)


def mm(a: Tensor, b: Tensor) -> Tensor:
    """matmul of two matrices: (m, k) and (k, n) give (m, n)."""
    _require_dims("mm", a, 2, "the first")
    _require_dims("mm", b, 2, "the second")
    return matmul(a, b)


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """matmul matrix by matrix: (batch, m, k) and (batch, k, n) give (batch, m, n); nothing is broadcast."""
    _require_dims("bmm", a, 3, "the first")
    _require_dims("bmm", b, 3, "the second")
    if a.array.shape[0] != b.array.shape[0]:
        raise ValueError(f"bmm: both must have the same batch size, {_shapes(a, b)}")
    return matmul(a, b)


def mv(a: Tensor, b: Tensor) -> Tensor:
    """matmul of a matrix and a vector: (m, k) and (k,) give (m,)."""
    _require_dims("mv", a, 2, "the matrix")
    _require_dims("mv", b, 1, "the vector")
    return matmul(a, b)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The sum of a[i] * b[i] of two vectors, as a tensor without dimensions."""
    _require_dims("dot", a, 1, "the first")
    _require_dims("dot", b, 1, "the second")
    return matmul(a, b)


def outer(a: Tensor, b: Tensor) -> Tensor:
    """out[i, j] = a[i] * b[j] of two vectors."""
    _require_dims("outer", a, 1, "the first")
    _require_dims("outer", b, 1, "the second")
    return mul(reshape(a, (a.array.shape[0], 1)), reshape(b, (1, b.array.shape[0])))


def addmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * x + alpha * (a @ b) for matrices a and b; x is broadcast."""
    product = mm(a, b)
    shape, wanted = tuple(x.array.shape), tuple(product.array.shape)
    fits = len(shape) <= 2 and all(own in (1, extent) for own, extent in zip(shape[::-1], wanted[::-1], strict=False))
    if not fits:
        raise ValueError(f"addmm: x must broadcast to the product's shape {wanted}, got {shape}")
    return add(x if beta == 1 else mul(x, beta), product if alpha == 1 else mul(product, alpha))


# ---- linear


def _check_linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None) -> None:
    require_float("linear", x)
    _require_matching("linear", x, weight)
    _require_dims("linear", weight, 2, "weight")
    out_features, in_features = weight.array.shape
    shape = tuple(x.array.shape)
    if not shape or shape[-1] != in_features:
        fix = "; flatten it first (nn.Flatten())" if math.prod(shape[1:]) == in_features else ""
        raise ValueError(
            f"linear: input must have {in_features} columns for weight of shape {tuple(weight.array.shape)}, "
            f"got shape {shape}{fix}"
        )
    if bias is not None:
        _require_matching("linear", weight, bias)
        if bias.array.shape != (out_features,):
            raise ValueError(f"linear: bias must have shape ({out_features},), got {tuple(bias.array.shape)}")
    if activation is not None and activation not in _ACTIVATIONS:
        raise ValueError(f"linear: activation must be None or one of {', '.join(_ACTIVATIONS)}, got {activation!r}")


def _through_activation(activation: str, grad_out: Tensor, out: Tensor) -> Tensor:
    """The gradient before the activation, composed of ops: their derivatives need the output only."""
    if activation == "relu":
        return mul(grad_out, out > 0)
    return mul(grad_out, out * (1 - out) if activation == "sigmoid" else 1 - out * out)


def _linear_grads(
    x: Tensor, weight: Tensor, grad_out: Tensor, wants: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients composed of ops, so that they can be differentiated again."""
    flat = _rows(grad_out)
    grad_x = reshape(_multiply(flat, weight), x.array.shape) if wants[0] else None
    grad_weight = _multiply(transpose(flat, 0, 1), _rows(x)) if wants[1] else None
    return grad_x, grad_weight, sum_op(flat, 0) if wants[2] else None


def _fused_linear_grads(
    x: Tensor, weight: Tensor, grad_out: Tensor, wants: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The same by the fused kernels, without temporary arrays."""
    backend, through_relu = x.backend, reads_relu(x)
    kernel = backend.kernels.linear_gradients
    grads = run(backend, kernel, grad_out.array, x.array, weight.array, *wants, through_relu)
    grad_x, grad_weight, grad_bias = [None if grad is None else Tensor(grad, backend) for grad in grads]
    if through_relu and grad_x is not None:
        grad_x = ThroughRelu(grad_x.array, backend)
    if wants[2] and not wants[1]:
        grad_bias = sum_op(_rows(grad_out), 0)
    return grad_x, grad_weight, grad_bias


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Tensor:
    """activation(x @ weight.T + bias): (..., in_features) gives (..., out_features).

    ``weight`` is out_features x in_features. ``activation`` - None, "relu", "sigmoid" or "tanh" - is applied while the
    result is still in registers; it saves reading and writing the result once more.

    Raises ValueError for shapes that do not fit, TypeError for integers and for two dtypes or devices.

    >>> import minidl
    >>> weight, bias = minidl.tensor([[1.0, -1.0]]), minidl.tensor([0.5])
    >>> minidl.ops.linear(minidl.tensor([[2.0, 1.0], [1.0, 2.0]]), weight, bias, activation="relu").tolist()
    [[1.5], [0.0]]
    """
    backend, biases = x.backend, None if bias is None else bias.array
    try:
        kind = backend.activations[activation]
        out = run(backend, backend.kernels.linear, x.array, weight.array, biases, kind)
    except (TypeError, ValueError, KeyError):
        _check_linear(x, weight, bias, activation)  # says more than the kernel can
        raise
    wants = (x.requires_grad, weight.requires_grad, bias is not None and bias.requires_grad)

    def backward(grad_out: Tensor, result: Tensor | None = None) -> tuple[Tensor | None, ...]:
        if is_grad_enabled():
            if activation is not None and result is not None:
                grad_out = _through_activation(activation, grad_out, result)
            return _linear_grads(x, weight, grad_out, wants)
        if activation == "relu" and result is not None:
            grad_out = relu_backward(result, grad_out)
        elif result is not None:
            grad_out = unary_backward(result, grad_out, f"{activation}_backward")
        return _fused_linear_grads(x, weight, grad_out, wants)

    result = record(Tensor(out, backend), (x, weight, bias), backward, (x, weight), activation is not None, "linear")
    if result._node is not None:
        result._node.is_relu = activation == "relu"
    return result
