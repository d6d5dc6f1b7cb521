"""Surfaces over two weights, and the paths of optimizers on them: what a learning rate does, where it can be seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minidl import float64, ops

ESCAPED = 1e6  # a path ends where a coordinate has grown beyond this
Path = list[tuple[float, float]]


@dataclass(frozen=True)
class Surface:
    """A function of x and y, where paths start, where its minimum is, and the part that is drawn: x from, x to, y from,
    y to."""

    title: str
    value: Callable[[Any, Any], Any]
    start: tuple[float, float]
    minimum: tuple[float, float]
    window: tuple[float, float, float, float]


# The curvatures of the quadratic along x and y.
CURVATURES = (1.0, 25.0)
SURFACES = {
    "quadratic": Surface(
        "(x² + 25 y²) / 2",
        lambda x, y: (CURVATURES[0] * x * x + CURVATURES[1] * y * y) / 2,
        start=(-8.0, 1.6),
        minimum=(0.0, 0.0),
        window=(-9.5, 4.0, -2.6, 2.6),
    ),
    # Rosenbrock 1960
    "rosenbrock": Surface(
        "Rosenbrock: (1 - x)² + 100 (y - x²)²",
        lambda x, y: (1 - x) * (1 - x) + 100 * (y - x * x) * (y - x * x),
        start=(-1.2, 1.0),
        minimum=(1.0, 1.0),
        window=(-1.8, 1.6, -0.6, 2.2),
    ),
}
# Plain gradient descent on the quadratic: its error along an axis is multiplied by 1 - lr * curvature in every step.
RATES = {
    "crawling": 0.1 / CURVATURES[1],
    "best": 2 / (CURVATURES[0] + CURVATURES[1]),
    "diverging": 2.08 / CURVATURES[1],
}


def walk(surface: Surface, make_optimizer: Callable[[list[Any]], Any], steps: int) -> Path:
    """The points that an optimizer visits, its start first, in float64; fewer than `steps` + 1 where it escapes.

    >>> from minidl import optim
    >>> path = walk(SURFACES["quadratic"], lambda weights: optim.SGD(weights, lr=0.02), steps=2)
    >>> [(round(x, 4), round(y, 4)) for x, y in path]
    [(-8.0, 1.6), (-7.84, 0.8), (-7.6832, 0.4)]
    """
    weights = [ops.tensor(value, dtype=float64, requires_grad=True) for value in surface.start]
    optimizer = make_optimizer(weights)
    path: Path = [surface.start]
    for _ in range(steps):
        optimizer.zero_grad()
        surface.value(*weights).backward()
        optimizer.step()
        x, y = (weight.item() for weight in weights)
        if not (abs(x) < ESCAPED and abs(y) < ESCAPED):
            break
        path.append((x, y))
    return path


def predicted_contraction(lr: float) -> tuple[float, float]:
    """|1 - lr * curvature| along x and y: what plain gradient descent multiplies its error on the quadratic by.

    >>> predicted_contraction(0.08)
    (0.92, 1.0)
    """
    first, second = (abs(1 - lr * curvature) for curvature in CURVATURES)
    return first, second


def measured_contraction(path: Sequence[Sequence[float]]) -> tuple[float, float]:
    """(|last| / |first|)^(1 / steps) along x and y; 0 where the last is 0.

    >>> measured_contraction([(8.0, -1.0), (4.0, -1.5), (2.0, -2.25)])
    (0.5, 1.5)
    """
    steps = len(path) - 1
    first, second = ((abs(path[-1][axis]) / abs(path[0][axis])) ** (1 / steps) for axis in range(2))
    return first, second
