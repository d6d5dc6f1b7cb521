"""Dropout: layers that drop elements at random while training."""

from __future__ import annotations

from minidl import ops
from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.tensor import Tensor


class Dropout(Module):
    """While training, each element is 0 with probability p and else divided by 1 - p; in evaluation it is the
    identity.

    Shapes: any, kept. Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
    Raises ValueError where p is not between 0 and 1.

    >>> import minidl
    >>> from minidl import nn
    >>> dropout = nn.Dropout(0.5)
    >>> sorted(set(dropout(minidl.ones(1000)).tolist()))
    [0.0, 2.0]
    >>> dropout.eval()(minidl.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be a probability between 0 and 1, got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return input
        if self.inplace:
            return F.dropout(input, self.p, True, True)
        return ops.dropout(input, self.p, True)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
