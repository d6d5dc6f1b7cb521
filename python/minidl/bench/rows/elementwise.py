"""Rows of the elementwise kernels."""

from __future__ import annotations

from minidl.bench.row import ELEMENTS, MEMORY_SIZE, ROWS_AND_COLUMNS, Operands, Row

# Training images, of which a batch is gathered.
GATHER = {"cache": ((1000, 128, 256),), "memory": ((MEMORY_SIZE // 256, MEMORY_SIZE // 256, 256),)}
PAIRS = {size: [((shape,), (shape,)) for shape in shapes] for size, shapes in ELEMENTS.items()}


def _unary(kernel: str, numpy: str, torch: str, flops: float = 1) -> Row:
    return Row(kernel, ELEMENTS, flops, numpy, torch)


def _binary(kernel: str, function: str, torch: str) -> Row:
    return Row(kernel, PAIRS, 1, f"np.{function}(a, b, out=out)", f"torch.{torch}(a, b, out=out)")


def _gathered(operands: Operands) -> float:
    """The rows picked out of x, the indices, and what is written."""
    x, index, out = operands[:3]
    return out.size * x.itemsize + index.nbytes + out.nbytes


ROWS = [
    _unary("negative_forward", "np.negative(x, out=out)", "torch.neg(x, out=out)"),
    _unary("absolute_forward", "np.abs(x, out=out)", "torch.abs(x, out=out)"),
    _unary("square_forward", "np.square(x, out=out)", "torch.square(x, out=out)"),
    _unary("reciprocal_forward", "np.reciprocal(x, out=out)", "torch.reciprocal(x, out=out)"),
    _unary("sqrt_forward", "np.sqrt(x, out=out)", "torch.sqrt(x, out=out)"),
    _unary("rsqrt_forward", "np.reciprocal(np.sqrt(x, out=out), out=out)", "torch.rsqrt(x, out=out)", 2),
    _unary("exp_forward", "np.exp(x, out=out)", "torch.exp(x, out=out)"),
    _unary("expm1_forward", "np.expm1(x, out=out)", "torch.expm1(x, out=out)"),
    _unary("log_forward", "np.log(x, out=out)", "torch.log(x, out=out)"),
    _unary("log1p_forward", "np.log1p(x, out=out)", "torch.log1p(x, out=out)"),
    _unary("erf_forward", "", "torch.erf(x, out=out)"),
    _unary(
        "affine_forward",
        "np.add(np.multiply(x, scale, out=out), shift, out=out)",
        "torch.mul(x, scale, out=out).add_(shift)",
        2,
    ),
    _unary("clamp_forward", "np.clip(x, min, max, out=out)", "torch.clamp(x, min, max, out=out)", 0),
    _binary("add_forward", "add", "add"),
    _binary("subtract_forward", "subtract", "sub"),
    _binary("multiply_forward", "multiply", "mul"),
    _binary("divide_forward", "divide", "div"),
    _binary("power_forward", "power", "pow"),
    _binary("maximum_forward", "maximum", "maximum"),
    _binary("minimum_forward", "minimum", "minimum"),
    Row(
        "where_forward",
        ROWS_AND_COLUMNS,
        0,
        "np.where(condition, a, b)",
        "torch.where(mask, a, b, out=out)",
        setup={"torch": "mask = condition.bool()"},
    ),
    Row("add_scaled", ELEMENTS, 2, "np.add(out, scale * x, out=out)", "out.add_(x, alpha=scale)", rewritten=(1,)),
    Row("fill", ELEMENTS, 0, "out.fill(value)", "out.fill_(value)"),
    Row("copy_strided", ROWS_AND_COLUMNS, 0, "np.copyto(out, x)", "out.copy_(x)"),
    Row(
        "transpose",
        {"cache": ((128, 256),), "memory": ((4096, MEMORY_SIZE // 4096),)},
        0,
        "np.copyto(out, x.swapaxes(-1, -2))",
        "out.copy_(x.mT)",
    ),
    Row(
        "gather_rows",
        GATHER,
        0,
        "np.take(x, index, axis=0, out=out, mode='clip')",
        "torch.index_select(x, 0, index, out=out)",
        traffic=_gathered,
    ),
    Row(
        "gather_rows_uint8",
        GATHER,
        lambda operands: 2 * operands[2].size,
        "np.take(x, index, axis=0).astype(out.dtype) * scale + shift",
        "torch.index_select(x, 0, index).to(out.dtype).mul_(scale).add_(shift)",
        traffic=_gathered,
    ),
    Row(
        "gather_labels",
        {"cache": ((1000, 128),), "memory": ((4 << 20, 4 << 20),)},
        0,
        "np.take(x, index, out=out, mode='clip')",
        "torch.index_select(x, 0, index, out=out)",
        traffic=_gathered,
    ),
    Row("count_up", {"cache": (None,), "memory": ()}, 0, rewritten=(0,)),
]
