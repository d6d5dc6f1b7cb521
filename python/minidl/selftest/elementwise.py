"""Checks of the elementwise and activation kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl.selftest.check import SIZES, Array, Call, Checks, Expected, Inputs, Maker, wide

erf = np.vectorize(math.erf, otypes=[np.float64])


def _unary(
    function: Callable[..., Array], *scalars: float, low: float = -4, high: float = 4, epsilons: float = 8
) -> Maker:
    def make(inputs: Inputs) -> Iterator[Call]:
        for size in inputs.shapes(SIZES):
            x, out = inputs.uniform(low, high, size), inputs.out(size)
            yield Call((x, out, *scalars), (Expected(out, function(wide(x), *scalars), epsilons),))

    return make


def _unary_backward(derivative: Callable[..., Array], *scalars: float, low: float = -4, high: float = 4) -> Maker:
    """`derivative(saved, *scalars)` is the factor of grad_out; saved is x, or out where the kernel takes that."""

    def make(inputs: Inputs) -> Iterator[Call]:
        for size in inputs.shapes(SIZES):
            saved, grad_out, grad_x = inputs.uniform(low, high, size), inputs.normal(size), inputs.out(size)
            wanted = wide(grad_out) * derivative(wide(saved), *scalars)
            yield Call((saved, grad_out, grad_x, *scalars), (Expected(grad_x, wanted, 16),))

    return make


def _binary(function: Callable[[Array, Array], Array], low: float = -4, high: float = 4) -> Maker:
    def make(inputs: Inputs) -> Iterator[Call]:
        shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
            ((1003,), (1003,)),
            ((37, 19), (19,)),
            ((37, 1), (37, 19)),
            ((5, 1, 7), (3, 1)),
        ]
        for shape_a, shape_b in inputs.shapes(shapes):
            a, b = inputs.uniform(low, high, *shape_a), inputs.uniform(low, high, *shape_b)
            out = inputs.out(*np.broadcast_shapes(shape_a, shape_b))
            yield Call((a, b, out), (Expected(out, function(wide(a), wide(b)), 16),))
        a, b, out = inputs.uniform(low, high, 19, 37).T, inputs.uniform(low, high, 37, 38)[:, ::2], inputs.out(37, 19)
        yield Call((a, b, out), (Expected(out, function(wide(a), wide(b)), 16),))

    return make


def _where(inputs: Inputs) -> Iterator[Call]:
    for rows, columns in inputs.shapes(((37, 19),)):
        condition = (inputs.random.random((rows, 1)) < 0.5).astype(np.uint8)
        a, b, out = inputs.normal(rows, columns), inputs.normal(columns), inputs.out(rows, columns)
        yield Call((condition, a, b, out), (Expected(out, np.where(condition, wide(a), wide(b)), 0),))


def _add_scaled(inputs: Inputs) -> Iterator[Call]:
    for size in inputs.shapes((1003,)):
        x, out = inputs.normal(size), inputs.normal(size)
        yield Call((x, out, 0.25), (Expected(out, wide(out) + 0.25 * wide(x), 2),))


def _fill(inputs: Inputs) -> Iterator[Call]:
    for size in inputs.shapes(SIZES):
        out = inputs.out(size)
        yield Call((out, 2.5), (Expected(out, np.full(size, 2.5), 0),))


def _copy_strided(inputs: Inputs) -> Iterator[Call]:
    for rows, columns in inputs.shapes(((37, 19),)):
        every_third = inputs.normal(rows, 3 * columns)[:, ::3]
        for x in (inputs.normal(columns, rows).T, every_third, inputs.normal(columns), inputs.normal(rows, 1)):
            out = inputs.out(rows, columns)
            yield Call((x, out), (Expected(out, wide(x), 0),))


def _transpose(inputs: Inputs) -> Iterator[Call]:
    for shape in inputs.shapes(((37, 67), (3, 65, 17), (1, 5))):
        x = inputs.normal(*shape)
        wanted = wide(x).swapaxes(-1, -2)
        out = inputs.out(*wanted.shape)
        yield Call((x, out), (Expected(out, wanted, 0),))


def _gather_rows(inputs: Inputs) -> Iterator[Call]:
    for source_rows, rows, columns in inputs.shapes(((29, 41, 67),)):
        x, index = inputs.normal(source_rows, columns), inputs.labels(source_rows, rows)
        wanted = wide(x)[index]
        out = inputs.out(rows, columns)
        yield Call((x, index, out), (Expected(out, wanted, 0),))
        index, wanted, out = index.copy(), wanted.copy(), inputs.out(rows, columns)
        index[[3, 7]] = source_rows, -1
        wanted[[3, 7]] = np.nan
        yield Call((x, index, out), (Expected(out, wanted, 0),))


def _gather_rows_uint8(inputs: Inputs) -> Iterator[Call]:
    for source_rows, rows, columns in inputs.shapes(((29, 41, 67),)):
        x = inputs.random.integers(0, 256, (source_rows, columns), dtype=np.uint8)
        index, out = inputs.labels(source_rows, rows), inputs.out(rows, columns)
        wanted = wide(x)[index] / 255 - 0.5
        yield Call((x, index, out, 1 / 255, -0.5), (Expected(out, wanted, 4),))
        index, wanted, out = index.copy(), wanted.copy(), inputs.out(rows, columns)
        index[3] = source_rows
        wanted[3] = np.nan
        yield Call((x, index, out, 1 / 255, -0.5), (Expected(out, wanted, 4),))


def _multiply_add(inputs: Inputs) -> Iterator[Call]:
    for size in inputs.shapes(SIZES):
        x = np.asarray(inputs.random.integers(-100, 100, size), inputs.dtype)
        # Exact: the sums are whole numbers of halves; with factor 0.5 all chains end at the fixed point 2.
        for factor, term, wanted in ((1.0, 0.5, wide(x) + 2048), (0.5, 1.0, np.full(size, 2.0))):
            out = inputs.out(size)
            yield Call((x, out, factor, term), (Expected(out, wanted, 0),))


def _triad(inputs: Inputs) -> Iterator[Call]:
    for size in inputs.shapes((1003, 3, 0, 40_000)):
        for bypass_cache in (False, True):
            a, b, out = inputs.normal(size), inputs.normal(size), inputs.out(size)
            yield Call((a, b, out, 0.75, bypass_cache), (Expected(out, wide(a) + 0.75 * wide(b), 2),))


def _gather_labels(inputs: Inputs) -> Iterator[Call]:
    for source_size, size in inputs.shapes(((29, 41),)):
        x, index = inputs.labels(10, source_size), inputs.labels(source_size, size)
        wanted, out = x[index], np.zeros(size, np.int64)
        yield Call((x, index, out), (Expected(out, wanted, 0),))
        index, wanted, out = index.copy(), wanted.copy(), np.zeros(size, np.int64)
        index[[3, 7]] = source_size, -1
        wanted[[3, 7]] = -1
        yield Call((x, index, out), (Expected(out, wanted, 0),))


def _count_up(inputs: Inputs) -> Iterator[Call]:
    out = np.array([41], np.int64)
    yield Call((out,), (Expected(out, np.array([42]), 0),))


def sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)


def selu(x: Array) -> Array:
    return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x))


def normal_cdf(x: Array) -> Array:
    return np.asarray(0.5 * (1 + erf(x / math.sqrt(2))))


def _gelu_derivative(x: Array) -> Array:
    return np.asarray(normal_cdf(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(x / 2 * (1 + np.tanh(SQRT_2_OVER_PI * (x + 0.044715 * x**3))))


def _gelu_tanh_derivative(x: Array) -> Array:
    t = np.tanh(SQRT_2_OVER_PI * (x + 0.044715 * x**3))
    return np.asarray(0.5 * (1 + t) + x / 2 * (1 - t * t) * SQRT_2_OVER_PI * (1 + 3 * 0.044715 * x * x))


def _mish_derivative(x: Array) -> Array:
    t = np.tanh(softplus(x))
    return np.asarray(t + x * sigmoid(x) * (1 - t * t))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(x))


PRELU_SHAPES = (((37, 19), 19), ((5, 3, 7), 3), ((41,), 1))


def _prelu_forward(inputs: Inputs) -> Iterator[Call]:
    for shape, channels in inputs.shapes(PRELU_SHAPES):
        x, weight, out = inputs.normal(*shape), inputs.uniform(0, 0.5, channels), inputs.out(*shape)
        wanted = np.where(x > 0, wide(x), _per_channel(weight, shape) * wide(x))
        yield Call((x, weight, out), (Expected(out, wanted, 2),))


def _prelu_backward(inputs: Inputs) -> Iterator[Call]:
    for shape, channels in inputs.shapes(PRELU_SHAPES):
        x, weight, grad_out = inputs.normal(*shape), inputs.uniform(0, 0.5, channels), inputs.normal(*shape)
        grad_x, grad_weight = inputs.out(*shape), inputs.out(channels)
        g = wide(grad_out)
        slope_terms = np.where(x > 0, 0, wide(x)) * g
        axes: Any = tuple(axis for axis in range(x.ndim) if axis != 1 or channels == 1)
        yield Call(
            (x, weight, grad_out, grad_x, grad_weight),
            (
                Expected(grad_x, np.where(x > 0, g, _per_channel(weight, shape) * g), 2),
                Expected(grad_weight, slope_terms.sum(axes).reshape(channels), 16, np.abs(slope_terms).sum()),
            ),
        )


def _per_channel(weight: Array, shape: tuple[int, ...]) -> Array:
    return wide(weight) if len(weight) == 1 else wide(weight).reshape(-1, *(1 for _ in shape[2:]))


CHECKS: Checks = {
    "multiply_add": [_multiply_add],
    "triad": [_triad],
    "negative_forward": [_unary(np.negative, epsilons=0)],
    "absolute_forward": [_unary(np.abs, epsilons=0)],
    "square_forward": [_unary(np.square, epsilons=1)],
    "reciprocal_forward": [_unary(np.reciprocal, low=0.2, epsilons=2)],
    "sqrt_forward": [_unary(np.sqrt, low=0, high=100, epsilons=1)],
    "rsqrt_forward": [_unary(lambda x: 1 / np.sqrt(x), low=0.1, epsilons=4)],
    "exp_forward": [_unary(np.exp, low=-20, high=20), _unary(np.exp, low=-80, high=80)],
    "expm1_forward": [_unary(np.expm1, low=-10, high=10)],
    "log_forward": [_unary(np.log, low=1e-3, high=1e3)],
    "log1p_forward": [_unary(np.log1p, low=-0.9, high=50)],
    "erf_forward": [_unary(erf)],
    "affine_forward": [_unary(lambda x, scale, shift: scale * x + shift, 0.75, -0.5, epsilons=4)],
    "clamp_forward": [_unary(np.clip, -1.0, 2.0, epsilons=0)],
    "add_forward": [_binary(np.add)],
    "subtract_forward": [_binary(np.subtract)],
    "multiply_forward": [_binary(np.multiply)],
    "divide_forward": [_binary(np.divide, low=0.25)],
    "power_forward": [_binary(np.power, low=0.25)],
    "maximum_forward": [_binary(np.maximum)],
    "minimum_forward": [_binary(np.minimum)],
    "where_forward": [_where],
    "add_scaled": [_add_scaled],
    "fill": [_fill],
    "copy_strided": [_copy_strided],
    "transpose": [_transpose],
    "gather_rows": [_gather_rows],
    "gather_rows_uint8": [_gather_rows_uint8],
    "gather_labels": [_gather_labels],
    "count_up": [_count_up],
    "relu_forward": [_unary(lambda x: np.maximum(x, 0), epsilons=0)],
    "relu_backward": [_unary_backward(lambda out, scale: scale * (out > 0), scale) for scale in (1.0, 1.25)],
    "leaky_relu_forward": [_unary(lambda x, slope: np.where(x > 0, x, slope * x), 0.01)],
    "leaky_relu_backward": [_unary_backward(lambda x, slope: np.where(x > 0, 1, slope), 0.01)],
    "prelu_forward": [_prelu_forward],
    "prelu_backward": [_prelu_backward],
    "elu_forward": [_unary(_elu, 1.5)],
    "elu_backward": [_unary_backward(lambda x, alpha: np.where(x > 0, 1, alpha * np.exp(x)), 1.5)],
    "selu_forward": [_unary(selu)],
    "selu_backward": [_unary_backward(lambda x: SELU_SCALE * np.where(x > 0, 1, SELU_ALPHA * np.exp(x)))],
    "celu_forward": [_unary(lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x / alpha)), 1.5)],
    "celu_backward": [_unary_backward(lambda x, alpha: np.where(x > 0, 1, np.exp(x / alpha)), 1.5)],
    "gelu_forward": [_unary(lambda x: x * normal_cdf(x))],
    "gelu_backward": [_unary_backward(_gelu_derivative)],
    "gelu_tanh_forward": [_unary(_gelu_tanh)],
    "gelu_tanh_backward": [_unary_backward(_gelu_tanh_derivative)],
    "silu_forward": [_unary(lambda x: x * sigmoid(x))],
    "silu_backward": [_unary_backward(lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))))],
    "mish_forward": [_unary(lambda x: x * np.tanh(softplus(x)))],
    "mish_backward": [_unary_backward(_mish_derivative)],
    "softplus_forward": [_unary(softplus, 2.0, 4.0)],
    "softplus_backward": [
        _unary_backward(lambda x, beta, threshold: np.where(beta * x > threshold, 1, sigmoid(beta * x)), 2.0, 4.0)
    ],
    "softsign_forward": [_unary(lambda x: x / (1 + np.abs(x)))],
    "softsign_backward": [_unary_backward(lambda x: 1 / (1 + np.abs(x)) ** 2)],
    "sigmoid_forward": [_unary(sigmoid)],
    "sigmoid_backward": [_unary_backward(lambda out: out * (1 - out), low=0, high=1)],
    "logsigmoid_forward": [_unary(lambda x: -np.logaddexp(0, -x))],
    "logsigmoid_backward": [_unary_backward(lambda x: sigmoid(-x))],
    "tanh_forward": [_unary(np.tanh)],
    "tanh_backward": [_unary_backward(lambda out: 1 - out * out, low=-1, high=1)],
    "hardtanh_forward": [_unary(np.clip, -1.0, 2.0, epsilons=0)],
    "hardtanh_backward": [_unary_backward(lambda x, low, high: (x > low) & (x < high), -1.0, 2.0)],
}
