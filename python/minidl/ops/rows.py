"""Rows of a matrix by their numbers: how a batch is taken out of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.dtypes import to_numpy_dtype
from minidl.tensor import Tensor

__all__ = ["gather_labels", "gather_rows", "gather_rows_uint8"]


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """out[i, :] = x[index[i], :] for x (rows, columns) of floats; without a gradient.

    Raises:
        IndexError: an index outside [0, rows).
    """
    _require(x, index, "gather_rows")
    array = x.backend.contiguous(x.array)
    out = x.backend.empty((index.array.shape[0], array.shape[1]), array.dtype)
    x.backend.kernels.gather_rows(array, x.backend.contiguous(index.array), out)
    return Tensor(out, x.backend)


def gather_rows_uint8(
    x: Tensor, index: Tensor, scale: float = 1.0, shift: float = 0.0, dtype: Any = np.float32
) -> Tensor:
    """out[i, :] = scale * x[index[i], :] + shift for bytes x (rows, columns).

    Raises:
        IndexError: an index outside [0, rows).

    >>> import minidl
    >>> pixels = minidl.tensor([[0, 51], [102, 255]], dtype=minidl.uint8)
    >>> minidl.ops.gather_rows_uint8(pixels, minidl.tensor([1]), scale=1 / 255)
    tensor([[0.4000, 1.0000]])
    """
    _require(x, index, "gather_rows_uint8")
    array = x.backend.contiguous(x.array)
    out = x.backend.empty((index.array.shape[0], array.shape[1]), to_numpy_dtype(dtype))
    x.backend.kernels.gather_rows_uint8(array, x.backend.contiguous(index.array), out, scale, shift)
    return Tensor(out, x.backend)


def gather_labels(x: Tensor, index: Tensor) -> Tensor:
    """out[i] = x[index[i]] for whole numbers x (rows,).

    Raises:
        IndexError: an index outside [0, rows).

    >>> import minidl
    >>> minidl.ops.gather_labels(minidl.tensor([7, 2, 1]), minidl.tensor([2, 0])).tolist()
    [1, 7]
    """
    _require(x, index, "gather_labels", 1)
    out = x.backend.empty(index.array.shape, np.dtype(np.int64))
    x.backend.kernels.gather_labels(x.backend.contiguous(x.array), x.backend.contiguous(index.array), out)
    return Tensor(out, x.backend)


def _require(x: Tensor, index: Tensor, name: str, dims: int = 2) -> None:
    if x.array.ndim != dims or index.array.ndim != 1:
        raise ValueError(
            f"{name}: x must be a {'vector' if dims == 1 else 'matrix'} and index a vector, "
            f"got shapes {x.shape} and {index.shape}"
        )
    if index.array.dtype != np.int64:
        raise TypeError(f"{name}: index must be int64, got {index.dtype}")
    rows = x.array.shape[0]
    numbers = index.backend.to_host(index.array)  # CuPy would compile kernels of its own
    if numbers.size and (numbers.min() < 0 or numbers.max() >= rows):
        raise IndexError(f"{name}: index must be in [0, {rows}), got {numbers.min()} to {numbers.max()}")
