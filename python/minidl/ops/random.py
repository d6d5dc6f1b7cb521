"""Random tensors, and random numbers in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import is_grad_enabled
from minidl.backends import Backend
from minidl.changes import note_foreign_write
from minidl.dtypes import to_numpy_dtype
from minidl.generator import Generator, default_generator
from minidl.ops.copies import cast, store
from minidl.ops.creation import _shape_of, empty
from minidl.ops.elementwise import mul
from minidl.ops.in_place import write_in_place
from minidl.ops.operands import wrap
from minidl.tensor import Tensor

__all__ = [
    "bernoulli",
    "bernoulli_",
    "normal",
    "normal_",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "uniform_",
]


# ---- in place


def uniform_(x: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fills x from U[a, b): multiples of (b - a) / 2^24 (float32) or 2^-53 (float64), never b itself."""
    if not a <= b:
        raise ValueError(f"uniform_: a must not exceed b, got {a} and {b}")
    if x.is_floating_point() and not max(abs(a), abs(b), b - a) <= float(np.finfo(x.array.dtype).max):
        raise ValueError(f"uniform_: a, b and b - a must be finite in {x.dtype}, got {a} and {b}")
    return _fill(x, "uniform", generator, a, b)


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fills x from the normal distribution with this mean and standard deviation."""
    _require_std(std)
    return _fill(x, "normal", generator, mean, std)


def bernoulli_(x: Tensor, p: Any = 0.5, generator: Generator | None = None) -> Tensor:
    """Fills x with ones with probability p and zeros; p is a number or a tensor of x's shape."""
    if isinstance(p, Tensor):
        drawn = bernoulli(p, generator=generator)
        return _overwrite(x, "bernoulli_", lambda array: store(array, drawn.array, x.backend, "bernoulli_"))
    _require_probability(p)
    return _fill(x, "bernoulli", generator, p)


def _require_std(std: float) -> None:
    if not std >= 0:
        raise ValueError(f"normal: std must be at least 0, got {std}")


def _require_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"bernoulli: p must lie between 0 and 1, got {p}")


def _overwrite(x: Tensor, name: str, write: Any) -> Tensor:
    is_recorded = x._node is not None and x.requires_grad and is_grad_enabled()
    return write_in_place(x, name, write, mul(x, 0.0) if is_recorded else None)


def _fill(x: Tensor, kernel: str, generator: Generator | None, *scalars: float) -> Tensor:
    backend = x.backend
    if not x.is_floating_point():
        raise TypeError(f"{kernel}_: the tensor must be float32 or float64, got {x.dtype}")

    def write(array: Any) -> None:
        out = array if array.flags.c_contiguous else backend.empty(array.shape, array.dtype)
        getattr(backend.kernels, kernel)(_ticket(generator, backend), out, *scalars)
        if out is not array:
            store(array, out, backend, f"{kernel}_")

    return _overwrite(x, f"{kernel}_", write)


def _ticket(generator: Generator | None, backend: Backend) -> Any:
    return (default_generator if generator is None else generator).ticket(backend)


# ---- new tensors


def _finish(x: Tensor, requires_grad: bool) -> Tensor:
    return x.requires_grad_() if requires_grad else x


def rand(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uniform numbers in [0, 1); float32 unless dtype is given.

    >>> import minidl
    >>> minidl.rand(2, 3).shape
    minidl.Size([2, 3])
    """
    return _finish(uniform_(empty(*size, dtype=dtype, device=device), 0.0, 1.0, generator), requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Numbers from the standard normal distribution; float32 unless dtype is given."""
    return _finish(normal_(empty(*size, dtype=dtype, device=device), 0.0, 1.0, generator), requires_grad)


def rand_like(
    x: Tensor, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uniform numbers in [0, 1) with x's shape, number type and device."""
    dtype, device = dtype or x.array.dtype, device or x.backend
    return rand(*x.shape, generator=generator, dtype=dtype, device=device, requires_grad=requires_grad)


def randn_like(
    x: Tensor, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Standard normal numbers with x's shape, number type and device."""
    dtype, device = dtype or x.array.dtype, device or x.backend
    return randn(*x.shape, generator=generator, dtype=dtype, device=device, requires_grad=requires_grad)


def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """Whole numbers in [low, high), int64 unless dtype is given: ``randint(high, size)``, ``randint(low, high, size)``.

    Each value is drawn from 64 random bits: its probability is off by at most (high - low) / 2^64 of itself.
    """
    if size is None:
        low, high, size = 0, low, high
    if size is None or high is None:
        raise TypeError("randint: high and size are needed: randint(high, size) or randint(low, high, size)")
    if not low < high:
        raise ValueError(f"randint: low must be below high, got {low} and {high}")
    out = empty(_shape_of((size,)), dtype=np.int64, device=device)
    out.backend.kernels.randint(_ticket(generator, out.backend), out.array, low, high)
    return out if dtype is None else cast(out, to_numpy_dtype(dtype))


def randint_like(
    x: Tensor, low: int, high: int | None = None, generator: Generator | None = None, dtype: Any = None
) -> Tensor:
    """Whole numbers in [low, high), or [0, low), with x's shape, number type and device."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, tuple(x.shape), generator, dtype or x.array.dtype, x.backend)


def randperm(n: int, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """0 .. n - 1 in random order, int64 unless dtype is given.

    >>> import minidl
    >>> sorted(minidl.randperm(5).tolist())
    [0, 1, 2, 3, 4]
    """
    out = empty(n, dtype=np.int64, device=device)
    out.backend.kernels.permutation(_ticket(generator, out.backend), out.array)
    return out if dtype is None else cast(out, to_numpy_dtype(dtype))


def bernoulli(input: Tensor, p: float | None = None, generator: Generator | None = None) -> Tensor:
    """Ones with the probabilities in ``input`` - or with probability p, in input's shape - and zeros elsewhere."""
    if p is not None:
        return bernoulli_(empty(tuple(input.shape), dtype=input.array.dtype, device=input.backend), p, generator)
    if not input.is_floating_point():
        raise TypeError(f"bernoulli: probabilities must be float32 or float64, got {input.dtype}")
    probs = input.array
    if not ((probs >= 0) & (probs <= 1)).all():
        raise ValueError("bernoulli: probabilities must lie between 0 and 1")
    drawn = rand_like(input, generator)
    note_foreign_write("bernoulli")
    drawn.array[...] = drawn.array < probs
    return drawn


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, generator: Generator | None = None, dtype: Any = None
) -> Tensor:
    """Normal numbers: ``normal(mean, std, size)`` with numbers, or with tensors of means, of deviations, or of both."""
    if size is not None:
        return normal_(empty(_shape_of((size,)), dtype=dtype), mean, std, generator)
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        raise TypeError("normal: size is needed where mean and std are both numbers")
    means = wrap(mean, std if isinstance(std, Tensor) else None)
    deviations = wrap(std, means)
    _require_std(float(deviations.array.min()) if deviations.numel() else 0.0)
    shape = np.broadcast_shapes(means.array.shape, deviations.array.shape)
    raw = np.result_type(means.array.dtype, deviations.array.dtype, np.float32)
    drawn = randn(*shape, generator=generator, dtype=raw, device=means.backend)
    note_foreign_write("normal")
    drawn.array[...] = drawn.array * deviations.array + means.array
    return drawn
