"""Number types, devices and shapes under PyTorch's names."""

from __future__ import annotations

from typing import Any

import numpy as np


class dtype:
    """A number type: ``minidl.float32`` and its siblings. ``numpy.dtype(minidl.float32)`` works as well."""

    __slots__ = ("dtype", "is_floating_point", "itemsize", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.dtype = np.dtype(name)
        self.itemsize = self.dtype.itemsize
        self.is_floating_point = self.dtype.kind == "f"

    def __repr__(self) -> str:
        return f"minidl.{self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.name == "bool" else self.name


float32 = dtype("float32")
float64 = dtype("float64")
int64 = dtype("int64")
int32 = dtype("int32")
uint8 = dtype("uint8")
bool_ = dtype("bool")

_by_numpy: dict[np.dtype[Any], dtype] = {d.dtype: d for d in (float32, float64, int64, int32, uint8, bool_)}
supported_names = ", ".join(d.name for d in _by_numpy.values())


def from_numpy_dtype(raw: np.dtype[Any]) -> dtype:
    """The minidl dtype of a NumPy dtype; TypeError lists the supported ones."""
    try:
        return _by_numpy[raw]
    except KeyError:
        raise TypeError(f"dtype must be one of {supported_names}; got {raw}") from None


def to_numpy_dtype(wanted: Any) -> np.dtype[Any]:
    """The NumPy dtype behind a minidl dtype, a NumPy dtype, a Python type (``float`` is float32) or a name."""
    if isinstance(wanted, dtype):
        return wanted.dtype
    if wanted is float:
        return float32.dtype
    return from_numpy_dtype(np.dtype(wanted)).dtype


class device:
    """Where a tensor lives: ``device("cpu")``, ``device("cuda")``, ``device("cuda:0")``, ``device("cuda", 0)``."""

    __slots__ = ("index", "type")

    def __init__(self, type: str | device, index: int | None = None) -> None:
        name, _, number = str(type).partition(":")
        if name not in ("cpu", "cuda") or (number and not number.isdigit()):
            raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N'; got {str(type)!r}")
        self.type = name
        self.index = int(number) if number else index

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return (
            f"device(type={self.type!r})" if self.index is None else f"device(type={self.type!r}, index={self.index})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))


class Size(tuple[int, ...]):
    """A shape: a tuple of extents with ``numel()``."""

    __slots__ = ()

    def numel(self) -> int:
        """The product of the extents."""
        product = 1
        for extent in self:
            product *= extent
        return product

    def __repr__(self) -> str:
        return f"minidl.Size({list(self)})"
