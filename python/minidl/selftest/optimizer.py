"""Checks of the optimizer kernels: three steps of two parameters against the rules written out in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl.selftest.check import Array, Call, Checks, Expected, Inputs, Maker, wide

LR, BETA1, WEIGHT_DECAY = 0.01, 0.9, 0.1
SHAPES = ((37, 67), (5,))
# rule(w, g, state, t, **options) changes the float64 arrays w and state in place; t counts from 1.
Rule = Callable[..., None]


def _sgd(w: Array, g: Array, state: list[Array], t: int, dampening: float, nesterov: bool) -> None:
    g = g + WEIGHT_DECAY * w
    if state:
        state[0] *= BETA1
        state[0] += g if t == 1 else (1 - dampening) * g
        g = g + BETA1 * state[0] if nesterov else state[0]
    w -= LR * g


def _decay(w: Array, g: Array, decoupled: bool) -> Array:
    if not decoupled:
        return g + WEIGHT_DECAY * w
    w *= 1 - LR * WEIGHT_DECAY
    return g


def _update_moments(g: Array, state: list[Array], beta2: float) -> None:
    state[0][...] = BETA1 * state[0] + (1 - BETA1) * g
    state[1][...] = beta2 * state[1] + (1 - beta2) * g * g


def _adam(w: Array, g: Array, state: list[Array], t: int, beta2: float, eps: float, decoupled: bool) -> None:
    g = _decay(w, g, decoupled)
    _update_moments(g, state, beta2)
    variance = state[1]
    if len(state) == 3:
        variance = state[2]
        np.maximum(state[1], state[2], out=variance)
    w -= LR * state[0] / (1 - BETA1**t) / (np.sqrt(variance / (1 - beta2**t)) + eps)


def _adagrad(w: Array, g: Array, state: list[Array], t: int, lr_decay: float, eps: float) -> None:
    g = g + WEIGHT_DECAY * w
    state[0] += g * g
    w -= LR / (1 + (t - 1) * lr_decay) * g / (np.sqrt(state[0]) + eps)


def _rmsprop(w: Array, g: Array, state: list[Array], t: int, alpha: float, eps: float) -> None:
    g = g + WEIGHT_DECAY * w
    state[0][...] = alpha * state[0] + (1 - alpha) * g * g
    variance = state[0]
    if len(state) == 3:
        state[2][...] = alpha * state[2] + (1 - alpha) * g
        variance = variance - state[2] ** 2
    step = g / (np.sqrt(variance) + eps)
    if len(state) > 1:
        state[1][...] = BETA1 * state[1] + step
        step = state[1]
    w -= LR * step


def _adadelta(w: Array, g: Array, state: list[Array], t: int, rho: float, eps: float) -> None:
    g = g + WEIGHT_DECAY * w
    state[0][...] = rho * state[0] + (1 - rho) * g * g
    step = np.sqrt(state[1] + eps) / np.sqrt(state[0] + eps) * g
    state[1][...] = rho * state[1] + (1 - rho) * step * step
    w -= LR * step


def _adamax(w: Array, g: Array, state: list[Array], t: int, beta2: float, eps: float) -> None:
    g = g + WEIGHT_DECAY * w
    state[0][...] = BETA1 * state[0] + (1 - BETA1) * g
    state[1][...] = np.maximum(beta2 * state[1], np.abs(g) + eps)
    w -= LR / (1 - BETA1**t) * state[0] / state[1]


def _nadam(
    w: Array, g: Array, state: list[Array], t: int, beta2: float, eps: float, momentum_decay: float, decoupled: bool
) -> None:
    def mu(step: int) -> float:
        return BETA1 * (1 - 0.5 * float(0.96 ** (step * momentum_decay)))

    g = _decay(w, g, decoupled)
    _update_moments(g, state, beta2)
    product = math.prod(mu(step) for step in range(1, t + 1))
    direction = (1 - mu(t)) / (1 - product) * g + mu(t + 1) / (1 - product * mu(t + 1)) * state[0]
    w -= LR * direction / (np.sqrt(state[1] / (1 - beta2**t)) + eps)


def _radam(w: Array, g: Array, state: list[Array], t: int, beta2: float, eps: float, decoupled: bool) -> None:
    g = _decay(w, g, decoupled)
    _update_moments(g, state, beta2)
    limit = 2 / (1 - beta2) - 1
    rho = limit - 2 * t * beta2**t / (1 - beta2**t)
    step = state[0] / (1 - BETA1**t)
    if rho > 5:
        rectification = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
        step = step * rectification * math.sqrt(1 - beta2**t) / (np.sqrt(state[1]) + eps)
    w -= LR * step


def _steps(rule: Rule, state_count: int, kept: int, steps: int = 3, maximize: bool = False, **options: Any) -> Maker:
    """`state_count` lists go to the kernel, of which the first `kept` are not empty."""

    def make(inputs: Inputs) -> Iterator[Call]:
        shapes = next(iter(inputs.shapes((SHAPES,))))
        params = [inputs.normal(*shape) for shape in shapes]
        states = [[np.zeros(shape, inputs.dtype) for shape in shapes] for _ in range(kept)]
        empty: list[list[Array]] = [[] for _ in range(state_count - kept)]
        counters = [[np.full(1, start) for _ in shapes] for start in (0.0, 1.0)[: 2 if rule is _nadam else 1]]
        schedule = np.array([LR, BETA1, WEIGHT_DECAY])
        wanted = [(wide(param), [wide(state[i]) for state in states]) for i, param in enumerate(params)]
        for t in range(1, steps + 1):
            # Away from 0, where a sign of g decides the direction of a whole step.
            grads = [inputs.uniform(0.5, 2, *shape) for shape in shapes]
            for (w, state), grad in zip(wanted, grads, strict=True):
                rule(w, -wide(grad) if maximize else wide(grad), state, t, **options)
            expected = [Expected(param, w, 32) for param, (w, _) in zip(params, wanted, strict=True)]
            expected += [Expected(states[k][i], wanted[i][1][k], 32) for k in range(kept) for i in range(len(shapes))]
            yield Call(
                (params, grads, states + empty, counters, schedule, *options.values(), maximize), tuple(expected)
            )

    return make


def _squared_norm(inputs: Inputs) -> Iterator[Call]:
    shapes = next(iter(inputs.shapes((SHAPES,))))
    grads, out = [inputs.normal(*shape) for shape in shapes], np.full(1, np.nan)
    wanted = sum(float((wide(grad) ** 2).sum()) for grad in grads)
    yield Call((grads, out), (Expected(out, np.array([wanted]), 64),))


def _scale_gradients(inputs: Inputs) -> Iterator[Call]:
    shapes = next(iter(inputs.shapes((SHAPES,))))
    for max_norm in (49.9999, 1.0, 1e6):
        grads = [inputs.normal(*shape) for shape in shapes]
        squared_norm = np.array([2500.0])
        scale = min(1.0, max_norm / (50.0 + 1e-6))
        yield Call((grads, squared_norm, max_norm), tuple(Expected(grad, scale * wide(grad), 4) for grad in grads))


ADAM: dict[str, Any] = {"beta2": 0.99, "eps": 1e-8}

CHECKS: Checks = {
    "sgd_step": [
        _steps(_sgd, 1, 0, dampening=0.0, nesterov=False),
        _steps(_sgd, 1, 1, dampening=0.25, nesterov=False),
        _steps(_sgd, 1, 1, dampening=0.0, nesterov=True, maximize=True),
    ],
    "adam_step": [
        _steps(_adam, 3, 2, **ADAM, decoupled=False),
        _steps(_adam, 3, 2, **ADAM, decoupled=True, maximize=True),
        _steps(_adam, 3, 3, **ADAM, decoupled=True),
    ],
    "adagrad_step": [_steps(_adagrad, 1, 1, lr_decay=0.1, eps=1e-10)],
    "rmsprop_step": [
        _steps(_rmsprop, 3, 1, alpha=0.9, eps=1e-8),
        _steps(_rmsprop, 3, 2, alpha=0.9, eps=1e-8),
        _steps(_rmsprop, 3, 3, alpha=0.9, eps=1e-8),
    ],
    "adadelta_step": [_steps(_adadelta, 2, 2, rho=0.9, eps=1e-6)],
    "adamax_step": [_steps(_adamax, 2, 2, **ADAM)],
    "nadam_step": [
        _steps(_nadam, 2, 2, **ADAM, momentum_decay=0.004, decoupled=False),
        _steps(_nadam, 2, 2, **ADAM, momentum_decay=0.004, decoupled=True),
    ],
    "radam_step": [_steps(_radam, 2, 2, steps=8, **ADAM, decoupled=True)],
    "squared_norm": [_squared_norm],
    "scale_gradients": [_scale_gradients],
}
