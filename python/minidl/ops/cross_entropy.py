"""Cross-entropy of class labels, fused with its gradient: from logits, and from logarithms of probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd import is_grad_enabled, record
from minidl.ops.copies import cast
from minidl.ops.elementwise import add, mul, neg, sub
from minidl.ops.loss import reduce, require_reduction, shape_of
from minidl.ops.operands import require_float, require_same_backend, run
from minidl.ops.reduction import sum
from minidl.ops.shape import permute, reshape
from minidl.ops.softmax import log_softmax, softmax
from minidl.tensor import Tensor

__all__ = ["cross_entropy", "nll_loss"]

_int64 = np.dtype(np.int64)


def _labels_of(op: str, x: Tensor, target: Tensor) -> Any:
    """The class indices as a flat int64 array, checked against the shape of x (N, C, ...) or (C,)."""
    require_same_backend(op, x, target)
    shape = x.array.shape
    wanted = (shape[:1] + shape[2:]) if len(shape) > 1 else ()
    array = target.array
    if array.shape == shape != wanted:
        raise ValueError(
            f"{op}: target of shape {shape_of(target)} looks one-hot: {target.dtype} with the input's shape; "
            "use target.argmax(1), or pass float probabilities"
        )
    if array.dtype.kind not in "iu":
        raise TypeError(f"{op}: class indices must be int64, got {target.dtype} of shape {shape_of(target)}")
    if array.shape != wanted:
        hint = "; use target.squeeze(1)" if array.shape == (*wanted, 1) and wanted else ""
        raise ValueError(
            f"{op}: target must have shape {tuple(wanted)} for an input of shape {shape_of(x)}, "
            f"got {shape_of(target)}{hint}"
        )
    if array.dtype != _int64:
        array = array.astype(_int64)
    return array if array.ndim == 1 else x.backend.contiguous(array).reshape(-1)


def _by_class(x: Tensor) -> Tensor:
    """(N, C, ...) or (C,) as rows x classes."""
    shape = x.array.shape
    if len(shape) > 2:
        x = permute(x, (0, *range(2, len(shape)), 1))
    classes = shape[1] if len(shape) > 1 else shape[0]
    return x if len(shape) == 2 else reshape(x, (x.array.size // max(classes, 1), classes))


def _require_classes(op: str, x: Tensor, weight: Tensor | None) -> None:
    require_float(op, x)
    if x.array.ndim == 0:
        raise ValueError(f"{op}: input must have shape (batch, classes, ...), got ()")
    classes = x.array.shape[1 if x.array.ndim > 1 else 0]
    if weight is not None and weight.array.shape != (classes,):
        raise ValueError(f"{op}: weight must have one element per class, shape ({classes},), got {shape_of(weight)}")


def _require_in_range(op: str, labels: Any, classes: int, ignore_index: int) -> None:
    is_bad = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
    if is_bad.any():
        place = int(is_bad.argmax())
        raise ValueError(
            f"{op}: class indices must lie in 0..{classes - 1} for {classes} classes, "
            f"got {int(labels[place])} at position {place}"
        )


def _is_plain(x: Tensor, target: Tensor, weight: Tensor | None) -> bool:
    """Whether a kernel may take both as they are; it says itself what else is wrong."""
    return weight is None and x.array.ndim == 2 and target.array.ndim == 1 and x.backend is target.backend


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target], the loss of a classifier that ends in logits of shape (N, C, ...).

    ``target`` holds class indices of shape (N, ...), or probabilities of the logits' shape. ``weight`` has one factor
    per class; rows labelled ``ignore_index`` do not count; the mean divides by the sum of the weights of the labels
    that count (by N for probabilities). Label smoothing e mixes every label with e / C of each class (Szegedy 2016).

    >>> import minidl
    >>> minidl.ops.cross_entropy(minidl.zeros(1, 2), minidl.tensor([0])).item()
    0.6931471824645996

    Raises TypeError for float labels, ValueError for one-hot labels, a wrong shape, and a label out of range.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must lie in 0..1, got {label_smoothing}")
    if _is_plain(input, target, weight):
        try:
            return _fused_cross_entropy(input, target.array, None, ignore_index, reduction, label_smoothing)
        except (TypeError, ValueError, KeyError):
            pass
    require_reduction("cross_entropy", reduction)
    _require_classes("cross_entropy", input, weight)
    if weight is not None:
        weight = cast(weight, input.array.dtype)
    if target.array.shape == input.array.shape and target.array.dtype.kind == "f":
        return _cross_entropy_of_probabilities(input, target, weight, reduction, label_smoothing)
    labels = _labels_of("cross_entropy", input, target)
    losses = _fused_cross_entropy(_by_class(input), labels, weight, ignore_index, reduction, label_smoothing)
    return reshape(losses, target.array.shape) if reduction == "none" and target.array.ndim != 1 else losses


def _cross_entropy_of_probabilities(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    rows, probs = _by_class(x), cast(_by_class(target), x.array.dtype)
    if label_smoothing > 0:
        probs = add(mul(probs, 1 - label_smoothing), label_smoothing / rows.array.shape[1])
    if weight is not None:
        probs = mul(probs, weight)
    losses = neg(sum(mul(probs, log_softmax(rows, 1)), 1))
    if reduction == "none":
        return reshape(losses, x.array.shape[:1] + x.array.shape[2:] if x.array.ndim > 1 else ())
    return reduce(losses, reduction)


def _fused_cross_entropy(
    logits: Tensor, labels: Any, weight: Tensor | None, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    def gradient_with_graph() -> Tensor:
        """softmax(logits) * (sum of the targets) - targets, the targets being constants."""
        targets = _weighted_targets(logits, labels, weight, ignore_index, reduction, label_smoothing)
        return sub(mul(softmax(logits, 1), sum(targets, 1, keepdim=True)), targets)

    kernel, options = logits.backend.kernels.cross_entropy_forward, (ignore_index, label_smoothing)
    return _loss_of_labels("cross_entropy", kernel, logits, labels, weight, options, reduction, gradient_with_graph)


def _fused_nll(log_probs: Tensor, labels: Any, weight: Tensor | None, ignore_index: int, reduction: str) -> Tensor:
    def gradient_with_graph() -> Tensor:
        return neg(_weighted_targets(log_probs, labels, weight, ignore_index, reduction, 0.0))

    kernel = log_probs.backend.kernels.nll_forward
    return _loss_of_labels(
        "nll_loss", kernel, log_probs, labels, weight, (ignore_index,), reduction, gradient_with_graph
    )


def _loss_of_labels(
    name: str,
    kernel: Any,
    x: Tensor,
    labels: Any,
    weight: Tensor | None,
    options: tuple[Any, ...],
    reduction: str,
    gradient_with_graph: Callable[[], Tensor],
) -> Tensor:
    """Loss and gradient in one kernel; backward only multiplies. x is rows x classes."""
    backend, array = x.backend, x.array
    loss = backend.empty(labels.shape if reduction == "none" else (), array.dtype)
    wants_grad = x.requires_grad and is_grad_enabled()
    grad = Tensor(backend.empty(array.shape, array.dtype), backend) if wants_grad else None
    weights, grad_array = None if weight is None else weight.array, None if grad is None else grad.array
    run(backend, kernel, array, labels, weights, loss, grad_array, *options, backend.reductions[reduction])

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        of_one = gradient_with_graph() if is_grad_enabled() or grad is None else grad
        return (mul(of_one, reshape(grad_out, (-1, 1))),)

    result = record(Tensor(loss, backend), (x,), backward, saved=(x, weight), name=name)
    if result._node is not None and reduction != "none":
        result._node.of_one = lambda: (grad,)
    return result


def _weighted_targets(
    logits: Tensor, labels: Any, weight: Tensor | None, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    """The smoothed, weighted labels as rows x classes: cross-entropy is -sum(targets * log_softmax)."""
    xp, (rows, classes) = logits.backend.xp, logits.array.shape
    weights = xp.ones(classes, logits.array.dtype) if weight is None else weight.array
    counts = labels != ignore_index
    own = xp.where(counts, labels, 0)
    own_weights = weights[own] * counts
    targets = counts[:, None] * weights * (label_smoothing / classes)
    targets[xp.arange(rows), own] += (1 - label_smoothing) * own_weights
    if reduction == "mean":
        targets /= own_weights.sum()
    return Tensor(targets.astype(logits.array.dtype, copy=False), logits.backend)


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-input[target] for logarithms of probabilities (N, C, ...), as :func:`log_softmax` gives them; ``weight``,
    ``ignore_index`` and the mean as in :func:`cross_entropy`."""
    if _is_plain(input, target, weight):
        try:
            return _fused_nll(input, target.array, None, ignore_index, reduction)
        except (TypeError, ValueError, KeyError):
            pass
    require_reduction("nll_loss", reduction)
    _require_classes("nll_loss", input, weight)
    if weight is not None:
        weight = cast(weight, input.array.dtype)
    labels, rows = _labels_of("nll_loss", input, target), _by_class(input)
    _require_in_range("nll_loss", labels, rows.array.shape[1], ignore_index)
    losses = _fused_nll(rows, labels, weight, ignore_index, reduction)
    return reshape(losses, target.array.shape) if reduction == "none" else losses
