"""Kernels that memory bounds, on arrays of 1 GiB, as a part of the copy rate; PyTorch beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from gpu.contest import Contender, contest
from gpu.environment import copied_bytes_per_second
from gpu.log import Figures
from gpu.session import Case, Context, Options, Section
from gpu.work import COLUMNS, WORKS, Arguments, Work
from minidl.bench import ROWS
from minidl.bench.measure import parameter_names
from minidl.bench.row import operands_of

ELEMENTS = 1 << 28
# Two sets of arrays for each of two libraries; an optimizer has four arrays of the largest size, PyTorch's two more.
SETS, LARGEST_ARRAYS = 2, 20


def stream(context: Context, name: str, elements: int = ELEMENTS) -> Figures:
    """One kernel on two sets of arrays in turn, and PyTorch on two sets of its own."""
    gpu, torch, work = context.gpu, context.torch, WORKS[name]
    # Whole rows; a card with less memory gets smaller arrays, and the row says so.
    elements = min(elements, int(0.8 * gpu.free_bytes(torch)) // (4 * LARGEST_ARRAYS)) // COLUMNS * COLUMNS
    own = [work.make(gpu, elements) for _ in range(SETS)]

    def theirs() -> Contender:
        return _theirs(gpu, torch, work, [work.make(gpu, elements) for _ in range(SETS)])

    others = {} if torch is None else {"PyTorch": theirs}
    moved = moved_bytes(work, own[0])
    timed = contest([_ours(gpu, work, own)], gpu.seconds, context.plan, others)
    figures = {**timed, "bytes": moved, "elements": elements}
    rate = copied_bytes_per_second(context)
    if rate and "timings" in figures:
        figures["of_copy_rate"] = moved / figures["timings"]["minidl"]["median"] / rate
    return figures


def moved_bytes(work: Work, arguments: Arguments) -> float:
    """What the kernel has to read and write, counted as `minidl bench` counts it: batch norm reads x twice."""
    return ROWS[work.kernel].cost(operands_of([_stand_in(value) for value in _ordered(work, arguments)])).bytes


def _stand_in(value: Any) -> Any:
    """NumPy arrays of the same shapes that have no memory."""
    if isinstance(value, list):
        return [_stand_in(item) for item in value]
    return np.broadcast_to(np.empty((), value.dtype), value.shape) if hasattr(value, "dtype") else value


def _ordered(work: Work, arguments: Arguments) -> list[Any]:
    return [arguments[name] for name in parameter_names(work.kernel) if name in arguments]


def _ours(gpu: Any, work: Work, sets: Sequence[Arguments]) -> Contender:
    kernel, wanted = getattr(gpu.kernels, work.kernel), work.wanted(gpu, sets[0])
    calls = [partial(kernel, *_ordered(work, arguments)) for arguments in sets]
    written = sets[0][work.output]
    array = written[0] if isinstance(written, list) else written
    return Contender(
        "minidl", calls, lambda: gpu.host(array[: len(wanted)]), wanted, work.epsilons, _scale(work, sets[0])
    )


def _theirs(gpu: Any, torch: Any, work: Work, sets: Sequence[Arguments]) -> Contender:
    """The expression that `minidl bench` has for the kernel, on the same kind of arrays."""
    wanted = work.wanted(gpu, sets[0])
    calls = [_torch_call(gpu, torch, work, arguments) for arguments in sets]
    result: list[Any] = []  # of calls[0]; the next call replaces it, so that no call takes new memory for long

    def first() -> None:
        result[:] = [calls[0]()]

    def sample() -> Any:
        tensor = result[0]
        while isinstance(tensor, list | tuple):
            tensor = tensor[0]
        out = tensor[: len(wanted)].detach().cpu().numpy()
        return _with_zeros_as(wanted, out) if work.is_random else out

    return Contender("PyTorch", [first, *calls[1:]], sample, wanted, work.epsilons, _scale(work, sets[0]))


def _torch_call(gpu: Any, torch: ModuleType, work: Work, arguments: Arguments) -> Callable[[], Any]:
    def viewed(value: Any) -> Any:
        if isinstance(value, list):
            return [viewed(item) for item in value]
        return gpu.view_in_torch(torch, value) if hasattr(value, "dtype") else value

    row = ROWS[work.kernel]
    namespace = {"torch": torch, **{name: viewed(value) for name, value in arguments.items()}}
    exec(row.setup.get("torch", ""), namespace)
    call: Callable[[], Any] = eval(f"lambda: {row.torch}", namespace)
    return call


def _with_zeros_as(wanted: Any, out: Any) -> Any:
    """Another library drops other elements: half of either is 0, and what both keep must be the same.

    ValueError where it is not about half.
    """
    if not 0.45 < np.mean(out == 0) < 0.55:
        raise ValueError(f"{np.mean(out == 0):.1%} of the elements were dropped instead of half")
    return np.where((out == 0) | (wanted == 0), wanted, out)


def _scale(work: Work, arguments: Arguments) -> float:
    """The size of a result: a sum of n numbers around 0 is about sqrt(n)."""
    return float(np.sqrt(arguments["x"].shape[1])) if work.kernel == "sum_forward" else 1.0


def cases(options: Options) -> list[Case]:
    return [Case(f"{name}, 1 GiB arrays", partial(stream, name=name)) for name in WORKS]


SECTION = Section("memory-bound kernels", 55, cases)
