"""Batch norm and layer norm."""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd import is_grad_enabled, record
from minidl.generator import default_generator
from minidl.ops.activation import relu
from minidl.ops.comparison import gt
from minidl.ops.dropout import dropout as drop, scale_of
from minidl.ops.elementwise import add, mul, rsqrt, sub, where
from minidl.ops.operands import require_float, require_same_backend
from minidl.ops.reduction import mean, sum, var
from minidl.ops.shape import reshape
from minidl.tensor import Tensor

__all__ = ["batch_norm", "layer_norm"]


def _require_shape(op: str, name: str, x: Tensor | None, shape: tuple[int, ...], like: Tensor) -> None:
    if x is None:
        return
    require_same_backend(op, like, x)
    if x.array.shape != shape:
        raise ValueError(
            f"{op}: {name} must have shape {shape} for an input of shape {tuple(like.array.shape)}, "
            f"got {tuple(x.array.shape)}"
        )


def _array(x: Tensor | None) -> Any:
    return None if x is None else x.backend.contiguous(x.array)


def _gradient_of_normalized(x: Tensor, grad: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """(grad_x, xhat) for xhat = (x - mean) / sqrt(var + eps) over dims, given xhat's gradient; made of ops."""
    inv_std = rsqrt(add(var(x, dims, correction=0, keepdim=True), eps))
    xhat = mul(sub(x, mean(x, dims, keepdim=True)), inv_std)
    share = mul(xhat, mean(mul(grad, xhat), dims, keepdim=True))
    return mul(inv_std, sub(sub(grad, mean(grad, dims, keepdim=True)), share)), xhat


def _times(x: Tensor, weight: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    return x if weight is None else mul(x, reshape(weight, shape))


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: str | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias per channel, the channels being dimension 1 (Ioffe 2015).

    In training, mean and (biased) variance are the batch's, and running = (1 - momentum) * running + momentum * batch
    is written in place, with the unbiased variance. In evaluation the running statistics are used.

    ``activation="relu"``, and after it ``dropout``, the probability of dropping a unit, are applied in the same pass:
    the numbers of relu and dropout by themselves, and as many random numbers drawn. One difference is left: the
    gradient of a dropped unit is 0 also where the gradient that comes in is infinite.

    Raises ValueError in training for a single value per channel, whose variance says nothing, for another activation,
    and for dropout without relu.
    """
    if activation not in (None, "relu") or (dropout and activation is None):
        raise ValueError(f"batch_norm: activation must be None or 'relu', dropout after relu; got {activation!r}")
    vectors = running_mean, running_var, weight, bias
    if x.array.ndim < 2:
        raise ValueError(f"batch_norm: input must have at least 2 dimensions, got shape {tuple(x.array.shape)}")
    try:
        if training:
            return _batch_norm_training(x, *vectors, momentum, eps, activation, dropout)
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: evaluation needs running_mean and running_var, got None; pass training=True")
        out = _batch_norm_evaluation(x, running_mean, running_var, weight, bias, eps)
    except (TypeError, ValueError):
        _check_batch_norm(x, *vectors)  # says more than the kernel can
        raise
    return out if activation is None else drop(relu(out), dropout)


def _check_batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
) -> None:
    require_float("batch_norm", x)
    channels = x.array.shape[1]
    named = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, vector in named.items():
        _require_shape("batch_norm", name, vector, (channels,), x)


def _batch_norm_training(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
    activation: str | None,
    p: float,
) -> Tensor:
    backend, channels = x.backend, x.array.shape[1]
    if x.array.size == channels:
        raise ValueError(
            f"batch_norm: training needs more than 1 value per channel, got shape {tuple(x.array.shape)}; "
            "use a larger batch, or model.eval()"
        )
    array = backend.contiguous(x.array)
    out = backend.empty(array.shape, array.dtype)
    center, inv_std = backend.empty((channels,), array.dtype), backend.empty((channels,), array.dtype)
    running = [None if r is None else r.array for r in (running_mean, running_var)]
    kind = backend.activations[activation]
    ticket = default_generator.ticket(backend) if p > 0 else None
    backend.kernels.batch_norm_forward_training(
        array, _array(weight), _array(bias), *running, out, center, inv_std, momentum, eps, kind, ticket, p
    )
    for statistic in (running_mean, running_var):
        if statistic is not None:
            statistic._bump_version()

    def backward(grad_out: Tensor, result: Tensor | None = None) -> tuple[Tensor | None, ...]:
        if is_grad_enabled():
            if result is not None:
                grad_out = where(gt(result, 0), mul(grad_out, scale_of(p)), 0.0)
            dims = (0, *range(2, x.array.ndim))
            shape = (1, channels) + (1,) * (x.array.ndim - 2)
            grad_x, xhat = _gradient_of_normalized(x, _times(grad_out, weight, shape), dims, eps)
            return grad_x, sum(mul(grad_out, xhat), dims), sum(grad_out, dims)
        grad_x_array = backend.empty(array.shape, array.dtype) if x.requires_grad else None
        grads = [None if p is None else backend.empty((channels,), array.dtype) for p in (weight, bias)]
        through = () if result is None else (result.array, scale_of(p))
        backend.kernels.batch_norm_backward(
            array, _array(weight), center, inv_std, backend.contiguous(grad_out.array), grad_x_array, *grads, *through
        )
        return tuple(None if grad is None else Tensor(grad, backend) for grad in (grad_x_array, *grads))

    return record(Tensor(out, backend), (x, weight, bias), backward, (x, weight), activation is not None, "batch_norm")


def _batch_norm_evaluation(
    x: Tensor, running_mean: Tensor, running_var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    backend, ndim = x.backend, x.array.ndim
    array = backend.contiguous(x.array)
    out = backend.empty(array.shape, array.dtype)
    statistics = (running_mean.array, running_var.array)
    backend.kernels.batch_norm_forward_evaluation(array, _array(weight), _array(bias), *statistics, out, eps)
    shape, dims = (1, array.shape[1]) + (1,) * (ndim - 2), (0, *range(2, ndim))

    def backward(grad_out: Tensor) -> tuple[Tensor | None, ...]:
        inv_std = rsqrt(add(reshape(running_var, shape), eps))
        grad_x = mul(grad_out, _times(inv_std, weight, shape)) if x.requires_grad else None
        grad_weight = None
        if weight is not None and weight.requires_grad:
            xhat = mul(sub(x, reshape(running_mean, shape)), inv_std)
            grad_weight = sum(mul(grad_out, xhat), dims)
        return grad_x, grad_weight, None if bias is None else sum(grad_out, dims)

    saved = (x, weight, running_mean, running_var)
    return record(Tensor(out, backend), (x, weight, bias), backward, saved=saved, name="batch_norm")


def layer_norm(
    x: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions, whose shape is given (Ba 2016)."""
    require_float("layer_norm", x)
    backend, shape = x.backend, x.array.shape
    normalized = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not normalized or shape[-len(normalized) :] != normalized:
        raise ValueError(f"layer_norm: input must end in the normalized shape {normalized}, got {tuple(shape)}")
    _require_shape("layer_norm", "weight", weight, normalized, x)
    _require_shape("layer_norm", "bias", bias, normalized, x)
    columns = math.prod(normalized)
    rows = math.prod(shape[: len(shape) - len(normalized)])

    def as_rows(tensor: Tensor) -> Any:
        return backend.contiguous(tensor.array).reshape(rows, columns)

    def as_vector(tensor: Tensor | None) -> Any:
        return None if tensor is None else _array(tensor).reshape(columns)

    array = as_rows(x)
    out = backend.empty(shape, array.dtype)
    center, inv_std = backend.empty((rows,), array.dtype), backend.empty((rows,), array.dtype)
    backend.kernels.layer_norm_forward(
        array, as_vector(weight), as_vector(bias), out.reshape(rows, columns), center, inv_std, eps
    )

    def backward(grad_out: Tensor) -> tuple[Tensor | None, ...]:
        if is_grad_enabled():
            first = len(shape) - len(normalized)
            grad = grad_out if weight is None else mul(grad_out, weight)
            grad_x, xhat = _gradient_of_normalized(x, grad, tuple(range(first, len(shape))), eps)
            leading = tuple(range(first))
            return grad_x, _sum_if_any(mul(grad_out, xhat), leading), _sum_if_any(grad_out, leading)
        grads = [
            Tensor(backend.empty(shape, array.dtype), backend) if x.requires_grad else None,
            *(None if p is None else Tensor(backend.empty(normalized, array.dtype), backend) for p in (weight, bias)),
        ]
        grad_x_rows = None if grads[0] is None else as_rows(grads[0])
        vectors = [as_vector(grad) for grad in grads[1:]]
        backend.kernels.layer_norm_backward(
            array, as_vector(weight), center, inv_std, as_rows(grad_out), grad_x_rows, *vectors
        )
        return tuple(grads)

    return record(Tensor(out, backend), (x, weight, bias), backward, saved=(x, weight), name="layer_norm")


def _sum_if_any(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return sum(x, dims) if dims else x
