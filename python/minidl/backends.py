"""A back end: an array library, the kernels for its arrays, and the one allocator of their outputs."""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

import minidl._cpu as _cpu
from minidl import changes
from minidl.dtypes import device


class Backend:
    """What tensors of one kind of device need: ``xp`` (NumPy or CuPy) and ``kernels`` (arrays in, arrays out)."""

    __slots__ = ("activations", "device", "empty", "kernels", "name", "reductions", "xp")

    def __init__(self, name: str, xp: ModuleType, kernels: Any) -> None:
        self.name = name
        self.xp = xp
        self.kernels = kernels
        self.empty = kernels.empty  # (shape, dtype) -> uninitialised array in pooled, 64-byte aligned memory
        self.activations = {
            None if name == "none" else name: kind for name, kind in kernels.Activation.__members__.items()
        }
        self.reductions = dict(kernels.Reduction.__members__)
        self.device = device(name)

    def from_host(self, array: Any) -> Any:
        """A NumPy array as an array of this back end; on the CPU the same one."""
        return array

    def to_host(self, array: Any) -> Any:
        """An array of this back end as a NumPy array; on the CPU the same one."""
        return array

    def write(self, array: Any, values: Sequence[float]) -> None:
        """Replaces the elements of a small array, behind the work that has been started."""
        array[...] = values

    def synchronize(self) -> None:
        """Waits until all work that has been started is done."""

    def contiguous(self, array: Any) -> Any:
        """The array itself if it is C-contiguous, else a copy that is."""
        if array.flags.c_contiguous:
            return array
        if array.dtype.kind != "f":
            return self.xp.ascontiguousarray(array)
        out = self.empty(array.shape, array.dtype)
        self.kernels.copy_strided(array, out)
        return out

    def __repr__(self) -> str:
        return f"Backend({self.name!r})"

    def __reduce__(self) -> Any:
        return load, (self.name,)  # copies and pickles are the one back end of the process


class CudaBackend(Backend):
    """Arrays in the memory of a GPU: what crosses over to the host is copied."""

    def from_host(self, array: Any) -> Any:
        out = self.empty(array.shape, array.dtype)
        out.set(np.ascontiguousarray(array).reshape(array.shape))
        return out

    def to_host(self, array: Any) -> Any:
        return array.get()

    def write(self, array: Any, values: Sequence[float]) -> None:
        if array.dtype == np.float64:  # what a scheduler changes at every step
            self.kernels.write(array, values)
        else:
            array.set(np.array(values, array.dtype).reshape(array.shape))

    def synchronize(self) -> None:
        self.kernels.synchronize()


def _configure_from_environment() -> None:
    isa = os.environ.get("MINIDL_CPU_ISA")
    if isa:
        try:
            _cpu.set_isa(isa)
        except ValueError as error:
            raise ValueError(f"MINIDL_CPU_ISA: {error}") from None
    threads = os.environ.get("MINIDL_NUM_THREADS")
    if threads:
        if not threads.isdigit() or int(threads) < 1:
            raise ValueError(f"MINIDL_NUM_THREADS must be a whole number of at least 1; got {threads!r}")
        _cpu.set_thread_count(int(threads))
    elif hasattr(os, "sched_getaffinity"):
        _cpu.set_thread_count(len(os.sched_getaffinity(0)))


_configure_from_environment()
cpu = Backend("cpu", np, _cpu)
cuda: Backend | None = None  # once it has been loaded
_loading = threading.RLock()


def loaded() -> list[Backend]:
    """The back ends that tensors may live on so far."""
    return [cpu] if cuda is None else [cpu, cuda]


def owner(data: Any) -> Backend | None:
    """The back end whose array ``data`` is, or None for anything else."""
    if type(data).__module__.partition(".")[0] == "cupy":
        load("cuda")
    return next((backend for backend in reversed(loaded()) if isinstance(data, backend.xp.ndarray)), None)


def load(wanted: str | device | Backend | None) -> Backend:
    """The back end of a device name. ValueError for an unknown name, ImportError where the device cannot be used."""
    if wanted is None:
        return cpu
    if isinstance(wanted, Backend):
        return wanted
    return (cuda or _load_cuda()) if _is_cuda(wanted) else cpu


def require(wanted: str | device) -> None:
    """Raises what ``load`` would, without importing CuPy, which takes half a second."""
    if _is_cuda(wanted):
        _require_cuda()


def start_driver(wanted: str | device) -> None:
    """Has the driver of a device get ready, which takes as long again, without importing CuPy."""
    if _is_cuda(wanted):
        cuda_module().synchronize()


def _is_cuda(wanted: str | device) -> bool:
    where = wanted if isinstance(wanted, device) else device(wanted)
    if where.type == "cuda" and where.index:
        raise ValueError(
            f"device '{where}': minidl uses one GPU, cuda:0; CUDA_VISIBLE_DEVICES={where.index} makes it the other one"
        )
    return where.type == "cuda"


def _require_cuda() -> None:
    reason = why_no_cuda()
    if reason:
        raise ImportError(f"device 'cuda' cannot be used: {reason}; devices that exist: cpu")


def _load_cuda() -> Backend:
    global cuda
    with _loading:  # a thread may load it while the program does other things
        if cuda is None:
            _require_cuda()
            cuda = CudaBackend("cuda", importlib.import_module("cupy"), cuda_module())
            _apply_matmul_precision()
    return cuda


def cuda_module() -> Any:
    """The CUDA module, or None where this build has none."""
    if cuda is not None:
        return cuda.kernels
    try:
        return importlib.import_module("minidl._cuda")
    except ImportError:
        return None


def why_no_cuda() -> str:
    """What is missing for device "cuda" - the build, a driver, a GPU or CuPy - and what to do; empty if nothing is."""
    if cuda is not None:
        return ""
    module = cuda_module()
    if module is None:
        return "this build of minidl has no CUDA module; build it where the CUDA toolkit (nvcc) is installed"
    reason = str(module.why_unusable())
    if not reason and importlib.util.find_spec("cupy") is None:
        return "CuPy, which holds the arrays on the GPU, is not installed: pip install 'cupy-cuda13x[ctk]'"
    return reason


# As in PyTorch. A product of float32 matrices may do with less than float32 where the name is "medium".
MATMUL_PRECISIONS = ("highest", "high", "medium")
# Into how many bfloat16 numbers they let the CPU take a factor apart.
BFLOAT16_PIECES = {"high": 2, "medium": 1}
_matmul_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Says how exact float32 matrix products have to be: "highest" (the default), "high" or "medium".

    "highest" computes in float32. The others let a product round its factors, and add up in float32, where that is
    faster (`minidl info` says so for the CPU); elsewhere they change nothing. They concern matmul, linear and their
    gradients where they are large enough to gain by it, in a captured step from its next call on; not biases,
    activations, optimizers and float64. Results do not depend on the number of threads.

    ======== =========================================== ==================================== =======================
    name     where                                       a factor becomes                     error over sum |a||b|
    ======== =========================================== ==================================== =======================
    "high"   CPUs with AMX, in about half the time       the sum of two bfloat16 numbers      2^-14 + k 2^-22
    "high"   GPUs from compute capability 8.0 on         TF32: 11 bits, ties away from zero   2^-10 + 2^-22 + k 2^-23
    "medium" CPUs with AMX, in a fifth to a half of the  bfloat16: 8 bits, ties to even       2^-7 + 2^-16 + k 2^-23
             time, or AMD's AVX512-BF16, in about half;
             GPUs from compute capability 8.0 on
    ======== =========================================== ==================================== =======================

    The last column bounds the error of a sum over k products. Of two bfloat16 numbers a factor's second one is what the
    first leaves, rounded: together they are off by 2^-16 of it at most, and the product of the second ones, another
    2^-16, is left out. AMX and AVX512-BF16 come with the kernels for avx512.

    nan and infinity go through. Factors beyond 3.39e38, which none of these types can hold, become infinite. On the
    CPU, factors and sums below 1.18e-38 (denormal numbers) count as zero; of two numbers a factor, infinity gives nan.

    Raises ValueError for another name.

    >>> import minidl
    >>> minidl.set_float32_matmul_precision("medium")
    >>> minidl.get_float32_matmul_precision()
    'medium'
    >>> minidl.set_float32_matmul_precision("highest")
    """
    if precision not in MATMUL_PRECISIONS:
        known = ", ".join(MATMUL_PRECISIONS)
        raise ValueError(f"set_float32_matmul_precision(): precision must be one of {known}, got {precision!r}")
    global _matmul_precision
    _matmul_precision = precision
    _apply_matmul_precision()


def _apply_matmul_precision() -> None:
    pieces = BFLOAT16_PIECES.get(_matmul_precision)
    if pieces is None:
        _cpu.set_bfloat16("none")
    else:
        _cpu.set_bfloat16(_cpu.fastest_bfloat16(pieces), pieces)
    if cuda is not None:
        cuda.kernels.set_allows_bfloat16(_matmul_precision == "medium")
        cuda.kernels.set_allows_tf32(_matmul_precision == "high")
        changes.setting_changed()  # a CUDA graph holds the kernels that were chosen when it was recorded


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision was given last, "highest" at first."""
    return _matmul_precision


def set_num_threads(threads: int) -> None:
    """Sets how many threads a CPU kernel may use. Results do not depend on it."""
    _cpu.set_thread_count(threads)


def get_num_threads() -> int:
    """How many threads a CPU kernel may use."""
    return _cpu.thread_count()
