"""The CUDA back end under test, with and without a GPU.

`on_host_arrays` is a back end whose kernels take NumPy arrays, so that every test of a kernel or an op runs on it
unchanged. `DeviceArray` and `xp` stand in for CuPy where there is no GPU: arrays that mix with NumPy's no better than
CuPy's do, so that the Python path of the CUDA back end - moving, training, capturing - meets the same refusals.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from minidl import backends
from minidl.host_arrays import CopyingKernels
from requirements import is_required, missing


def _emulated_or_none() -> ModuleType | None:
    try:
        return importlib.import_module("minidl._cuda_emulated")
    except ImportError:
        return None


def available_targets() -> list[str]:
    """Which of `emulated` and `gpu` this checkout and machine have, or MINIDL_REQUIRE asks for."""
    targets = ["emulated"] if _emulated_or_none() is not None or is_required("cuda_emulated") else []
    return targets + (["gpu"] if not backends.why_no_cuda() or is_required("cuda") else [])


def what_is_missing() -> list[str]:
    """For the head of the test report."""
    lines = [] if _emulated_or_none() else ["no cuda:emulated: minidl._cuda_emulated is not built (README, Tests)"]
    return lines + ([f"no cuda:gpu: {backends.why_no_cuda()}"] if backends.why_no_cuda() else [])


def emulated_module() -> ModuleType:
    """The CUDA kernels compiled for the host."""
    return _emulated_or_none() or missing("cuda_emulated", "minidl._cuda_emulated is not built (README, Tests)")


def gpu_module() -> ModuleType:
    """The CUDA kernels on a real GPU."""
    reason = backends.why_no_cuda()
    if reason:
        missing("cuda", reason)
    return importlib.import_module("minidl._cuda")


def on_host_arrays(target: str) -> backends.Backend:
    """A back end of NumPy arrays with the kernels of `emulated`, where host memory is device memory, or `gpu`."""
    if target == "emulated":
        return backends.Backend("cpu", np, emulated_module())
    return backends.Backend("cpu", np, CopyingKernels(gpu_module()))


# ---- NumPy in CuPy's place


class DeviceArray(np.ndarray):
    """An array that NumPy's own do not mix with; what CuPy gives as an array without dimensions is one here."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        if out:
            options["out"] = tuple(_raw(array) for array in out)
        result = getattr(ufunc, method)(*(_raw(x) for x in inputs), **{k: _raw(v) for k, v in options.items()})
        return out[0] if out else _device(result)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return _device(function(*_raw(arguments), **_raw(options)))

    def __getitem__(self, index: Any) -> Any:
        return _device(self.view(np.ndarray)[_raw(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.view(np.ndarray)[_raw(index)] = _raw(value)

    def get(self) -> Any:
        return np.array(self.view(np.ndarray))

    def set(self, array: Any) -> None:
        if type(array) is not np.ndarray or array.shape != self.shape or array.dtype != self.dtype:
            raise TypeError("set: a numpy.ndarray of the same shape and dtype is wanted")
        self.view(np.ndarray)[...] = array


def _raw(value: Any) -> Any:
    if isinstance(value, DeviceArray):
        return value.view(np.ndarray)
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")  # CuPy's words
    if isinstance(value, list | tuple):
        return type(value)(_raw(item) for item in value)
    return {key: _raw(item) for key, item in value.items()} if isinstance(value, dict) else value


def _device(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value).view(DeviceArray)
    return type(value)(_device(item) for item in value) if isinstance(value, list | tuple) else value


class _DeviceLibrary(ModuleType):
    ndarray = DeviceArray

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(np, name)
        if isinstance(attribute, np.ufunc | type) or not callable(attribute):
            return attribute
        if name in ("asarray", "array", "ascontiguousarray"):
            return lambda value, *arguments, **options: _device(
                attribute(value.view(np.ndarray) if isinstance(value, DeviceArray) else value, *arguments, **options)
            )
        return lambda *arguments, **options: _device(attribute(*_raw(arguments), **_raw(options)))


xp = _DeviceLibrary("device_arrays.xp")


class CheckingKernels:
    """The emulated kernels for DeviceArray, and for nothing else."""

    def __init__(self, kernels: Any) -> None:
        self._kernels = kernels

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._kernels, name)
        if name not in (*self._kernels.kernel_names, "linear", "linear_gradients"):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            self._require_device(list(arguments) + list(options.values()))
            return _device(attribute(*arguments, **options))

        return call

    def empty(self, shape: Any, dtype: Any) -> Any:
        return self._kernels.empty(shape, dtype).view(DeviceArray)

    def _require_device(self, value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                self._require_device(item)
        elif isinstance(value, np.ndarray) and not isinstance(value, DeviceArray):
            raise TypeError("a kernel of the GPU takes cupy.ndarray, got numpy.ndarray")
