"""Checks of what follows an optimizer's step: the soft threshold and the largest norm of a weight's rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.selftest.check import Call, Checks, Expected, Inputs, wide

SHAPES = ((37, 67), (5,), (3, 2, 129))


def _soft_threshold(inputs: Inputs) -> Iterator[Call]:
    shapes = next(iter(inputs.shapes((SHAPES,))))
    for lr, l1_decay in ((0.5, 0.75), (0.0, 1.0), (2.0, 100.0)):
        params = [inputs.normal(*shape) for shape in shapes]
        threshold = inputs.dtype.type(lr * l1_decay)
        wanted = [np.sign(w) * np.maximum(np.abs(w) - threshold, 0) for w in map(wide, params)]
        # An exact zero below the threshold; above it the difference is rounded once.
        expected = [Expected(param, w, 0.5, 1e-30) for param, w in zip(params, wanted, strict=True)]
        yield Call((params, np.array([lr, 0.9, 0.1]), l1_decay), tuple(expected))


def _limit_row_norms(inputs: Inputs) -> Iterator[Call]:
    shapes = [shape for shape in next(iter(inputs.shapes((SHAPES,)))) if len(shape) > 1]
    for max_norm in (8.0, 1e-3, 1e6):
        weights = [inputs.normal(*shape) for shape in shapes]
        weights[0][0] = 0
        expected = []
        for weight in weights:
            rows = wide(weight).reshape(len(weight), -1)
            norms = np.maximum(np.sqrt((rows * rows).sum(1, keepdims=True)), max_norm)
            expected.append(Expected(weight, (rows * (max_norm / norms)).reshape(weight.shape), 6, 1e-30))
        yield Call((weights, max_norm), tuple(expected))


CHECKS: Checks = {"soft_threshold": [_soft_threshold], "limit_row_norms": [_limit_row_norms]}
