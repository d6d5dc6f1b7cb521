"""What `bench/gpu` asks of a GPU, by the emulated kernels and the host's clock, so that its rows run without one."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import device_arrays
from gpu.device import Gpu
from minidl import backends


class HostGpu(Gpu):
    """A Gpu for the fixture `cuda` and for PyTorch on the CPU; work that it records just runs again."""

    torch_device = "cpu"

    def __init__(self, backend: backends.Backend) -> None:
        self.backend = backend
        self.kernels = backend.kernels
        self.multiprocessors = 4
        self.cupy = SimpleNamespace(matmul=device_arrays.xp.matmul, __version__="none")

    def seconds(self, work: Callable[[], object]) -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    def recorded(self, work: Callable[[], object]) -> Callable[[], object]:
        work()
        return work

    def recorded_by_torch(self, torch: ModuleType, work: Callable[[], object]) -> Callable[[], object]:
        for _ in range(3):
            work()
        return work

    def view_in_torch(self, torch: ModuleType, array: Any) -> Any:
        return torch.from_numpy(array.view(np.ndarray))

    def copy(self, source: Any, target: Any) -> None:
        target[...] = source

    def meet_at_barriers(self, counter: Any, count: int) -> None:
        counter.view(np.ndarray)[...] += self.multiprocessors * count
        time.sleep(2e-6 * count)

    def free_bytes(self, torch: ModuleType | None) -> int:
        return 1 << 30
