"""Activation functions with PyTorch's names and defaults.

Backward runs one fused kernel; where a graph of the gradient is wanted, the same formula is composed of ops.

On the CPU, denormal numbers (below 1.18e-38 in float32, 2.23e-308 in float64) count as 0 in those that compute
exponentials: gelu from -13 and sigmoid, silu, mish and softplus from -87 down are 0 (in float64 from -38 and -708).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from minidl.autograd import is_grad_enabled, record
from minidl.ops.comparison import bitwise_and, gt, lt
from minidl.ops.elementwise import abs as absolute, clamp, div, erf, exp, mul, neg, square, where
from minidl.ops.operands import relu_backward, require_float, require_same_backend, sum_to_shape, unary, unary_backward
from minidl.ops.shape import reshape
from minidl.tensor import Tensor

__all__ = [
    "celu",
    "elu",
    "gelu",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
]

# Klambauer 2017: the fixed point of mean 0 and variance 1.
_selu_alpha = 1.6732632423543772848170429916717
_selu_scale = 1.0507009873554804934193349852946


def _function_of_input(
    name: str, x: Tensor, scalars: tuple[float, ...], gradient: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The kernels name_forward and name_backward(x, grad_out); ``gradient(grad_out, x)`` is the latter in ops."""
    require_float(name, x)

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        if is_grad_enabled():
            return (gradient(grad_out, x),)
        return (unary_backward(x, grad_out, f"{name}_backward", *scalars),)

    return record(unary(x, f"{name}_forward", *scalars), (x,), backward, saved=(x,), name=name)


def _function_of_output(name: str, x: Tensor, gradient: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The kernels name_forward and name_backward(out, grad_out); x itself need not be kept."""
    require_float(name, x)

    def backward(grad_out: Tensor, out: Tensor) -> tuple[Tensor]:
        if is_grad_enabled():
            return (gradient(grad_out, out),)
        return (unary_backward(out, grad_out, f"{name}_backward"),)

    return record(unary(x, f"{name}_forward"), (x,), backward, saves_output=True, name=name)


def relu(x: Tensor) -> Tensor:
    """max(x, 0); nan stays nan, and the gradient at 0 is 0.

    >>> import minidl
    >>> minidl.ops.relu(minidl.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    require_float("relu", x)

    def backward(grad_out: Tensor, out: Tensor) -> tuple[Tensor]:
        if is_grad_enabled():
            return (where(gt(out, 0), grad_out, 0.0),)
        return (relu_backward(out, grad_out),)

    result = record(unary(x, "relu_forward"), (x,), backward, saves_output=True, name="relu")
    if result._node is not None:
        result._node.is_relu = True
    return result


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x (Maas 2013)."""

    def gradient(grad_out: Tensor, x: Tensor) -> Tensor:
        return where(gt(x, 0), grad_out, mul(grad_out, negative_slope))

    return _function_of_input("leaky_relu", x, (negative_slope,), gradient)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight * x, with learned slopes (He 2015): one for all elements, or one per channel.

    Channels are dimension 1 of x, or dimension 0 of a vector. ValueError unless weight has one dimension and 1 or
    that many elements.
    """
    require_float("prelu", x)
    require_same_backend("prelu", x, weight)
    channels = 1 if x.array.ndim == 0 else x.shape[min(1, x.array.ndim - 1)]
    if weight.array.ndim != 1 or weight.shape[0] not in (1, channels):
        raise ValueError(f"prelu: weight must have shape (1,) or ({channels},), got {tuple(weight.shape)}")
    if weight.array.dtype != x.array.dtype:
        raise TypeError(f"prelu: weight must be {x.array.dtype} as the input is, got {weight.array.dtype}")
    backend = x.backend
    array, slopes = backend.contiguous(x.array), backend.contiguous(weight.array)
    out = backend.empty(array.shape, array.dtype)
    backend.kernels.prelu_forward(array, slopes, out)

    def composed(grad_out: Tensor) -> tuple[Tensor, Tensor]:
        dims_after = 0 if weight.shape[0] == 1 else max(x.array.ndim - 2, 0)
        aligned = reshape(weight, (-1, *(1,) * dims_after))
        positive = gt(x, 0)
        grad_slope = where(positive, 0.0, mul(grad_out, x))
        summed = sum_to_shape(reshape(grad_slope, x.shape or (1,)), tuple(aligned.shape))
        return where(positive, grad_out, mul(grad_out, aligned)), reshape(summed, weight.shape)

    def backward(grad_out: Tensor) -> tuple[Tensor, Tensor]:
        if is_grad_enabled():
            return composed(grad_out)
        grad_x, grad_weight = backend.empty(array.shape, array.dtype), backend.empty(slopes.shape, slopes.dtype)
        grad = backend.contiguous(grad_out.array)
        backend.kernels.prelu_backward(array, slopes, grad, grad_x, grad_weight)
        return Tensor(grad_x, backend), Tensor(grad_weight, backend)

    return record(Tensor(out, backend), (x, weight), backward, saved=(x, weight), name="prelu")


def _exp_of_negative_part(x: Tensor) -> Tensor:
    """e^min(x, 0): where it is not wanted it must not overflow, since 0 * inf is nan."""
    return exp(clamp(x, max=0.0))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (e^x - 1) (Clevert 2016)."""

    def gradient(grad_out: Tensor, x: Tensor) -> Tensor:
        return where(gt(x, 0), grad_out, mul(mul(grad_out, alpha), _exp_of_negative_part(x)))

    return _function_of_input("elu", x, (alpha,), gradient)


def selu(x: Tensor) -> Tensor:
    """1.0507 * (x where x > 0, else 1.6733 * (e^x - 1)), which keeps mean 0 and variance 1 (Klambauer 2017)."""

    def gradient(grad_out: Tensor, x: Tensor) -> Tensor:
        scaled = mul(grad_out, _selu_scale)
        return where(gt(x, 0), scaled, mul(mul(scaled, _selu_alpha), _exp_of_negative_part(x)))

    return _function_of_input("selu", x, (), gradient)


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (e^(x / alpha) - 1), smooth at 0 for every alpha (Barron 2017)."""
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0")

    def gradient(grad_out: Tensor, x: Tensor) -> Tensor:
        return where(gt(x, 0), grad_out, mul(grad_out, exp(div(where(gt(x, 0), 0.0, x), alpha))))

    return _function_of_input("celu", x, (alpha,), gradient)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x), Phi the normal distribution function (Hendrycks 2016); accurate far into the left tail.

    approximate="tanh" computes x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) instead. ValueError for others.
    """
    if approximate == "tanh":
        return _function_of_input("gelu_tanh", x, (), _gelu_tanh_gradient)
    if approximate != "none":
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")

    def gradient(grad_out: Tensor, x: Tensor) -> Tensor:
        cdf = (erf(x * math.sqrt(0.5)) + 1.0) * 0.5
        density = exp(square(x) * -0.5) * (1 / math.sqrt(2 * math.pi))
        return mul(grad_out, cdf + x * density)

    return _function_of_input("gelu", x, (), gradient)


def _gelu_tanh_gradient(grad_out: Tensor, x: Tensor) -> Tensor:
    scale = math.sqrt(2 / math.pi)
    t = tanh((x + square(x) * x * 0.044715) * scale)
    inner_slope = (square(x) * (3 * 0.044715) + 1.0) * scale
    return mul(grad_out, (t + 1.0) * 0.5 + x * (1.0 - square(t)) * inner_slope * 0.5)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x), also called swish."""

    def gradient(grad_out: Tensor, x: Tensor) -> Tensor:
        s = sigmoid(x)
        return mul(grad_out, s * (x * (1.0 - s) + 1.0))

    return _function_of_input("silu", x, (), gradient)


def mish(x: Tensor) -> Tensor:
    """x * tanh(ln(1 + e^x)) (Misra 2019)."""

    def gradient(grad_out: Tensor, x: Tensor) -> Tensor:
        t = tanh(softplus(x, threshold=math.inf))
        return mul(grad_out, t + x * sigmoid(x) * (1.0 - square(t)))

    return _function_of_input("mish", x, (), gradient)


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """ln(1 + e^(beta x)) / beta, a smooth relu; x itself where beta x > threshold."""

    def gradient(grad_out: Tensor, x: Tensor) -> Tensor:
        scaled = mul(x, beta)
        return where(gt(scaled, threshold), grad_out, mul(grad_out, sigmoid(scaled)))

    return _function_of_input("softplus", x, (beta, threshold), gradient)


def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return _function_of_input("softsign", x, (), lambda grad_out, x: div(grad_out, square(absolute(x) + 1.0)))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x), accurate in both tails."""
    return _function_of_output("sigmoid", x, lambda grad_out, out: mul(grad_out, out * (1.0 - out)))


def logsigmoid(x: Tensor) -> Tensor:
    """ln(sigmoid(x)) = -ln(1 + e^-x), without overflow."""
    return _function_of_input("logsigmoid", x, (), lambda grad_out, x: mul(grad_out, sigmoid(neg(x))))


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return _function_of_output("tanh", x, lambda grad_out, out: mul(grad_out, 1.0 - square(out)))


def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """min(max(x, min_val), max_val); the gradient is 0 at and beyond both ends. ValueError unless min_val < max_val."""
    if not min_val < max_val:
        raise ValueError(f"hardtanh: min_val must be below max_val, got {min_val} and {max_val}")

    def gradient(grad_out: Tensor, x: Tensor) -> Tensor:
        return where(bitwise_and(gt(x, min_val), lt(x, max_val)), grad_out, 0.0)

    return _function_of_input("hardtanh", x, (min_val, max_val), gradient)
