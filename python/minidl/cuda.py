"""What can be said of the GPUs of this machine, under the names of ``torch.cuda``."""

from __future__ import annotations

from typing import Any

from minidl import backends


def is_available() -> bool:
    """Whether tensors can live on a GPU: the build has CUDA kernels, and there are a driver and a GPU."""
    return backends.why_no_cuda() == ""


def device_count() -> int:
    """How many GPUs minidl can use."""
    module = backends.cuda_module()
    return len(module.device_names()) if module is not None and is_available() else 0


def get_device_name(device: int = 0) -> str:
    """The GPU's name."""
    _require_available("get_device_name")
    names: list[str] = backends.cuda_module().device_names()
    if not 0 <= device < len(names):
        raise ValueError(f"get_device_name: device must lie in 0..{len(names) - 1}, got {device}")
    return names[device]


def get_device_capability(device: int = 0) -> tuple[int, int]:
    """The GPU's compute capability, such as (9, 0)."""
    _require_available("get_device_capability")
    major, minor = backends.cuda_module().capability(device)
    return major, minor


def current_device() -> int:
    """The number of the GPU in use, always 0: CUDA_VISIBLE_DEVICES chooses which one that is."""
    _require_available("current_device")
    return 0


def synchronize(device: object = None) -> None:
    """Waits until the GPU has done all that it was asked for; an error of a kernel shows here at the latest."""
    _require_available("synchronize")
    backends.load("cuda").synchronize()


def memory_allocated(device: object = None) -> int:
    """Bytes that arrays occupy on the GPU."""
    _require_available("memory_allocated")
    return int(_module().pooled_bytes()[0])


def memory_reserved(device: object = None) -> int:
    """Bytes that arrays occupy on the GPU, and those kept for arrays to come."""
    _require_available("memory_reserved")
    return int(sum(_module().pooled_bytes()))


def mem_get_info(device: object = None) -> tuple[int, int]:
    """(free, total) bytes of the GPU's memory."""
    _require_available("mem_get_info")
    free, total = backends.cuda_module().memory_bytes()
    return free, total


def empty_cache() -> None:
    """Returns memory that is kept for arrays to come to the GPU; nothing where there is none."""
    if is_available():
        _module().release_pool()


def _module() -> Any:
    backends.load("cuda")
    return backends.cuda_module()


def _require_available(name: str) -> None:
    reason = backends.why_no_cuda()
    if reason:
        raise RuntimeError(f"{name}: no GPU can be used: {reason}")
