"""What can be said of the GPUs of this machine, under the names of ``torch.cuda``."""

from __future__ import annotations

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


def _require_available(name: str) -> None:
    reason = backends.why_no_cuda()
    if reason:
        raise RuntimeError(f"{name}: no GPU can be used: {reason}")
