"""Dropout: masks drawn from a ticket, so that backward draws the same ones again instead of keeping them."""

from __future__ import annotations

from typing import Any

from minidl.autograd import is_grad_enabled, record
from minidl.generator import Generator, default_generator
from minidl.ops.operands import ThroughRelu, reads_relu, require_float
from minidl.tensor import Tensor

__all__ = ["dropout"]


def dropout(x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """x * mask / (1 - p), where each element of mask is 1 with probability 1 - p, else 0 (Srivastava 2014).

    p is taken to the nearest 1 / 65536, and the scale follows the p in use: the mean of the result is exactly x. Only
    p = 1 drops everything. Returns x itself when not training or when p is 0. ValueError unless 0 <= p <= 1.

    >>> import minidl
    >>> dropped = minidl.ops.dropout(minidl.ones(1000), 0.25)
    >>> sorted(set(dropped.tolist())) == [0.0, 1.3333333730697632]
    True
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must lie between 0 and 1, got {p}")
    require_float("dropout", x)
    if not training or p == 0:
        return x
    return _drop(x, p, (generator or default_generator).ticket(x.backend))


def scale_of(p: float) -> float:
    """What dropout multiplies kept elements by: 65536 / kept, 16 random bits deciding on each."""
    kept = int((1 - p) * 65536 + 0.5)
    return 65536 / max(kept, 1) if p < 1 else 0.0


def _drop(x: Tensor, p: float, ticket: Any) -> Tensor:
    backend = x.backend
    out = backend.empty(x.array.shape, x.array.dtype)
    backend.kernels.dropout_forward(backend.contiguous(x.array), ticket, out, p)

    result = Tensor(out, backend)
    result._version = changes = [0]

    def backward(grad_out: Tensor) -> tuple[Tensor]:
        if is_grad_enabled() or changes[0] or not reads_relu(x):
            return (_drop(grad_out, p, ticket),)
        # A unit was active and kept exactly where the result is above 0: no bits are drawn again.
        grad_x = ThroughRelu(backend.empty(out.shape, out.dtype), backend)
        backend.kernels.relu_backward(out, backend.contiguous(grad_out.array), grad_x.array, scale_of(p))
        return (grad_x,)

    return record(result, (x,), backward, name="dropout")
