"""Ways to fill a tensor before training. Each changes the tensor in place, without recording it, and returns it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minidl import ops
from minidl.autograd import no_grad
from minidl.dtypes import float64
from minidl.tensor import Tensor

if TYPE_CHECKING:
    from minidl.generator import Generator

_LINEAR = {"linear", "sigmoid"} | {f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity's weights are scaled so that activations keep their variance.

    linear, convolutions, sigmoid: 1; tanh: 5/3; relu: sqrt(2); leaky_relu: sqrt(2 / (1 + slope^2)) with slope =
    `param` (0.01 where None); selu: 3/4. Raises ValueError for any other name or a slope that is no number.

    >>> from minidl import nn
    >>> nn.init.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity in _LINEAR:
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "selu":
        return 0.75
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
            raise ValueError(f"negative_slope {param} not a valid number")
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    valid = ", ".join(sorted(_LINEAR | {"tanh", "relu", "selu", "leaky_relu"}))
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}; valid: {valid}")


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with draws from U[a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with draws from N(mean, std^2)."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with draws from N(mean, std^2) cut to [a, b], by inverting the distribution function.

    Raises ValueError where a > b or std <= 0.
    """
    from statistics import NormalDist  # here, because it loads decimal, fractions and random

    if not (a <= b and std > 0):
        raise ValueError(f"trunc_normal_: a must not exceed b and std must be positive, got a={a}, b={b}, std={std}")
    normal = NormalDist()
    low, high = normal.cdf((a - mean) / std), normal.cdf((b - mean) / std)
    draws = ops.empty(tensor.numel(), dtype=float64, device=tensor.device).uniform_(low, high, generator=generator)
    # Beyond eight standard deviations float64 has no probabilities left to invert.
    smallest, largest = math.ulp(0.5), 1 - math.ulp(0.5)
    values = [normal.inv_cdf(min(max(p, smallest), largest)) * std + mean for p in draws.tolist()]
    return tensor.copy_(ops.tensor(values, dtype=float64, device=tensor.device).reshape(tensor.shape).clamp(a, b))


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with 1 on the diagonal and 0 elsewhere. Raises ValueError where it is not a matrix."""
    _require_matrix("eye_", tensor)
    rows, columns = tensor.shape
    return tensor.copy_(ops.eye(rows, columns, dtype=tensor.dtype, device=tensor.device))


def _require_matrix(name: str, tensor: Tensor) -> None:
    if tensor.ndim != 2:
        raise ValueError(f"{name}: only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    """(fan in, fan out): the connections into and out of one unit; kernels of convolutions count every tap."""
    if tensor.ndim < 2:
        raise ValueError(
            f"{name}: fan in and fan out need at least 2 dimensions, got shape {tuple(tensor.shape)}; "
            "biases are usually filled with zeros_()"
        )
    taps = math.prod(tensor.shape[2:])
    return tensor.shape[1] * taps, tensor.shape[0] * taps


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with draws from U(-b, b), b = gain * sqrt(6 / (fan_in + fan_out)): Glorot and Bengio 2010.

    Raises ValueError where the tensor has fewer than 2 dimensions.
    """
    bound = gain * math.sqrt(6.0 / max(1, sum(_fans("xavier_uniform_", tensor))))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with draws from N(0, s^2), s = gain * sqrt(2 / (fan_in + fan_out)): Glorot and Bengio 2010.

    Raises ValueError where the tensor has fewer than 2 dimensions.
    """
    std = gain * math.sqrt(2.0 / max(1, sum(_fans("xavier_normal_", tensor))))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan_in, fan_out = _fans(name, tensor)
    fan = fan_in if mode.lower() == "fan_in" else fan_out
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with draws from U(-b, b), b = gain * sqrt(3 / fan): He et al. 2015. `a` is the slope of leaky_relu.

    Raises ValueError where the tensor has fewer than 2 dimensions, and for an unknown mode or nonlinearity.
    """
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with draws from N(0, gain^2 / fan): He et al. 2015. `a` is the slope of leaky_relu.

    Raises ValueError where the tensor has fewer than 2 dimensions, and for an unknown mode or nonlinearity.
    """
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


@no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill with gain times a random (semi-)orthogonal matrix, later dimensions flattened: Saxe et al. 2013.

    Raises ValueError where the tensor has fewer than 2 dimensions.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: only tensors with 2 or more dimensions, got shape {tuple(tensor.shape)}")
    if tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    shape = (max(rows, columns), min(rows, columns))
    draws = ops.empty(*shape, dtype=float64, device=tensor.device).normal_(generator=generator)
    xp: Any = tensor.backend.xp
    q, r = xp.linalg.qr(draws.array)
    # QR leaves each column's sign to the algorithm; with r's diagonal positive q is uniform (Mezzadri 2007).
    q = q * xp.where(xp.diagonal(r) < 0, -1.0, 1.0)
    values = Tensor(xp.ascontiguousarray(gain * (q.T if rows < columns else q)), tensor.backend)
    return tensor.copy_(values.reshape(tensor.shape))


@no_grad()
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fill a matrix with draws from N(0, std^2), then zero ceil(sparsity * rows) of each column: Martens 2010.

    Raises ValueError where it is not a matrix or sparsity is outside [0, 1].
    """
    _require_matrix("sparse_", tensor)
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: sparsity must lie between 0 and 1, got {sparsity}")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    keys = ops.empty(rows, columns, device=tensor.device).uniform_(generator=generator)
    order = keys.argsort(0).argsort(0)
    values = ops.empty(rows, columns, dtype=tensor.dtype, device=tensor.device).normal_(0.0, std, generator=generator)
    return tensor.copy_(values.masked_fill(order < zeros, 0.0))
