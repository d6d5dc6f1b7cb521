"""The layers as functions, with PyTorch's signatures: everything a layer owns is passed in.

The arguments `size_average` and `reduce` of the losses keep their places for old code; `reduction` replaces them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from minidl import ops
from minidl.autograd import is_grad_enabled
from minidl.ops import logsigmoid, one_hot, prelu, sigmoid, softplus, softsign, tanh
from minidl.tensor import Tensor

__all__ = [
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "cross_entropy",
    "dropout",
    "elu",
    "gelu",
    "hardtanh",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mish",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "prelu",
    "relu",
    "relu_",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]


def overwrite(input: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """input = function(input) in its own memory. While gradients are recorded `function` reads a copy, since backward
    needs the values from before."""
    is_recorded = is_grad_enabled() and input.requires_grad
    return input.copy_(function(input.clone() if is_recorded else input))


# ---- layers


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input weight^T + bias; (*, in_features) -> (*, out_features). Raises ValueError where the shapes do not fit."""
    return ops.linear(input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """out[..., k] = sum over i, j of input1[..., i] weight[k, i, j] input2[..., j], + bias[k].

    Raises ValueError where the shapes do not fit.
    """
    outputs, first, second = weight.shape
    if input1.shape[:-1] != input2.shape[:-1] or input1.shape[-1] != first or input2.shape[-1] != second:
        raise ValueError(
            f"bilinear: inputs must have the shapes (*, {first}) and (*, {second}), "
            f"got {tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    leading = input1.shape[:-1]
    by_first = weight.permute(1, 0, 2).reshape(first, outputs * second)
    partial = input1.reshape(-1, first).matmul(by_first).reshape(-1, outputs, second)
    out = (partial * input2.reshape(-1, 1, second)).sum(-1).reshape(*leading, outputs)
    return out if bias is None else out + bias


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element is 0 with probability p and else divided by 1 - p; the input itself where not `training`."""
    if inplace:
        return overwrite(input, lambda x: ops.dropout(x, p, training))
    return ops.dropout(input, p, training)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias per channel, with the batch's statistics where `training`,
    which then also move the running ones, and else with the running statistics. See `minidl.nn.BatchNorm1d`."""
    return ops.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias over the last dimensions. See `minidl.nn.LayerNorm`."""
    return ops.layer_norm(input, tuple(normalized_shape), weight, bias, eps)


# ---- activations


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0)."""
    return relu_(input) if inplace else ops.relu(input)


def relu_(input: Tensor) -> Tensor:
    """max(input, 0) in the input's own memory; backward needs only the result, so no copy is made."""
    return input.copy_(ops.relu(input))


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where it is positive, else negative_slope * input."""
    if inplace:
        return overwrite(input, lambda x: ops.leaky_relu(x, negative_slope))
    return ops.leaky_relu(input, negative_slope)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where it is positive, else alpha * (e^input - 1)."""
    return overwrite(input, lambda x: ops.elu(x, alpha)) if inplace else ops.elu(input, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507... * elu(input, 1.6732...), which keeps mean 0 and variance 1 from layer to layer."""
    return overwrite(input, ops.selu) if inplace else ops.selu(input)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where it is positive, else alpha * (e^(input / alpha) - 1)."""
    return overwrite(input, lambda x: ops.celu(x, alpha)) if inplace else ops.celu(input, alpha)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input * Phi(input), with the normal distribution function Phi or, approximate="tanh", its approximation."""
    return ops.gelu(input, approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input)."""
    return overwrite(input, ops.silu) if inplace else ops.silu(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(ln(1 + e^input))."""
    return overwrite(input, ops.mish) if inplace else ops.mish(input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """min(max(input, min_val), max_val)."""
    if inplace:
        return overwrite(input, lambda x: ops.hardtanh(x, min_val, max_val))
    return ops.hardtanh(input, min_val, max_val)


def softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """e^input / sum of e^input along dim. Without dim, PyTorch's guess is taken and a warning given."""
    return ops.softmax(_converted(input, dtype), _dim_or_guess("softmax", dim, input))


def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """input - ln(sum of e^input) along dim. Without dim, PyTorch's guess is taken and a warning given."""
    return ops.log_softmax(_converted(input, dtype), _dim_or_guess("log_softmax", dim, input))


def _converted(input: Tensor, dtype: Any) -> Tensor:
    return input if dtype is None else input.to(dtype=dtype)


def _dim_or_guess(name: str, dim: int | None, input: Tensor) -> int:
    if dim is not None:
        return dim
    guess = 0 if input.ndim in (0, 1, 3) else 1
    warnings.warn(f"{name}: dim should be given; for {input.ndim} dimensions dim={guess} is taken", stacklevel=3)
    return guess


# ---- losses


def resolve_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that the old arguments ask for where one of them is given."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target], of logits and labels. See `minidl.nn.CrossEntropyLoss`."""
    reduction = resolve_reduction(size_average, reduce, reduction)
    return ops.cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[target], of log-probabilities and labels. See `minidl.nn.NLLLoss`."""
    return ops.nll_loss(input, target, weight, ignore_index, resolve_reduction(size_average, reduce, reduction))


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """(input - target)^2. See `minidl.nn.MSELoss`."""
    return ops.mse_loss(input, target, resolve_reduction(size_average, reduce, reduction))


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """|input - target|. See `minidl.nn.L1Loss`."""
    return ops.l1_loss(input, target, resolve_reduction(size_average, reduce, reduction))


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2. See `minidl.nn.SmoothL1Loss`."""
    return ops.smooth_l1_loss(input, target, resolve_reduction(size_average, reduce, reduction), beta)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d^2 / 2 where d = |input - target| <= delta, else delta * (d - delta / 2). See `minidl.nn.HuberLoss`."""
    return ops.huber_loss(input, target, reduction, delta)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target * ln input + (1 - target) * ln(1 - input)), of probabilities. See `minidl.nn.BCELoss`."""
    return ops.binary_cross_entropy(input, target, weight, resolve_reduction(size_average, reduce, reduction))


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """binary_cross_entropy of sigmoid(input), without its loss of precision. See `minidl.nn.BCEWithLogitsLoss`."""
    reduction = resolve_reduction(size_average, reduce, reduction)
    return ops.binary_cross_entropy_with_logits(input, target, weight, reduction, pos_weight)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target * (ln target - input), input being log-probabilities. See `minidl.nn.KLDivLoss`."""
    return ops.kl_div(input, target, resolve_reduction(size_average, reduce, reduction), log_target)
