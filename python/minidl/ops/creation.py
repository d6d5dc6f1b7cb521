"""Tensors out of nothing, out of data, and into text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl import backends
from minidl.backends import Backend
from minidl.dtypes import from_numpy_dtype, to_numpy_dtype
from minidl.tensor import Tensor

__all__ = [
    "arange",
    "as_tensor",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "is_tensor",
    "linspace",
    "one_hot",
    "ones",
    "ones_like",
    "tensor",
    "to_text",
    "zeros",
    "zeros_like",
]


def _shape_of(size: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size


def _leaf(array: Any, backend: Backend, requires_grad: bool) -> Tensor:
    tensor = Tensor(array, backend)
    return tensor.requires_grad_() if requires_grad else tensor


def _from_host(array: Any, device: Any) -> Tensor:
    backend = backends.load(device)
    return Tensor(backend.from_host(array), backend)


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of ``data``: numbers, nested lists, arrays. Python floats become float32, whole numbers
    int64, booleans bool; arrays keep their number type.

    >>> import minidl
    >>> minidl.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    if isinstance(data, Tensor):
        device = data.backend if device is None else device
        data = data.backend.to_host(data.array)
    elif isinstance(data, (list, tuple)) and any(isinstance(x, Tensor) for x in data):
        data = [x.backend.to_host(x.array) if isinstance(x, Tensor) else x for x in data]
    elif (owner := backends.owner(data)) is not None:
        device = owner if device is None else device
        data = owner.to_host(data)
    try:
        array = np.array(data, dtype=None if dtype is None else to_numpy_dtype(dtype))
    except ValueError as error:
        raise ValueError(f"tensor: the data does not form a rectangular array of numbers ({error})") from None
    if dtype is None and array.dtype == np.float64 and not isinstance(data, (np.ndarray, np.generic)):
        array = array.astype(np.float32)
    from_numpy_dtype(array.dtype)
    backend = backends.load(device)
    return _leaf(backend.from_host(array), backend, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor that shares the memory of ``data`` where it can."""
    if isinstance(data, Tensor):
        return data.to(*[target for target in (dtype, device) if target is not None])
    owner = backends.owner(data)
    if owner is not None and (dtype is None or data.dtype == to_numpy_dtype(dtype)):
        from_numpy_dtype(data.dtype)
        return Tensor(data, owner).to(owner if device is None else backends.load(device))
    return tensor(data, dtype, device)


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor that shares the array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: a numpy.ndarray is wanted, got {type(array).__name__}")
    from_numpy_dtype(array.dtype)
    return Tensor(array, backends.cpu)


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares the memory of any object with ``__dlpack__`` (PyTorch, JAX, CuPy, NumPy)."""
    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack: an object with __dlpack__ is wanted, got {type(source).__name__}")
    owner = backends.owner(source)
    return from_numpy(np.from_dlpack(source)) if owner is None else as_tensor(source)


def full(size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with one value everywhere; its type follows the value unless dtype is given."""
    backend = backends.load(device)
    if dtype is None:
        dtype = "bool" if isinstance(fill_value, bool) else "int64" if isinstance(fill_value, int) else "float32"
    raw = to_numpy_dtype(dtype)
    result = empty(size if isinstance(size, (tuple, list)) else (size,), dtype=raw, device=backend)
    result.fill_(fill_value)
    return result.requires_grad_() if requires_grad else result


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros; float32 unless dtype is given."""
    return full(_shape_of(size), 0, dtype or "float32", device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones; float32 unless dtype is given."""
    return full(_shape_of(size), 1, dtype or "float32", device, requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Memory as it comes: fill it before reading."""
    backend = backends.load(device)
    shape = _shape_of(size)
    if any(not isinstance(extent, (int, np.integer)) or extent < 0 for extent in shape):
        raise ValueError(f"a shape must consist of whole numbers >= 0, got {shape}")
    raw = to_numpy_dtype(dtype or "float32")
    return _leaf(backend.empty(shape, raw), backend, requires_grad)


def _like(x: Tensor, dtype: Any, device: Any) -> dict[str, Any]:
    return {
        "dtype": x.array.dtype if dtype is None else dtype,
        "device": x.backend if device is None else device,
    }


def zeros_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros with x's shape, number type and device."""
    return zeros(tuple(x.shape), **_like(x, dtype, device), requires_grad=requires_grad)


def ones_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones with x's shape, number type and device."""
    return ones(tuple(x.shape), **_like(x, dtype, device), requires_grad=requires_grad)


def empty_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Memory as it comes, with x's shape, number type and device."""
    return empty(tuple(x.shape), **_like(x, dtype, device), requires_grad=requires_grad)


def full_like(x: Tensor, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere, with x's shape, number type and device."""
    return full(tuple(x.shape), fill_value, **_like(x, dtype, device), requires_grad=requires_grad)


def arange(start: Any, end: Any = None, step: Any = 1, dtype: Any = None, device: Any = None) -> Tensor:
    """start, start + step, ... below end; ``arange(n)`` counts from 0. int64 for whole numbers, else float32."""
    if end is None:
        start, end = 0, start
    if step == 0 or not all(math.isfinite(v) for v in (start, end, step)):
        raise ValueError(f"arange: needs finite bounds and a step that is not 0, got {start}, {end}, {step}")
    whole = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    raw = to_numpy_dtype(dtype or ("int64" if whole else "float32"))
    return _from_host(np.arange(start, end, step).astype(raw), device)


def linspace(start: float, end: float, steps: int, dtype: Any = None, device: Any = None) -> Tensor:
    """``steps`` values at equal distances from start to end, both included."""
    return _from_host(np.linspace(start, end, steps, dtype=to_numpy_dtype(dtype or "float32")), device)


def eye(n: int, m: int | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """The n x m identity matrix."""
    return _from_host(np.eye(n, m, dtype=to_numpy_dtype(dtype or "float32")), device)


def one_hot(labels: Tensor, num_classes: int = -1) -> Tensor:
    """int64 rows with a single 1 at each label."""
    raw, xp = labels.array, labels.backend.xp
    if raw.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels must be integers, got {labels.dtype}")
    classes = int(raw.max()) + 1 if num_classes == -1 else num_classes
    if raw.size and (raw.min() < 0 or raw.max() >= classes):
        raise ValueError(f"one_hot: labels must lie in 0..{classes - 1}, got {raw.min()}..{raw.max()}")
    return Tensor((raw[..., None] == xp.arange(classes)).astype(np.int64), labels.backend)


def is_tensor(x: Any) -> bool:
    """Whether x is a Tensor."""
    return isinstance(x, Tensor)


def to_text(x: Tensor) -> str:
    """``tensor([...])`` as PyTorch prints it: four decimals, the number type where it is not the usual one."""
    values = x.backend.to_host(x.array)
    values = values.astype(np.float64) if values.dtype == np.float32 else values
    is_whole = values.dtype.kind != "f" or bool(np.all(values == np.trunc(values), where=np.isfinite(values)))
    body = np.array2string(
        values,
        precision=4,
        floatmode="maxprec" if is_whole else "fixed",
        separator=", ",
        prefix="tensor(",
        threshold=1000,
        edgeitems=3,
    )
    notes = []
    if x.array.dtype not in (np.float32, np.int64, np.bool_):
        notes.append(f"dtype={x.dtype!r}")
    if x.backend.name != "cpu":
        notes.append(f"device='{x.device}'")
    if x._node is not None:
        notes.append(f"grad_fn={x._node!r}")
    elif x.requires_grad:
        notes.append("requires_grad=True")
    return f"tensor({', '.join([body, *notes])})"
