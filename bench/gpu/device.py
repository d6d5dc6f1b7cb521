"""The GPU as the sections use it: CUDA events, graphs, random arrays, PyTorch's view of an array."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

import minidl
from minidl import backends

Work = Callable[[], object]

# All blocks count up and wait until all have, again and again; they must run at the same time.
BARRIER_SOURCE = r"""
extern "C" __global__ void barriers(unsigned long long* arrivals, unsigned long long before, int count) {
  for (int barrier = 1; barrier <= count; ++barrier) {
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      atomicAdd(arrivals, 1ull);
      const unsigned long long all = before + barrier * (unsigned long long)gridDim.x;
      while (*(volatile unsigned long long*)arrivals < all) {
      }
      __threadfence();
    }
    __syncthreads();
  }
}
"""


class Gpu:
    """Times by events on CuPy's default stream, which is the default stream of PyTorch and minidl too."""

    torch_device = "cuda"

    def __init__(self) -> None:
        self.backend = backends.load("cuda")
        self.kernels = self.backend.kernels
        self.cupy = importlib.import_module("cupy")
        self.streams: list[Any] = []
        self.multiprocessors = int(self.cupy.cuda.Device().attributes["MultiProcessorCount"])
        self.barriers = self.cupy.RawKernel(BARRIER_SOURCE, "barriers", enable_cooperative_groups=True)

    def seconds(self, work: Work) -> float:
        """Seconds between an event before and an event after all that `work` queues."""
        cuda = self.cupy.cuda
        begin, end = cuda.Event(), cuda.Event()
        begin.record()
        work()
        end.record()
        end.synchronize()
        return float(cuda.get_elapsed_time(begin, end)) * 1e-3

    def synchronize(self) -> None:
        self.backend.synchronize()

    def recorded(self, work: Work) -> Work:
        """What launches a CUDA graph of the kernels that `work` queues; it runs once before, to have its memory."""
        stream = self.cupy.cuda.Stream(non_blocking=True)
        self.synchronize()
        with stream:
            work()
            stream.synchronize()
            stream.begin_capture()
            work()
            graph = stream.end_capture()

        def launch() -> None:
            graph.launch(self.cupy.cuda.Stream.null)

        # minidl keeps scratch memory for the stream: another one must not get its handle while the graph is in use.
        self.streams.append(stream)
        return launch

    def recorded_by_torch(self, torch: ModuleType, work: Work) -> Work:
        """The same by PyTorch, for work of its own, which is run three times before as its manual asks."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay  # type: ignore[no-any-return]

    def normal(self, *shape: int) -> Any:
        """Random numbers of minidl's generator, drawn on the GPU."""
        return minidl.randn(*shape, device="cuda").array

    def zeros(self, *shape: int, dtype: Any = minidl.float32) -> Any:
        return minidl.zeros(*shape, dtype=dtype, device="cuda").array

    def array(self, values: Any) -> Any:
        """A NumPy array on the GPU."""
        return self.backend.from_host(values)

    def host(self, array: Any) -> Any:
        """An array as NumPy's."""
        return self.backend.to_host(array)

    def view_in_torch(self, torch: ModuleType, array: Any) -> Any:
        """The same memory as a tensor of PyTorch."""
        return torch.as_tensor(array, device=self.torch_device)

    def copy(self, source: Any, target: Any) -> None:
        """The driver's own copy, which the memory-bound kernels are compared with."""
        target.data.copy_from_device_async(source.data, source.nbytes, self.cupy.cuda.get_current_stream())

    def meet_at_barriers(self, counter: Any, count: int) -> None:
        """A block on each multiprocessor waits for all others so many times; each counts up every time."""
        blocks = self.multiprocessors
        before = int(self.host(counter)[0])
        self.barriers((blocks,), (256,), (counter, np.uint64(before), np.int32(count)))

    def free_bytes(self, torch: ModuleType | None) -> int:
        """Bytes of memory left, once CuPy and PyTorch have returned what they keep for arrays to come."""
        gc.collect()  # PyTorch's optimizers refer to themselves
        if torch is not None:
            torch.cuda.empty_cache()
        self.kernels.release_pool()
        return int(self.kernels.memory_bytes()[0])


def torch_with_gpu() -> ModuleType | None:
    """PyTorch, or None where it is not installed or finds no GPU."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.set_grad_enabled(True)
    torch.set_float32_matmul_precision("highest")
    return torch
