"""Layers that multiply by a trained matrix: Linear, Bilinear; and Identity, which does nothing."""

from __future__ import annotations

import math
from typing import Any

from minidl import ops
from minidl.nn import functional as F, init
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.tensor import Tensor


class Identity(Module):
    """Returns its input; any arguments of the constructor are ignored.

    >>> from minidl import nn
    >>> nn.Identity(54, unused=True)("anything")
    'anything'
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """out = input weight^T + bias.

    Shapes: input (*, in_features), weight (out_features, in_features), bias (out_features), out (*, out_features).
    Both start uniform in +-1/sqrt(in_features); for the weight that is kaiming_uniform with a = sqrt(5).

    Raises ValueError where the last dimension of the input is not in_features.

    >>> import minidl
    >>> from minidl import nn
    >>> layer = nn.Linear(784, 256)
    >>> layer(minidl.zeros(64, 784)).shape
    minidl.Size([64, 256])
    >>> layer(minidl.zeros(64, 28, 28))
    Traceback (most recent call last):
    ...
    ValueError: Linear(784, 256): input must have 784 columns, got shape (64, 28, 28); flatten it first (nn.Flatten())
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(ops.empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(ops.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(max(1, self.in_features))
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return self.forward_with(input, None)

    def forward_with(self, input: Tensor, activation: str | None) -> Tensor:
        """activation(forward(input)) in one pass; see :func:`minidl.ops.linear`."""
        try:
            return ops.linear(input, self.weight, self.bias, activation)
        except ValueError:
            self._check(input)
            raise

    def _check(self, input: Tensor) -> None:
        shape = tuple(input.shape)
        if shape and shape[-1] == self.in_features:
            return
        message = f"Linear({self.in_features}, {self.out_features}): input must have {self.in_features} columns"
        would_fit = len(shape) > 2 and math.prod(shape[1:]) == self.in_features
        raise ValueError(
            f"{message}, got shape {shape}{'; flatten it first (nn.Flatten())' if would_fit else ''}"
        ) from None

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """out[..., k] = sum over i, j of input1[..., i] weight[k, i, j] input2[..., j], + bias[k].

    Shapes: input1 (*, in1_features), input2 (*, in2_features), weight (out_features, in1_features, in2_features), bias
    (out_features), out (*, out_features). Weight and bias start uniform in +-1/sqrt(in1_features).

    Raises ValueError where the inputs do not have these shapes or in1_features is not positive.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Bilinear(3, 4, 5)(minidl.zeros(8, 3), minidl.zeros(8, 4)).shape
    minidl.Size([8, 5])
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if in1_features <= 0:
            raise ValueError(f"Bilinear: in1_features must be > 0, got {in1_features}")
        super().__init__()
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(ops.empty(out_features, in1_features, in2_features, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(ops.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters(recurse=False):
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
