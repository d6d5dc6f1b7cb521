"""The choices that kernels take as a number, in the order of csrc/kernels.h."""

from __future__ import annotations

import enum


class Activation(enum.IntEnum):
    """What linear_forward applies to its result."""

    none = 0
    relu = 1
    sigmoid = 2
    tanh = 3


class Reduction(enum.IntEnum):
    """How a loss is reduced."""

    none = 0
    mean = 1
    sum = 2
