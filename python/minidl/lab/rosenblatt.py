"""One neuron with a threshold: Rosenblatt's learning rule, and the best that any such neuron can do."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Learned:
    """Weights and bias after the last pass, and how many points each pass over the data got wrong on the way."""

    weight: npt.NDArray[np.float64]
    bias: float
    mistakes: list[int]


def learn(x: npt.NDArray[Any], y: npt.NDArray[Any], passes: int) -> Learned:
    """Rosenblatt's rule (1958): w += t * x and b += t for every point that is on the wrong side, t = +1 or -1 by class.

    Ends after a pass without a mistake. Where some line separates the classes with the margin g on both sides, and all
    |x|, a 1 for the bias among its coordinates, are at most R, there are at most (R / g)^2 mistakes (Novikoff 1962).
    x is (count, inputs), y (count,) of 0 and 1.

    >>> learned = learn(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1]), passes=100)
    >>> learned.mistakes[-1]
    0
    """
    points = np.concatenate([x.astype(np.float64), np.ones((len(x), 1))], 1)
    sign = np.where(y == 1, 1.0, -1.0)
    weight = np.zeros(points.shape[1])
    mistakes = []
    for _ in range(passes):
        wrong = 0
        for point, wanted in zip(points, sign, strict=True):
            if wanted * (weight @ point) <= 0:
                weight += wanted * point
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return Learned(weight[:-1], float(weight[-1]), mistakes)


def best_line(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], float, float]:
    """(weight, bias, accuracy) of a line that gets most of the points (count, 2) right: class 1 where w x + b > 0.

    All ways in which a line can part the points are tried: seen along w, their order changes only where w is at right
    angles to the difference of two of them, so one direction from each gap between these is enough.

    >>> x = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    >>> best_line(x, np.array([0, 0, 1, 1]))[2], best_line(x, np.array([0, 1, 1, 1]))[2]
    (0.75, 1.0)
    """
    points, classes = x.astype(np.float64), y == 1
    differences = [b - a for a, b in itertools.combinations(points, 2)]
    turns = np.unique([np.arctan2(d[0], -d[1]) % np.pi for d in differences] or [0.0])
    middles = (turns + np.append(turns[1:], turns[0] + np.pi)) / 2
    share = float(classes.mean())
    best = (np.zeros(2), 1.0 if share >= 0.5 else -1.0, max(share, 1 - share))
    for angle in np.concatenate([middles, middles + np.pi]):
        weight = np.array([np.cos(angle), np.sin(angle)])
        along = points @ weight
        ordered = np.sort(along)
        for threshold in (ordered[1:] + ordered[:-1]) / 2:
            accuracy = float(((along > threshold) == classes).mean())
            if accuracy > best[2]:
                best = (weight, -float(threshold), accuracy)
    return best
