"""Modules that only change the shape: Flatten, Unflatten."""

from __future__ import annotations

from minidl import ops
from minidl.nn.module import Module
from minidl.tensor import Tensor


class Flatten(Module):
    """Joins the dimensions start_dim ... end_dim into one; by default everything but the batch.

    Shapes: (N, *) -> (N, product of *). Raises IndexError for a dimension that does not exist.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Flatten()(minidl.zeros(64, 28, 28)).shape
    minidl.Size([64, 784])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return ops.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits one dimension into several; one of the sizes may be -1.

    Shapes: (..., product of unflattened_size, ...) -> (..., *unflattened_size, ...). Raises TypeError where the sizes
    are not a tuple or list of whole numbers, ValueError where they do not fit the dimension.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Unflatten(1, (28, 28))(minidl.zeros(64, 784)).shape
    minidl.Size([64, 28, 28])
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...] | list[int]) -> None:
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)) or not all(isinstance(n, int) for n in unflattened_size):
            raise TypeError(f"Unflatten: unflattened_size must be a tuple of ints, got {unflattened_size!r}")
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        if not -input.ndim <= self.dim < input.ndim:
            raise IndexError(f"{self}: input must have the dimension {self.dim}, got shape {tuple(input.shape)}")
        dim = self.dim % input.ndim
        return input.reshape(*input.shape[:dim], *self.unflattened_size, *input.shape[dim + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
