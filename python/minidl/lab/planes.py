"""Small data sets that fit into a picture: points of the plane in two or more classes, and a noisy sine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minidl import ops
from minidl.generator import Generator

Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Plane:
    """Points x (count, 2) with their classes y (count,), int64; for the sine x (count, 1) and y (count, 1), float32."""

    x: Points
    y: npt.NDArray[np.int64] | Points


def moons(count: int, noise: float, generator: Generator) -> Plane:
    """Two half circles that reach into each other, with t uniform in [0, pi].

    Class 0 is (cos t, sin t), class 1 is (1 - cos t, 1/2 - sin t), moved so that the middle is (0, 0).
    """
    label, t = _labels(count, 2), math.pi * _uniform(count, generator)
    x = np.where(label == 0, np.cos(t), 1 - np.cos(t)) - 0.5
    y = np.where(label == 0, np.sin(t), 0.5 - np.sin(t)) - 0.25
    return _scattered(x, y, label, noise, generator)


def circles(count: int, noise: float, generator: Generator) -> Plane:
    """Two circles about (0, 0): class 0 has the radius 1, class 1 the radius 1/2; the angle is uniform."""
    label, t = _labels(count, 2), 2 * math.pi * _uniform(count, generator)
    radius = np.where(label == 0, 1.0, 0.5)
    return _scattered(radius * np.cos(t), radius * np.sin(t), label, noise, generator)


def xor(count: int, noise: float, generator: Generator) -> Plane:
    """The corners (-1, -1), (1, 1) are class 0, (-1, 1) and (1, -1) class 1: whether the signs differ.

    >>> xor(4, 0.0, Generator().manual_seed(0)).x.tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0]]
    """
    label, corner = _labels(count, 2), np.arange(count) // 2 % 2
    x = np.where(corner == 0, -1.0, 1.0)
    return _scattered(x, np.where(label == 0, x, -x), label, noise, generator)


def spirals(count: int, noise: float, generator: Generator, arms: int = 2) -> Plane:
    """Arms of one turn: arm k has the radius r, uniform in [0.1, 1], at the angle 2 pi (r + k / arms)."""
    label, r = _labels(count, arms), 0.1 + 0.9 * _uniform(count, generator)
    t = 2 * math.pi * (r + label / arms)
    return _scattered(r * np.cos(t), r * np.sin(t), label, noise, generator)


def blobs(count: int, noise: float, generator: Generator, classes: int = 3) -> Plane:
    """Normal clouds around points of the circle of radius 1: class k at the angle 2 pi k / classes."""
    label = _labels(count, classes)
    t = 2 * math.pi * label / classes
    return _scattered(np.cos(t), np.sin(t), label, noise, generator)


def sine(count: int, noise: float, generator: Generator) -> Plane:
    """For regression: y = sin(pi x) + noise, with x uniform in [-1, 1]."""
    x = 2 * _uniform(count, generator) - 1
    y = np.sin(math.pi * x) + noise * _normal(count, 1, generator)[:, 0]
    return Plane(x[:, None].astype(np.float32), y[:, None].astype(np.float32))


def two_blobs(count: int, noise: float, generator: Generator) -> Plane:
    """`blobs` of two classes, which a straight line separates where the noise is small."""
    return blobs(count, noise, generator, classes=2)


# Those of two classes, by the names under which experiments know them.
BINARY: dict[str, Callable[[int, float, Generator], Plane]] = {
    "blobs": two_blobs,
    "xor": xor,
    "moons": moons,
    "circles": circles,
    "spirals": spirals,
}


def _labels(count: int, classes: int) -> npt.NDArray[np.int64]:
    """0, 1, ..., classes - 1, 0, 1, ...: as many of each, up to one."""
    return np.arange(count, dtype=np.int64) % classes


def _uniform(count: int, generator: Generator) -> npt.NDArray[np.float64]:
    return ops.rand(count, generator=generator).numpy().astype(np.float64)


def _normal(count: int, columns: int, generator: Generator) -> npt.NDArray[np.float64]:
    return ops.randn(count, columns, generator=generator).numpy().astype(np.float64)


def _scattered(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    label: npt.NDArray[np.int64],
    noise: float,
    generator: Generator,
) -> Plane:
    """Points with normal noise of this standard deviation added to both coordinates."""
    points = np.stack([x, y], 1) + noise * _normal(len(x), 2, generator)
    return Plane(points.astype(np.float32), label)
