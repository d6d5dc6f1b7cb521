"""ONE ROW PER OP: its reference in NumPy float64, the shapes, and how exact it must be; test_ops.py judges each row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Array = np.ndarray

# Nothing, one, primes, each vector width (2 to 16) with its neighbours, several dimensions, enough for two threads.
ODD_SHAPES: list[Shape] = [(), (0,), (3, 0), (1,), (2,), (3,), (5,), (7,), (8,), (9,), (15,), (16,), (17,), (31,)]
ODD_SHAPES += [(33,), (63,), (65,), (127,), (1009,), (3, 5), (2, 3, 7), (1, 1, 13, 1), (67, 1013)]


@dataclass(frozen=True)
class OpCase:
    """One op, or one variant of it.

    Inputs are evenly spread, shuffled and distinct over `domain`, at least 0.01 away from every kink, and exact in
    float32. Where that does not fit, `inputs(random, *shapes)` makes the arrays; those that are not floating (labels,
    masks) reach the op as they are.

    Tolerances are in machine epsilons of the dtype tested, relative to the expected value - or to `magnitude(*inputs)`,
    the size of the terms that are summed, for ops that add up numbers of either sign.
    """

    op: Callable[..., Any]
    reference: Callable[..., Any]  # the same in NumPy: float64 arrays in, array or tuple of arrays out
    shapes: Sequence[tuple[Shape, ...]] = ()  # one tuple per trial, with the shape of each input
    rtol: float = 0.5  # forward, epsilons; 0.5 is a correctly rounded result, 0 an exact one
    grad_rtol: float = 4.0  # float32 gradient against float64 gradient, epsilons
    reason: str = ""  # why not tighter; wanted wherever rtol > 0.5 or grad_rtol > 4
    domain: Sequence[float] | Sequence[Sequence[float]] = (-4.0, 4.0)  # (low, high), or one pair per input
    kinks: tuple[float, ...] = ()  # where the derivative jumps
    kwargs: dict[str, Any] = field(default_factory=dict)  # given to op and reference alike
    inputs: Callable[..., Sequence[Array]] | None = None
    magnitude: Callable[..., Array] | None = None
    elementwise: bool = False  # adds ODD_SHAPES and the extreme values
    extremes: bool = True  # False with a reason: nan, infinities and the like are somebody else's test
    differentiable: bool = True
    twice_differentiable: bool = True  # False: fused, no graph of the gradient
    name: str = ""  # first word: the op's name, for a lambda; then what is special ("sum over axis 0")

    def __str__(self) -> str:
        return self.name or self.op.__name__

    @property
    def op_name(self) -> str:
        return str(self).split()[0]

    def trials(self) -> list[tuple[Shape, ...]]:
        """The shapes of the inputs, trial by trial."""
        shapes = list(self.shapes)
        if self.elementwise:
            inputs = len(shapes[0]) if shapes else 1
            shapes += [(shape,) * inputs for shape in ODD_SHAPES]
        return shapes

    def small_trials(self) -> list[tuple[Shape, ...]]:
        """At most four trials, few enough elements for finite differences: distinct inputs stay well apart."""
        small = [shapes for shapes in self.trials() if 0 < max(int(np.prod(shape)) for shape in shapes) <= 400]
        return small if len(small) <= 4 else [*small[:2], *small[-2:]]

    def sample(self, shapes: tuple[Shape, ...], seed: int = 0) -> list[Array]:
        """Input arrays of float64 (or of whole numbers) for one trial."""
        random = np.random.default_rng(seed)
        if self.inputs is not None:
            return [round_to_float32(array) for array in self.inputs(random, *shapes)]
        domains = self.domain if isinstance(self.domain[0], Sequence) else [self.domain] * len(shapes)
        offsets = (np.arange(len(shapes)) + 0.5) / len(shapes)
        return [
            round_to_float32(spread(random, shape, *domain, offset, self.kinks))
            for shape, domain, offset in zip(shapes, domains, offsets, strict=True)
        ]


def spread(
    random: np.random.Generator,
    shape: Shape,
    low: float = -1.0,
    high: float = 1.0,
    offset: float = 0.5,
    kinks: Sequence[float] = (),
) -> Array:
    """Shuffled, evenly spaced values in (low, high); `offset` (0..1) places them between those of another input."""
    size = int(np.prod(shape))
    values = low + (high - low) * (random.permutation(size) + offset) / max(size, 1)
    for kink in kinks:
        values = np.where(np.abs(values - kink) < 0.01, kink + np.copysign(0.01, values - kink), values)
    return values.reshape(shape)


def round_to_float32(array: Array) -> Array:
    return array.astype(np.float32).astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array


# ---- elementwise
ELEMENTWISE: list[OpCase] = []

# ---- view
VIEW: list[OpCase] = []

# ---- activation
# OpCase(ops.relu, lambda x: np.maximum(x, 0), elementwise=True, rtol=0, grad_rtol=0, kinks=(0.0,)),
ACTIVATION: list[OpCase] = []

# ---- matmul
MATMUL: list[OpCase] = []

# ---- reduction
REDUCTION: list[OpCase] = []

# ---- softmax
SOFTMAX: list[OpCase] = []

# ---- loss
LOSS: list[OpCase] = []

# ---- normalization
NORMALIZATION: list[OpCase] = []

# ---- dropout, random
RANDOM: list[OpCase] = []

CASES = [*ELEMENTWISE, *VIEW, *ACTIVATION, *MATMUL, *REDUCTION, *SOFTMAX, *LOSS, *NORMALIZATION, *RANDOM]

# Ops that a row cannot say, with the test that covers each: "test_random.py::test_dropout_keeps_the_mean".
OPS_TESTED_ELSEWHERE: dict[str, str] = {}

# Kernels that no row reaches, forward or backward, with the test that covers each.
KERNELS_TESTED_ELSEWHERE: dict[str, str] = {}
