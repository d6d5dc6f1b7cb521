"""Element by element: arithmetic, powers, exponentials and other functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd import is_grad_enabled, record
from minidl.ops.comparison import eq, gt, lt
from minidl.ops.copies import cast
from minidl.ops.operands import (
    binary_kernel,
    binary_operands,
    broadcast_shape,
    default_float,
    float_operand,
    is_number,
    require_same_backend,
    sum_to_shape,
    unary,
    wrap,
)
from minidl.tensor import Tensor

__all__ = [
    "abs",
    "add",
    "ceil",
    "clamp",
    "cos",
    "div",
    "erf",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "log",
    "log1p",
    "masked_fill",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "pow",
    "reciprocal",
    "remainder",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sqrt",
    "square",
    "sub",
    "where",
]


def _affine(x: Tensor, scale: float, shift: float) -> Tensor:
    result = unary(x, "affine_forward", scale, shift)

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        return (grad_out if scale == 1.0 else _affine(grad_out, scale, -0.0),)

    return record(result, (x,), backward, name="affine")


def _binary(
    op: str, kernel: str, a: Any, b: Any, backward: Callable[[Tensor, Tensor, Tensor], tuple[Any, Any]], saves: str
) -> Tensor:
    """One of the broadcasting kernels, or the array library's function of the same name for integers.
    ``backward(grad_out, a, b)`` returns two functions that make the gradients before they are summed to their shapes;
    ``saves`` says what these read: "nothing", "other" (each the other operand) or "both"."""
    x, y = binary_operands(op, a, b)
    if x.array.dtype.kind != "f":
        broadcast_shape(op, x.array.shape, y.array.shape)
        return Tensor(x.backend.xp.asarray(getattr(x.backend.xp, kernel.removesuffix("_forward"))(x.array, y.array)))
    result = binary_kernel(op, x, y, kernel)
    if not (is_grad_enabled() and (x.requires_grad or y.requires_grad)):
        return result
    x_shape, y_shape = x.array.shape, y.array.shape
    x_wanted, y_wanted = x.requires_grad, y.requires_grad

    def run(grad_out: Tensor) -> tuple[Tensor | None, Tensor | None]:
        grad_x, grad_y = backward(grad_out, x, y)
        return (
            sum_to_shape(grad_x(), x_shape) if x_wanted else None,
            sum_to_shape(grad_y(), y_shape) if y_wanted else None,
        )

    saved: tuple[Tensor | None, ...] = ()
    if saves == "both":
        saved = (x, y)
    elif saves == "other":
        saved = (x if y_wanted else None, y if x_wanted else None)
    return record(result, (x, y), run, saved=saved, name=op)


def add(a: Any, b: Any, alpha: float = 1) -> Tensor:
    """a + alpha * b, broadcast."""
    if alpha != 1:
        b = mul(b, alpha)
    if isinstance(a, Tensor) and is_number(b) and a.array.dtype.kind == "f":
        return _affine(a, 1.0, b)
    if isinstance(b, Tensor) and is_number(a) and b.array.dtype.kind == "f":
        return _affine(b, 1.0, a)
    return _binary("add", "add_forward", a, b, lambda g, x, y: (lambda: g, lambda: g), "nothing")


def sub(a: Any, b: Any, alpha: float = 1) -> Tensor:
    """a - alpha * b, broadcast."""
    if alpha != 1:
        b = mul(b, alpha)
    if isinstance(a, Tensor) and is_number(b) and a.array.dtype.kind == "f":
        return _affine(a, 1.0, -b)
    if isinstance(b, Tensor) and is_number(a) and b.array.dtype.kind == "f":
        return _affine(b, -1.0, a)
    return _binary("sub", "subtract_forward", a, b, lambda g, x, y: (lambda: g, lambda: neg(g)), "nothing")


def mul(a: Any, b: Any) -> Tensor:
    """a * b, broadcast."""
    if isinstance(a, Tensor) and is_number(b) and a.array.dtype.kind == "f":
        return _affine(a, b, -0.0)  # shift -0 keeps the sign of a product that is -0
    if isinstance(b, Tensor) and is_number(a) and b.array.dtype.kind == "f":
        return _affine(b, a, -0.0)
    return _binary("mul", "multiply_forward", a, b, lambda g, x, y: (lambda: mul(g, y), lambda: mul(g, x)), "other")


def div(a: Any, b: Any, rounding_mode: str | None = None) -> Tensor:
    """a / b, broadcast; integers are divided as float32. rounding_mode: None, "floor" or "trunc"."""
    if rounding_mode not in (None, "floor", "trunc"):
        raise ValueError(f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")
    x, y = binary_operands("div", a, b)
    if rounding_mode is not None:
        rounded = (x.backend.xp.floor if rounding_mode == "floor" else x.backend.xp.trunc)(x.array / y.array)
        return Tensor(x.backend.xp.asarray(rounded, x.array.dtype), x.backend)
    if x.array.dtype.kind != "f":
        x, y = cast(x, default_float), cast(y, default_float)
    return _binary(
        "div",
        "divide_forward",
        x,
        y,
        lambda g, x, y: (lambda: div(g, y), lambda: neg(div(mul(g, x), square(y)))),
        "both",
    )


def pow(a: Any, b: Any) -> Tensor:
    """a ^ b, broadcast. The derivative with respect to b is a^b ln a, and 0 where a is 0."""
    if isinstance(a, Tensor) and is_number(b) and a.array.dtype.kind == "f":
        if b == 2:
            return square(a)
        if b == 1:
            return _affine(a, 1.0, -0.0)
        if b == 0.5:
            return sqrt(a)

    def gradients(g: Tensor, x: Tensor, y: Tensor) -> tuple[Any, Any]:
        def by_base() -> Tensor:
            # y x^(y-1) is 0 for y = 0, also where x^(y-1) is infinite.
            return mul(g, where(eq(y, 0), 0.0, mul(y, pow(x, sub(y, 1)))))

        def by_exponent() -> Tensor:
            return mul(g, mul(pow(x, y), log(where(eq(x, 0), 1.0, x))))

        return by_base, by_exponent

    return _binary("pow", "power_forward", a, b, gradients, "both")


def _extreme(op: str, kernel: str, a: Any, b: Any, first_wins: Callable[[Any, Any], Tensor]) -> Tensor:
    def gradients(g: Tensor, x: Tensor, y: Tensor) -> tuple[Any, Any]:
        # Equal values share the gradient, as in PyTorch.
        share = where(eq(x, y), 0.5, cast(first_wins(x, y), x.array.dtype))
        return (lambda: mul(g, share), lambda: mul(g, sub(1.0, share)))

    return _binary(op, kernel, a, b, gradients, "both")


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of each pair; nan where either is nan. Equal values share the gradient."""
    return _extreme("maximum", "maximum_forward", a, b, gt)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of each pair; nan where either is nan. Equal values share the gradient."""
    return _extreme("minimum", "minimum_forward", a, b, lt)


def remainder(a: Any, b: Any) -> Tensor:
    """a - b * floor(a / b), with b's sign."""
    x, y = binary_operands("remainder", a, b)
    result = Tensor(x.backend.xp.asarray(x.backend.xp.remainder(x.array, y.array)), x.backend)
    x_shape, y_shape = x.array.shape, y.array.shape

    def backward(grad_out: Tensor) -> tuple[Tensor, Tensor]:
        grad_y = mul(grad_out, neg(floor_divide(x, y)))
        return sum_to_shape(grad_out, x_shape), sum_to_shape(grad_y, y_shape)

    return record(result, (x, y), backward, saved=(x, y), name="remainder")


def floor_divide(a: Any, b: Any) -> Tensor:
    """floor(a / b)."""
    return div(a, b, rounding_mode="floor")


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b; all three broadcast."""
    x, y = binary_operands("where", a, b)
    test = wrap(condition, x)
    if test.array.dtype.kind != "b":
        raise TypeError(f"where: condition must be a bool tensor, got {test.dtype}")
    backend = require_same_backend("where", x, y, test)
    shape = broadcast_shape("where", test.array.shape, x.array.shape, y.array.shape)
    if x.array.dtype.kind != "f":
        return Tensor(backend.xp.where(test.array, x.array, y.array), backend)
    out = backend.empty(shape, x.array.dtype)
    backend.kernels.where_forward(test.array, x.array, y.array, out)
    x_shape, y_shape = x.array.shape, y.array.shape

    def backward(grad_out: Tensor) -> tuple[Tensor, Tensor]:
        return (
            sum_to_shape(where(test, grad_out, 0.0), x_shape),
            sum_to_shape(where(test, 0.0, grad_out), y_shape),
        )

    return record(Tensor(out, backend), (x, y), backward, name="where")


def masked_fill(x: Tensor, mask: Any, value: Any) -> Tensor:
    """value where the mask holds, else x."""
    return where(mask, value, x)


def clamp(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """min(max(x, min), max) with numbers or tensors as bounds; the gradient is 0 outside them."""
    if min is None and max is None:
        raise ValueError("clamp: at least one of min and max must be given")
    if isinstance(min, Tensor) or isinstance(max, Tensor) or x.array.dtype.kind != "f":
        result = x if min is None else maximum(x, min)
        return result if max is None else minimum(result, max)
    low = -np.inf if min is None else float(min)
    high = np.inf if max is None else float(max)
    result = unary(x, "clamp_forward", low, high)

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        array = x.array
        inside = x.backend.xp.asarray((array >= low) & (array <= high))
        return (where(Tensor(inside, x.backend), grad_out, 0.0),)

    return record(result, (x,), backward, saved=(x,), name="clamp")


def _function(name: str, kernel: str, x: Any, derivative: Callable[[Tensor], Tensor]) -> Tensor:
    """out = kernel(x); ``derivative(x)`` is f'(x), written with ops."""
    tensor = float_operand(name, x)

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        return (mul(grad_out, derivative(tensor)),)

    return record(unary(tensor, kernel), (tensor,), backward, saved=(tensor,), name=name)


def _function_of_output(name: str, kernel: str, x: Any, gradient: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """out = kernel(x); ``gradient(grad_out, out)`` needs only the output, so that x can be freed."""
    tensor = float_operand(name, x)

    def backward(grad_out: Tensor, out: Tensor) -> tuple[Tensor]:
        return (gradient(grad_out, out),)

    return record(unary(tensor, kernel), (tensor,), backward, saves_output=True, name=name)


def neg(x: Any) -> Tensor:
    """-x."""
    tensor = wrap(x)
    if tensor.array.dtype.kind != "f":
        return Tensor(tensor.backend.xp.negative(tensor.array), tensor.backend)
    return record(unary(tensor, "negative_forward"), (tensor,), lambda grad_out: (neg(grad_out),), name="neg")


def abs(x: Any) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    tensor = wrap(x)
    if tensor.array.dtype.kind != "f":
        return Tensor(tensor.backend.xp.abs(tensor.array), tensor.backend)
    return _function("abs", "absolute_forward", tensor, sign)


def square(x: Any) -> Tensor:
    """x * x."""
    tensor = wrap(x)
    if tensor.array.dtype.kind != "f":
        return Tensor(tensor.backend.xp.square(tensor.array), tensor.backend)
    return _function("square", "square_forward", tensor, lambda x: mul(x, 2.0))


def reciprocal(x: Any) -> Tensor:
    """1 / x."""
    return _function_of_output("reciprocal", "reciprocal_forward", x, lambda g, out: neg(mul(g, square(out))))


def sqrt(x: Any) -> Tensor:
    """The square root; nan below 0."""
    return _function_of_output("sqrt", "sqrt_forward", x, lambda g, out: div(g, mul(out, 2.0)))


def rsqrt(x: Any) -> Tensor:
    """1 / sqrt(x)."""
    return _function_of_output("rsqrt", "rsqrt_forward", x, lambda g, out: mul(g, mul(mul(out, square(out)), -0.5)))


def exp(x: Any) -> Tensor:
    """e^x."""
    return _function_of_output("exp", "exp_forward", x, mul)


def expm1(x: Any) -> Tensor:
    """e^x - 1, accurate near 0."""
    return _function_of_output("expm1", "expm1_forward", x, lambda g, out: mul(g, add(out, 1.0)))


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return _function("log", "log_forward", x, reciprocal)


def log1p(x: Any) -> Tensor:
    """ln(1 + x), accurate near 0."""
    return _function("log1p", "log1p_forward", x, lambda x: reciprocal(add(x, 1.0)))


def erf(x: Any) -> Tensor:
    """The error function, 2/sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    return _function("erf", "erf_forward", x, lambda x: mul(exp(neg(square(x))), 2 / np.sqrt(np.pi).item()))


def _library_function(name: str, x: Any, derivative: Callable[[Tensor], Tensor] | None) -> Tensor:
    """A function the array library computes: rare in training, or piecewise constant (derivative None: 0)."""
    tensor = wrap(x)
    result = Tensor(tensor.backend.xp.asarray(getattr(tensor.backend.xp, name)(tensor.array)), tensor.backend)

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        return (mul(grad_out, 0.0) if derivative is None else mul(grad_out, derivative(tensor)),)

    return record(result, (tensor,), backward, saved=(tensor,), name=name)


def sin(x: Any) -> Tensor:
    """The sine."""
    return _library_function("sin", float_operand("sin", x), cos)


def cos(x: Any) -> Tensor:
    """The cosine."""
    return _library_function("cos", float_operand("cos", x), lambda x: neg(sin(x)))


def sign(x: Any) -> Tensor:
    """-1, 0 or 1; the gradient is 0."""
    tensor = wrap(x)
    if tensor.array.dtype.kind != "f":
        return _library_function("sign", tensor, None)
    backend, array = tensor.backend, tensor.backend.contiguous(tensor.array)
    zeros, ones, out = (backend.empty(array.shape, array.dtype) for _ in range(3))
    backend.kernels.fill(zeros, 0.0)
    backend.kernels.fill(ones, 1.0)
    # The slope of |x - 0|: a kernel, so that L1 penalties can be captured.
    backend.kernels.l1_backward(array, zeros, ones, out, backend.kernels.Reduction.none)
    return record(Tensor(out, backend), (tensor,), lambda grad_out: (mul(grad_out, 0.0),), name="sign")


def floor(x: Any) -> Tensor:
    """The largest whole number not above x."""
    return _library_function("floor", x, None)


def ceil(x: Any) -> Tensor:
    """The smallest whole number not below x."""
    return _library_function("ceil", x, None)


def round(x: Any) -> Tensor:
    """The nearest whole number, halves to even."""
    return _library_function("round", x, None)
