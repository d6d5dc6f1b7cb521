"""What a benchmark of one kernel is: shapes, work counted, and the same thing said in NumPy and in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from minidl.selftest import CHECKS
from minidl.selftest.check import Call, Inputs


class Operand(NamedTuple):
    """An array of a call. Of an optimizer's group each parameter is one: (rows, size), with the parameter, its gradient
    and the states as rows."""

    shape: tuple[int, ...]
    itemsize: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize


Operands = Sequence[Operand]
Count = Callable[[Operands], float]


class Cost(NamedTuple):
    """Floating-point operations of a call, and the bytes that it moves if nothing is moved twice."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Row:
    """One kernel's row.

    Args:
        kernel: its name in kernels.def.
        shapes: what the kernel's self-test check is called with, by size: "cache" (well under 1 MiB) and "memory".
        flops: operations for each element of the largest array, or a function of the operands. A division, a square
            root and an elementary function count as one each, a comparison as none.
        numpy, torch: expressions in the kernel's parameter names, in the order of its outputs; empty where the library
            has nothing alike. They write to the arrays that they are given where the library can.
        rewritten: the operands that are moved twice: read and written, or read for their sums and then again.
        traffic: the bytes, where they are not simply those of all operands.
        check: which of the kernel's checks makes the call.
        is_random: whether outputs of different libraries cannot be compared.
        setup: statements that run before the expression is timed, by library.
    """

    kernel: str
    shapes: Mapping[str, Sequence[Any]]
    flops: float | Count
    numpy: str = ""
    torch: str = ""
    rewritten: tuple[int, ...] = ()
    traffic: Count | None = None
    check: int = 0
    is_random: bool = False
    setup: Mapping[str, str] = field(default_factory=dict)

    def expression(self, library: str) -> str:
        """What another library is to compute, empty where it cannot."""
        return {"numpy": self.numpy, "torch": self.torch}[library]

    def cost(self, operands: Operands) -> Cost:
        """The work of a call with such operands."""
        largest = max(operand.size for operand in operands)
        flops = self.flops(operands) if callable(self.flops) else self.flops * largest
        if self.traffic is not None:
            return Cost(flops, self.traffic(operands))
        again = sum(operands[i].nbytes for i in self.rewritten if i < len(operands))
        return Cost(flops, sum(operand.nbytes for operand in operands) + again)

    def call(self, shape: Any, dtype: str) -> Call:
        """The kernel's arguments at a shape, and what must stand in its outputs."""
        calls: Iterator[Call] = iter(CHECKS[self.kernel][self.check](Inputs(dtype, only=shape)))
        return next(islice(calls, 1))


def operands_of(arguments: Sequence[Any]) -> list[Operand]:
    """The operands of a call, as the profile of a captured step names them."""
    operands: list[Operand] = []
    lists = [argument for argument in arguments if isinstance(argument, list)]
    if lists:
        kept_states = sum(bool(state) for state in lists[2]) if len(lists) > 2 else 0
        operands += [Operand((2 + kept_states, array.size), array.itemsize) for array in lists[0]]
    arrays = (argument for argument in arguments if isinstance(argument, np.ndarray))
    return operands + [Operand(array.shape, array.itemsize) for array in arrays]


# ---- shapes that several families use

# 128 KiB of float32, the activations of a layer with 256 units at batch 128; and 48 MiB, beyond any cache here.
CACHE_SIZE, MEMORY_SIZE = 128 * 256, 12 << 20
ELEMENTS: Mapping[str, Sequence[Any]] = {"cache": (CACHE_SIZE,), "memory": (MEMORY_SIZE,)}
ROWS_AND_COLUMNS: Mapping[str, Sequence[Any]] = {"cache": ((128, 256),), "memory": ((MEMORY_SIZE // 256, 256),)}
