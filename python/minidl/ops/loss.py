"""Losses that compare element by element: binary cross-entropy, squared, absolute and Huber errors, KL divergence."""

from __future__ import annotations

from collections.abc import Callable

from minidl.autograd import is_grad_enabled, record
from minidl.ops.activation import logsigmoid, sigmoid
from minidl.ops.comparison import gt
from minidl.ops.copies import cast
from minidl.ops.elementwise import add, clamp, div, exp, log, log1p, mul, neg, sign, sub, where
from minidl.ops.operands import require_float, require_same_backend, result_dtype
from minidl.ops.reduction import mean, sum
from minidl.tensor import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "smooth_l1_loss",
]

_reductions = ("none", "mean", "sum")


def require_reduction(op: str, reduction: str, allowed: tuple[str, ...] = _reductions) -> None:
    """ValueError for a name that is no reduction."""
    if reduction not in allowed:
        raise ValueError(f"{op}: reduction must be one of {', '.join(allowed)}, got {reduction!r}")


def reduce(losses: Tensor, reduction: str) -> Tensor:
    """The losses as they are, their mean or their sum."""
    return losses if reduction == "none" else mean(losses) if reduction == "mean" else sum(losses)


def shape_of(x: Tensor) -> tuple[int, ...]:
    """The shape for a message."""
    return tuple(x.array.shape)


def _float_pair(op: str, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both as floats of one dtype; ValueError unless their shapes are equal."""
    require_same_backend(op, x, target)
    require_float(op, x)
    if x.array.shape != target.array.shape:
        raise ValueError(
            f"{op}: target must have the input's shape {shape_of(x)}, got {shape_of(target)}; "
            "broadcasting would compare the wrong elements: reshape one of them"
        )
    raw = result_dtype(x, target)
    return cast(x, raw), cast(target, raw)


def _elementwise_loss(
    op: str,
    stem: str,
    x: Tensor,
    target: Tensor,
    reduction: str,
    slope: Callable[[Tensor, Tensor], Tensor],
    target_slope: Callable[[Tensor, Tensor], Tensor] | None = None,
    scalars: tuple[float, ...] = (),
) -> Tensor:
    """The kernels ``stem``_forward and _backward. ``slope(x, target)``, the derivative of one element's loss, is for
    the graph of the gradient; the derivative with respect to the target is its opposite unless given."""
    require_reduction(op, reduction)
    x, target = _float_pair(op, x, target)
    backend, shape, size = x.backend, x.array.shape, x.array.size
    kind = backend.reductions[reduction]
    loss = backend.empty(shape if reduction == "none" else (), x.array.dtype)
    arrays = backend.contiguous(x.array), backend.contiguous(target.array)
    getattr(backend.kernels, f"{stem}_forward")(*arrays, loss, kind, *scalars)
    target_wanted = target.requires_grad

    def per_element(grad_out: Tensor) -> Tensor:
        return div(grad_out, float(size)) if reduction == "mean" else grad_out

    def fused(grad_out: Tensor) -> Tensor:
        grad_x = backend.empty(shape, x.array.dtype)
        grad_array = backend.contiguous(grad_out.array)
        operands = backend.contiguous(x.array), backend.contiguous(target.array)
        getattr(backend.kernels, f"{stem}_backward")(*operands, grad_array, grad_x, kind, *scalars)
        return Tensor(grad_x, backend)

    def backward(grad_out: Tensor) -> tuple[Tensor, Tensor | None]:
        grad_x = mul(slope(x, target), per_element(grad_out)) if is_grad_enabled() else fused(grad_out)
        if not target_wanted:
            return grad_x, None
        if target_slope is None:
            return grad_x, neg(grad_x)
        return grad_x, mul(target_slope(x, target), per_element(grad_out))

    return record(Tensor(loss, backend), (x, target), backward, saved=(x, target), name=op)


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)^2. ValueError for shapes that differ, where PyTorch warns and broadcasts."""
    return _elementwise_loss("mse_loss", "mse", input, target, reduction, lambda x, t: mul(sub(x, t), 2.0))


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|; the gradient at 0 is 0."""
    return _elementwise_loss("l1_loss", "l1", input, target, reduction, lambda x, t: sign(sub(x, t)))


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2 (Girshick 2015); beta = 0 is l1_loss."""
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)

    def slope(x: Tensor, t: Tensor) -> Tensor:
        return clamp(div(sub(x, t), float(beta)), -1.0, 1.0)

    return _elementwise_loss("smooth_l1_loss", "smooth_l1", input, target, reduction, slope, scalars=(beta,))


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d^2 / 2 where d = |input - target| <= delta, else delta * (d - delta / 2) (Huber 1964)."""
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be above 0, got {delta}")

    def slope(x: Tensor, t: Tensor) -> Tensor:
        return clamp(sub(x, t), -delta, delta)

    return _elementwise_loss("huber_loss", "huber", input, target, reduction, slope, scalars=(delta,))


def _require_probabilities(op: str, x: Tensor) -> None:
    if x.array.size == 0:
        return
    block = x.backend.contiguous(x.array).reshape(1, -1, 1)
    bounds = x.backend.empty((2, 1), block.dtype)
    x.backend.kernels.min_forward(block, bounds[0])
    x.backend.kernels.max_forward(block, bounds[1])
    low, high = bounds.ravel().tolist()
    if low < 0 or high > 1:
        raise ValueError(
            f"{op}: probabilities must lie in 0..1, got values from {low:g} to {high:g}; "
            "for logits use binary_cross_entropy_with_logits"
        )


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-(target * ln p + (1 - target) * ln(1 - p)) for probabilities p, the logarithms cut off at -100."""
    require_reduction("binary_cross_entropy", reduction)
    require_float("binary_cross_entropy", input)
    _require_probabilities("binary_cross_entropy", input)

    def slope(p: Tensor, t: Tensor) -> Tensor:
        return div(sub(p, t), clamp(mul(p, sub(1.0, p)), min=1e-12))

    def target_slope(p: Tensor, t: Tensor) -> Tensor:
        return sub(clamp(log1p(neg(p)), min=-100.0), clamp(log(p), min=-100.0))

    op, inner = "binary_cross_entropy", reduction if weight is None else "none"
    losses = _elementwise_loss(op, "bce", input, target, inner, slope, target_slope)
    return losses if weight is None else reduce(mul(losses, weight), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """:func:`binary_cross_entropy` of sigmoid(input), exact for large inputs. ``weight`` multiplies each element's
    loss, ``pos_weight`` the part of the positive labels; both broadcast."""
    op = "binary_cross_entropy_with_logits"
    require_reduction(op, reduction)
    if weight is None and pos_weight is None:
        return _loss_of_logits(op, input, target, reduction)
    if pos_weight is None:
        losses = _loss_of_logits(op, input, target, "none")
    else:
        x, t = _float_pair(op, input, target)
        positive = add(mul(sub(pos_weight, 1.0), t), 1.0)
        losses = sub(mul(sub(1.0, t), x), mul(positive, logsigmoid(x)))
    return reduce(losses if weight is None else mul(losses, weight), reduction)


def _loss_of_logits(op: str, x: Tensor, target: Tensor, reduction: str) -> Tensor:
    def slope(x: Tensor, t: Tensor) -> Tensor:
        return sub(sigmoid(x), t)

    return _elementwise_loss(op, "bce_with_logits", x, target, reduction, slope, lambda x, t: neg(x))


def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (ln target - input) for logarithms of probabilities as input; ``log_target`` says that the target holds
    logarithms too. "mean" divides by the number of elements, "batchmean" by that of rows: the divergence itself."""
    require_reduction("kl_div", reduction, (*_reductions, "batchmean"))
    x, t = _float_pair("kl_div", input, target)
    entropy = mul(exp(t), t) if log_target else mul(t, log(where(gt(t, 0.0), t, 1.0)))
    losses = sub(entropy, mul(exp(t) if log_target else t, x))
    if reduction == "batchmean":
        return div(sum(losses), float(x.array.shape[0] if x.array.ndim else 1))
    return reduce(losses, reduction)
