"""Element by element: arithmetic, powers, exponentials, comparisons, casts, and the in-place forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import backends
from minidl.autograd import is_grad_enabled, record
from minidl.backends import Backend
from minidl.dtypes import from_numpy_dtype, to_numpy_dtype
from minidl.tensor import Tensor

__all__ = [
    "abs",
    "add",
    "add_",
    "allclose",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "cast",
    "ceil",
    "clamp",
    "clamp_",
    "clone",
    "contiguous",
    "copy_",
    "cos",
    "div",
    "div_",
    "eq",
    "equal",
    "erf",
    "exp",
    "expm1",
    "fill_",
    "floor",
    "floor_divide",
    "ge",
    "gt",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "log",
    "log1p",
    "logical_not",
    "lt",
    "masked_fill",
    "maximum",
    "minimum",
    "mul",
    "mul_",
    "ne",
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
    "sub_",
    "where",
]

_kind_order = {"b": 0, "u": 1, "i": 1, "f": 2}
_default_float = np.dtype(np.float32)


# ---- operands: what other op files build on


def wrap(value: Any, like: Tensor | None = None) -> Tensor:
    """A tensor as it is; anything else as a tensor on ``like``'s back end that records nothing."""
    if isinstance(value, Tensor):
        return value
    backend = like.backend if like is not None else backends.cpu
    array = backend.xp.asarray(value)
    if not isinstance(value, np.ndarray | np.generic) and array.dtype == np.float64:
        array = array.astype(_default_float)
    from_numpy_dtype(array.dtype)  # TypeError for text, None and the like
    return Tensor(array, backend)


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


def float_operand(op: str, x: Any) -> Tensor:
    """x as a float tensor: integers and booleans become float32, as PyTorch's unary functions do."""
    tensor = wrap(x)
    return tensor if tensor.array.dtype.kind == "f" else cast(tensor, _default_float)


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


# ---- running one kernel


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


def _broadcast_shape(op: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(tuple(s)) for s in shapes)
        raise ValueError(f"{op}: shapes {listed} cannot be broadcast together") from None


def _binary_kernel(op: str, a: Tensor, b: Tensor, kernel: str) -> Tensor:
    backend = a.backend
    first, second = a.array, b.array
    shape = first.shape if first.shape == second.shape else _broadcast_shape(op, first.shape, second.shape)
    out = backend.empty(shape, first.dtype)
    getattr(backend.kernels, kernel)(first, second, out)
    return Tensor(out, backend)


def _operands(op: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
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


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


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
    x, y = _operands(op, a, b)
    if x.array.dtype.kind != "f":
        _broadcast_shape(op, x.array.shape, y.array.shape)
        return Tensor(x.backend.xp.asarray(getattr(x.backend.xp, kernel.removesuffix("_forward"))(x.array, y.array)))
    result = _binary_kernel(op, x, y, kernel)
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


# ---- arithmetic


def add(a: Any, b: Any, alpha: float = 1) -> Tensor:
    """a + alpha * b, broadcast."""
    if alpha != 1:
        b = mul(b, alpha)
    if isinstance(a, Tensor) and _is_number(b) and a.array.dtype.kind == "f":
        return _affine(a, 1.0, b)
    if isinstance(b, Tensor) and _is_number(a) and b.array.dtype.kind == "f":
        return _affine(b, 1.0, a)
    return _binary("add", "add_forward", a, b, lambda g, x, y: (lambda: g, lambda: g), "nothing")


def sub(a: Any, b: Any, alpha: float = 1) -> Tensor:
    """a - alpha * b, broadcast."""
    if alpha != 1:
        b = mul(b, alpha)
    if isinstance(a, Tensor) and _is_number(b) and a.array.dtype.kind == "f":
        return _affine(a, 1.0, -b)
    if isinstance(b, Tensor) and _is_number(a) and b.array.dtype.kind == "f":
        return _affine(b, -1.0, a)
    return _binary("sub", "subtract_forward", a, b, lambda g, x, y: (lambda: g, lambda: neg(g)), "nothing")


def mul(a: Any, b: Any) -> Tensor:
    """a * b, broadcast."""
    if isinstance(a, Tensor) and _is_number(b) and a.array.dtype.kind == "f":
        return _affine(a, b, -0.0)  # shift -0 keeps the sign of a product that is -0
    if isinstance(b, Tensor) and _is_number(a) and b.array.dtype.kind == "f":
        return _affine(b, a, -0.0)
    return _binary("mul", "multiply_forward", a, b, lambda g, x, y: (lambda: mul(g, y), lambda: mul(g, x)), "other")


def div(a: Any, b: Any, rounding_mode: str | None = None) -> Tensor:
    """a / b, broadcast; integers are divided as float32. rounding_mode: None, "floor" or "trunc"."""
    if rounding_mode not in (None, "floor", "trunc"):
        raise ValueError(f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")
    x, y = _operands("div", a, b)
    if rounding_mode is not None:
        rounded = (x.backend.xp.floor if rounding_mode == "floor" else x.backend.xp.trunc)(x.array / y.array)
        return Tensor(x.backend.xp.asarray(rounded, x.array.dtype), x.backend)
    if x.array.dtype.kind != "f":
        x, y = cast(x, _default_float), cast(y, _default_float)
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
    if isinstance(a, Tensor) and _is_number(b) and a.array.dtype.kind == "f":
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
    x, y = _operands("remainder", a, b)
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
    x, y = _operands("where", a, b)
    test = wrap(condition, x)
    if test.array.dtype.kind != "b":
        raise TypeError(f"where: condition must be a bool tensor, got {test.dtype}")
    backend = require_same_backend("where", x, y, test)
    shape = _broadcast_shape("where", test.array.shape, x.array.shape, y.array.shape)
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
        return (where(Tensor((array >= low) & (array <= high), x.backend), grad_out, 0.0),)

    return record(result, (x,), backward, saved=(x,), name="clamp")


# ---- functions of one variable


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
    """-1, 0 or 1."""
    return _library_function("sign", x, None)


def floor(x: Any) -> Tensor:
    """The largest whole number not above x."""
    return _library_function("floor", x, None)


def ceil(x: Any) -> Tensor:
    """The smallest whole number not below x."""
    return _library_function("ceil", x, None)


def round(x: Any) -> Tensor:
    """The nearest whole number, halves to even."""
    return _library_function("round", x, None)


# ---- truth values: computed by the array library, never recorded


def _truth(name: str, *operands: Any) -> Tensor:
    like = next((x for x in operands if isinstance(x, Tensor)), None)
    tensors = [wrap(x, like) for x in operands]
    backend = require_same_backend(name, *tensors)
    if len(tensors) == 2:
        _broadcast_shape(name, tensors[0].array.shape, tensors[1].array.shape)
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


# ---- copies and casts


def clone(x: Tensor) -> Tensor:
    """A copy in memory of its own; the gradient flows through."""
    backend = x.backend
    if x.array.dtype.kind == "f":
        out = backend.empty(x.array.shape, x.array.dtype)
        backend.kernels.copy_strided(x.array, out)
    else:
        out = x.array.copy()
    return record(Tensor(out, backend), (x,), lambda grad_out: (grad_out,), name="clone")


def contiguous(x: Tensor) -> Tensor:
    """x if its elements lie one after the other, else a copy for which they do."""
    return x if x.array.flags.c_contiguous else clone(x)


def cast(x: Tensor, wanted: Any) -> Tensor:
    """x with another number type; between floats the gradient flows through."""
    raw = to_numpy_dtype(wanted)
    if x.array.dtype == raw:
        return x
    own = x.array.dtype
    result = Tensor(x.array.astype(raw), x.backend)
    if raw.kind != "f":
        return result
    return record(result, (x,), lambda grad_out: (cast(grad_out, own),), name="cast")


# ---- in place


def _write(x: Tensor, name: str, write: Callable[[Any], None], result: Tensor | None = None) -> Tensor:
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
    if result.array.shape != x.array.shape:
        raise ValueError(
            f"{name}: the result has shape {tuple(result.shape)} and does not fit in place into {tuple(x.shape)}"
        )

    def write(array: Any) -> None:
        array[...] = result.array

    return _write(x, name, write, result)


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


def _before(x: Tensor, other: Any) -> Tensor:
    """x's values as they are now, for the gradient of a recorded change of x."""
    if not is_grad_enabled() or not (x.requires_grad or getattr(other, "requires_grad", False)):
        return x
    copy = Tensor(x.array.copy(), x.backend, x.requires_grad)
    copy._node = x._node
    return copy


def mul_(x: Tensor, other: Any) -> Tensor:
    """x *= other."""
    return _assign(x, "mul_", mul(_before(x, other), other))


def div_(x: Tensor, other: Any) -> Tensor:
    """x /= other."""
    return _assign(x, "div_", div(_before(x, other), other))


def clamp_(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x = min(max(x, min), max), in place."""
    return _assign(x, "clamp_", clamp(_before(x, None), min, max))


def fill_(x: Tensor, value: Any) -> Tensor:
    """x = value everywhere."""
    number = value.item() if isinstance(value, Tensor) else value

    def write(array: Any) -> None:
        if array.dtype.kind == "f" and array.flags.c_contiguous:
            x.backend.kernels.fill(array, number)
        else:
            array[...] = number

    zero = None if not (x.requires_grad and is_grad_enabled() and x._node is not None) else mul(x, 0.0)
    return _write(x, "fill_", write, zero)


def copy_(x: Tensor, source: Any) -> Tensor:
    """x = source, broadcast and converted to x's number type."""
    tensor = wrap(source, x)
    _broadcast_shape("copy_", x.array.shape, tensor.array.shape)
    converted = cast(tensor, x.array.dtype)
    shape = tensor.array.shape
    linked = None
    if is_grad_enabled() and converted.requires_grad:
        linked = record(
            Tensor(x.array, x.backend), (converted,), lambda grad_out: (sum_to_shape(grad_out, shape),), name="copy"
        )

    def write(array: Any) -> None:
        array[...] = converted.array

    return _write(x, "copy_", write, linked)
