"""The kernels of a GPU for NumPy arrays, so that what checks a kernel on the CPU checks it on a GPU unchanged."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np


class CopyingKernels:
    """The kernels of a GPU for NumPy arrays: copied there, and back after the call. Views keep their strides."""

    def __init__(self, kernels: Any) -> None:
        self._kernels = kernels
        self._xp = importlib.import_module("cupy")

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._kernels, name)
        return self._copying(attribute) if name in self._kernels.kernel_names else attribute

    def empty(self, shape: Any, dtype: Any) -> Any:
        out = np.empty(shape, dtype)
        out.view(np.uint8).fill(0xFF) if out.ndim else out.fill(0)
        return out

    def _copying(self, kernel: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> None:
            copies: dict[int, tuple[Any, Any]] = {}
            placed = [self._placed(argument, copies) for argument in arguments]
            kernel(*placed, **{name: self._placed(value, copies) for name, value in options.items()})
            for host, device in copies.values():
                if host.flags.writeable:
                    host[...] = device.get()

        return call

    def _placed(self, argument: Any, copies: dict[int, tuple[Any, Any]]) -> Any:
        if isinstance(argument, list):
            return [self._placed(item, copies) for item in argument]
        if not isinstance(argument, np.ndarray):
            return argument
        if id(argument) not in copies:
            copies[id(argument)] = argument, self._with_strides(argument)
        return copies[id(argument)][1]

    def _with_strides(self, array: Any) -> Any:
        """A copy on the GPU with the array's strides, as a view of the memory that it spans."""
        if array.size == 0 or array.flags.c_contiguous:
            return self._xp.asarray(array)
        low = sum(min(0, (n - 1) * s) for n, s in zip(array.shape, array.strides, strict=True))
        high = sum(max(0, (n - 1) * s) for n, s in zip(array.shape, array.strides, strict=True)) + array.itemsize
        memory = self._xp.zeros(high - low, np.uint8)
        pointer = self._xp.cuda.MemoryPointer(memory.data.mem, memory.data.ptr - memory.data.mem.ptr - low)
        view = self._xp.ndarray(array.shape, array.dtype, pointer, array.strides)
        view[...] = self._xp.asarray(np.ascontiguousarray(array))
        return view
