"""Checks of matmul, reductions, softmax, losses and normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl import _cpu, backends
from minidl.selftest.check import Array, Call, Checks, Expected, Inputs, Maker, wide
from minidl.selftest.elementwise import sigmoid

Activation: Any = _cpu.Activation
Reduction: Any = _cpu.Reduction

# ---- matmul


def _matmul(inputs: Inputs) -> Iterator[Call]:
    for m, n, k in inputs.shapes(((1, 1, 1), (37, 41, 67), (130, 10, 300), (5, 200, 3))):
        for transpose_a, transpose_b, accumulate in ((0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 0)):
            a = inputs.normal(*((k, m) if transpose_a else (m, k)))
            b = inputs.normal(*((n, k) if transpose_b else (k, n)))
            out = inputs.normal(m, n) if accumulate else inputs.out(m, n)
            left, right = wide(a).T if transpose_a else wide(a), wide(b).T if transpose_b else wide(b)
            wanted = left @ right + (wide(out) if accumulate else 0)
            scale = np.abs(left) @ np.abs(right) + 1
            flags = (bool(transpose_a), bool(transpose_b), bool(accumulate))
            yield Call((a, b, out, *flags), (Expected(out, wanted, 4, scale),))
    a, b, out = inputs.normal(3, 17, 29), inputs.normal(29, 13), inputs.out(3, 17, 13)
    yield Call((a, b, out, False, False, False), (Expected(out, wide(a) @ wide(b), 4, np.abs(a) @ np.abs(b)),))


def _matmul_of_bfloat16_numbers(inputs: Inputs) -> Iterator[Call]:
    """Factors that bfloat16 holds, and one that two such numbers hold: whether they are used or not, the result is that
    of float32."""
    for precision, largest in (("medium", 128), ("high", 1024)):
        backends.set_float32_matmul_precision(precision)
        try:
            for m, n, k in ((37, 41, 67), (130, 64, 2100)):
                for transpose_a, transpose_b in ((False, True), (True, False)):
                    a = inputs.integers(-largest, largest, *((k, m) if transpose_a else (m, k)))
                    b = inputs.integers(-128, 128, *((n, k) if transpose_b else (k, n)))
                    left, right = wide(a).T if transpose_a else wide(a), wide(b).T if transpose_b else wide(b)
                    out = inputs.out(m, n)
                    expected = Expected(out, left @ right, 4, np.abs(left) @ np.abs(right) + 1)
                    yield Call((a, b, out, transpose_a, transpose_b, False), (expected,))
        finally:
            backends.set_float32_matmul_precision("highest")


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
}

# From the activation's output.
DERIVATIVES: dict[str, Callable[[Array], Array]] = {
    "relu": lambda out: np.where(out > 0, 1.0, 0.0),
    "sigmoid": lambda out: out * (1 - out),
    "tanh": lambda out: 1 - out * out,
}


def _linear_forward(inputs: Inputs) -> Iterator[Call]:
    for name, activation in ACTIVATIONS.items():
        for rows, in_features, out_features in inputs.shapes(((37, 67, 41), (1, 5, 10))):
            x, weight = inputs.normal(rows, in_features), inputs.normal(out_features, in_features)
            bias, out = inputs.normal(out_features), inputs.out(rows, out_features)
            wanted = activation(wide(x) @ wide(weight).T + wide(bias))
            scale = np.abs(wide(x)) @ np.abs(wide(weight)).T + 1
            yield Call((x, weight, bias, out, getattr(Activation, name)), (Expected(out, wanted, 8, scale),))


def _linear_backward_input(inputs: Inputs) -> Iterator[Call]:
    for rows, in_features, out_features in inputs.shapes(((37, 67, 41), (1, 5, 10))):
        grad_out, weight = inputs.normal(rows, out_features), inputs.normal(out_features, in_features)
        grad_x = inputs.out(rows, in_features)
        wanted, scale = wide(grad_out) @ wide(weight), np.abs(wide(grad_out)) @ np.abs(wide(weight))
        yield Call((grad_out, weight, grad_x), (Expected(grad_x, wanted, 4, scale),))
        for name, derivative in DERIVATIVES.items():
            saved, grad_x = inputs.uniform(-1, 1, rows, in_features), inputs.out(rows, in_features)
            expected = Expected(grad_x, wanted * derivative(wide(saved)), 16, 2 * scale)
            yield Call((grad_out, weight, grad_x, saved, getattr(Activation, name)), (expected,))


def _linear_backward_weight(inputs: Inputs) -> Iterator[Call]:
    for rows, in_features, out_features in inputs.shapes(((37, 67, 41),)):
        for accumulate in (False, True):
            grad_out, x = inputs.normal(rows, out_features), inputs.normal(rows, in_features)
            fresh = inputs.normal if accumulate else inputs.out
            grad_weight, grad_bias = fresh(out_features, in_features), fresh(out_features)
            g = wide(grad_out)
            weight, bias = g.T @ wide(x), g.sum(0)
            if accumulate:
                weight, bias = weight + wide(grad_weight), bias + wide(grad_bias)
            yield Call(
                (grad_out, x, grad_weight, grad_bias, accumulate),
                (
                    Expected(grad_weight, weight, 4, np.abs(g).T @ np.abs(wide(x)) + 1),
                    Expected(grad_bias, bias, 8, np.abs(g).sum(0) + 1),
                ),
            )


# ---- reduction: outer x reduced x inner

REDUCED_SHAPES = ((37, 67, 1), (1, 41, 19), (3, 29, 17), (1, 5003, 1))


def _sum(inputs: Inputs) -> Iterator[Call]:
    for shape in inputs.shapes(REDUCED_SHAPES):
        x, out = inputs.normal(*shape), inputs.out(shape[0], shape[2])
        wanted, scale = wide(x).sum(1) / 2, np.abs(wide(x)).sum(1)
        yield Call((x, out, 2.0), (Expected(out, wanted, 8, scale),))


def _extreme(name: str) -> Maker:
    def make(inputs: Inputs) -> Iterator[Call]:
        for shape in inputs.shapes(REDUCED_SHAPES):
            x, out = inputs.normal(*shape), inputs.out(shape[0], shape[2])
            x[0, [2, -1], 0] = 9 if name == "max" else -9
            index = np.full(out.shape, -1, np.int64)
            expected = (
                Expected(out, getattr(wide(x), name)(1), 0),
                Expected(index, getattr(x, f"arg{name}")(1), 0),
            )
            yield Call((x, out, index), expected)

    return make


def _var(inputs: Inputs) -> Iterator[Call]:
    for shape in inputs.shapes(REDUCED_SHAPES):
        x = inputs.normal(*shape) + inputs.dtype.type(100)
        mean, out = inputs.out(shape[0], shape[2]), inputs.out(shape[0], shape[2])
        # A spread of 1 around 100: the mean's own rounding reaches the variance.
        expected = (Expected(mean, wide(x).mean(1), 8), Expected(out, wide(x).var(1, ddof=1), 256))
        yield Call((x, mean, out, 1.0), expected)


# ---- softmax

ROWS = ((37, 10), (19, 67), (1, 1), (3, 1003))


def logsumexp(x: Array) -> Array:
    largest = x.max(1, keepdims=True)
    return np.asarray(largest[:, 0] + np.log(np.exp(x - largest).sum(1)))


def softmax(x: Array) -> Array:
    return np.asarray(np.exp(x - logsumexp(x)[:, None]))


def _row_function(function: Callable[[Array], Array], gives_column: bool = False) -> Maker:
    def make(inputs: Inputs) -> Iterator[Call]:
        for shape in inputs.shapes(ROWS):
            x = inputs.uniform(-30, 30, *shape)
            out = inputs.out(shape[0]) if gives_column else inputs.out(*shape)
            yield Call((x, out), (Expected(out, function(wide(x)), 16),))

    return make


def _softmax_backward(inputs: Inputs) -> Iterator[Call]:
    for shape in inputs.shapes(ROWS):
        out, grad_out, grad_x = (
            softmax(wide(inputs.normal(*shape))).astype(inputs.dtype),
            inputs.normal(*shape),
            inputs.out(*shape),
        )
        o, g = wide(out), wide(grad_out)
        yield Call((out, grad_out, grad_x), (Expected(grad_x, o * (g - (o * g).sum(1, keepdims=True)), 16),))


def _log_softmax_backward(inputs: Inputs) -> Iterator[Call]:
    for shape in inputs.shapes(ROWS):
        out, grad_out, grad_x = inputs.uniform(-5, -0.1, *shape), inputs.normal(*shape), inputs.out(*shape)
        o, g = wide(out), wide(grad_out)
        scale = 1 + np.abs(g).sum(1, keepdims=True)
        yield Call((out, grad_out, grad_x), (Expected(grad_x, g - np.exp(o) * g.sum(1, keepdims=True), 16, scale),))


def _logsumexp_backward(inputs: Inputs) -> Iterator[Call]:
    for shape in inputs.shapes(ROWS):
        x, grad_out, grad_x = inputs.normal(*shape), inputs.normal(shape[0]), inputs.out(*shape)
        out = logsumexp(wide(x)).astype(inputs.dtype)
        wanted = wide(grad_out)[:, None] * np.exp(wide(x) - wide(out)[:, None])
        yield Call((x, out, grad_out, grad_x), (Expected(grad_x, wanted, 16),))


# ---- loss


def cross_entropy(
    logits: Array, labels: Array, weight: Array | None, ignore_index: int, smoothing: float, reduction: str
) -> tuple[Array, Array]:
    """Loss and its gradient in float64; with smoothing, each class has the target smoothing / classes in addition."""
    log_probs = logits - logsumexp(logits)[:, None]
    target, divisor = _targets(labels, logits.shape[1], weight, ignore_index, smoothing, reduction)
    grad = np.exp(log_probs) * target.sum(1, keepdims=True) - target
    return _reduced(-(target * log_probs).sum(1), divisor, reduction), grad / divisor


def nll(
    log_probs: Array, labels: Array, weight: Array | None, ignore_index: int, reduction: str
) -> tuple[Array, Array]:
    """Loss and its gradient in float64."""
    target, divisor = _targets(labels, log_probs.shape[1], weight, ignore_index, 0.0, reduction)
    return _reduced(-(target * log_probs).sum(1), divisor, reduction), -target / divisor


def _targets(
    labels: Array, classes: int, weight: Array | None, ignore_index: int, smoothing: float, reduction: str
) -> tuple[Array, Any]:
    """The smoothed, weighted labels as rows x classes, and what their losses are divided by."""
    kept = labels != ignore_index
    label = np.where(kept, labels, 0)
    class_weight = np.ones(classes) if weight is None else weight
    target = np.full((len(labels), classes), smoothing / classes)
    target[np.arange(len(labels)), label] += 1 - smoothing
    return target * class_weight * kept[:, None], (class_weight[label] * kept).sum() if reduction == "mean" else 1.0


def _reduced(losses: Array, divisor: Any, reduction: str) -> Array:
    return losses if reduction == "none" else np.asarray(losses.sum() / divisor)


def _cross_entropy(inputs: Inputs) -> Iterator[Call]:
    for rows, classes in inputs.shapes(((37, 10), (1, 3), (130, 67))):
        for reduction in ("mean", "sum", "none"):
            for is_weighted, smoothing in ((False, 0.0), (True, 0.1)):
                logits, labels = inputs.uniform(-10, 10, rows, classes), inputs.labels(classes, rows)
                labels[1::7] = -100
                weight = inputs.uniform(0.5, 2, classes) if is_weighted else None
                loss, grad = inputs.out(*((rows,) if reduction == "none" else ())), inputs.out(rows, classes)
                wide_weight = None if weight is None else wide(weight)
                wanted = cross_entropy(wide(logits), labels, wide_weight, -100, smoothing, reduction)
                scale = 100.0 if reduction == "sum" else 10.0
                yield Call(
                    (logits, labels, weight, loss, grad, -100, smoothing, getattr(Reduction, reduction)),
                    (Expected(loss, wanted[0], 16, scale), Expected(grad, wanted[1], 32, 0.1)),
                )


def _nll(inputs: Inputs) -> Iterator[Call]:
    for rows, classes in inputs.shapes(((37, 10), (1, 3), (130, 67))):
        for reduction in ("mean", "sum", "none"):
            for is_weighted in (False, True):
                log_probs, labels = inputs.uniform(-10, 0, rows, classes), inputs.labels(classes, rows)
                labels[1::7] = -100
                weight = inputs.uniform(0.5, 2, classes) if is_weighted else None
                loss, grad = inputs.out(*((rows,) if reduction == "none" else ())), inputs.out(rows, classes)
                wanted = nll(wide(log_probs), labels, None if weight is None else wide(weight), -100, reduction)
                yield Call(
                    (log_probs, labels, weight, loss, grad, -100, getattr(Reduction, reduction)),
                    (
                        Expected(loss, wanted[0], 4, 100.0 if reduction == "sum" else 10.0),
                        Expected(grad, wanted[1], 4, 0.1),
                    ),
                )


def _count_correct(inputs: Inputs) -> Iterator[Call]:
    for rows, classes in inputs.shapes(((37, 10), (1, 1), (1003, 67), (0, 3))):
        logits, labels = np.round(inputs.uniform(-2, 2, rows, classes)), inputs.labels(classes, rows)  # with ties
        logits[5::9, classes // 2] = np.nan
        labels[::11] = -100
        out = np.full((), -1, np.int64)
        yield Call((logits, labels, out), (Expected(out, (logits.argmax(1) == labels).sum(), 0),))


def _append_result(inputs: Inputs) -> Iterator[Call]:
    for rows, before in inputs.shapes(((3, 7), (1, 0))):
        loss, correct = inputs.uniform(0, 3, 1), np.array([before + 40])
        for counted in (correct, None):
            log = np.arange(1.0 + 2 * rows)
            log[0] = before
            wanted, place = log.copy(), 1 + 2 * (before % rows)
            wanted[[0, place, place + 1]] = before + 1, loss[0], -1 if counted is None else counted[0]
            yield Call((loss, counted, log), (Expected(log, wanted, 0),))


def _loss_forward(function: Callable[..., Array], *scalars: float, is_probability: bool = False) -> Maker:
    def make(inputs: Inputs) -> Iterator[Call]:
        for size in inputs.shapes((1003, 5)):
            for reduction in ("mean", "sum", "none"):
                x, target = _loss_inputs(inputs, size, is_probability)
                losses = function(wide(x), wide(target), *scalars)
                wanted = losses if reduction == "none" else getattr(losses, reduction)()
                out = inputs.out(*np.shape(wanted))
                yield Call((x, target, out, getattr(Reduction, reduction), *scalars), (Expected(out, wanted, 32),))

    return make


def _loss_backward(derivative: Callable[..., Array], *scalars: float, is_probability: bool = False) -> Maker:
    def make(inputs: Inputs) -> Iterator[Call]:
        for size in inputs.shapes((1003, 5)):
            for reduction in ("mean", "sum", "none"):
                x, target = _loss_inputs(inputs, size, is_probability)
                grad_out, grad_x = inputs.normal(*((size,) if reduction == "none" else ())), inputs.out(size)
                wanted = wide(grad_out) * derivative(wide(x), wide(target), *scalars)
                wanted = wanted / (size if reduction == "mean" else 1)
                call = (x, target, grad_out, grad_x, getattr(Reduction, reduction), *scalars)
                yield Call(call, (Expected(grad_x, wanted, 32, 1 / size if reduction == "mean" else 1.0),))

    return make


def _loss_inputs(inputs: Inputs, size: int, is_probability: bool) -> tuple[Array, Array]:
    if is_probability:
        return inputs.uniform(0.05, 0.95, size), inputs.uniform(0, 1, size)
    return inputs.normal(size), inputs.uniform(0, 1, size)


def _smooth_l1(x: Array, target: Array, beta: float) -> Array:
    d = np.abs(x - target)
    return np.asarray(np.where(d < beta, d * d / (2 * beta), d - beta / 2))


def _smooth_l1_derivative(x: Array, target: Array, beta: float) -> Array:
    d = x - target
    return np.where(np.abs(d) < beta, d / beta, np.sign(d))


def _huber(x: Array, target: Array, delta: float) -> Array:
    d = np.abs(x - target)
    return np.asarray(np.where(d <= delta, d * d / 2, delta * (d - delta / 2)))


# ---- normalization: outer x channels x inner, and rows x columns

CHANNEL_SHAPES = ((37, 19), (5, 3, 7), (130, 67))


def _channel_view(vector: Array, shape: tuple[int, ...]) -> Array:
    return wide(vector).reshape(1, -1, *(1 for _ in shape[2:]))


def _channel_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (0, *range(2, len(shape)))


def _batch_norm_training(inputs: Inputs) -> Iterator[Call]:
    for shape in inputs.shapes(CHANNEL_SHAPES):
        channels, axes = shape[1], _channel_axes(shape)
        x = inputs.normal(*shape) + inputs.dtype.type(3)
        weight, bias = inputs.normal(channels), inputs.normal(channels)
        running_mean, running_var = inputs.normal(channels), inputs.uniform(0.5, 2, channels)
        out, mean, inv_std = inputs.out(*shape), inputs.out(channels), inputs.out(channels)
        m, v = wide(x).mean(axes), wide(x).var(axes)
        inverse = 1 / np.sqrt(v + 1e-5)
        normalized = (wide(x) - _channel_view(m, shape)) * _channel_view(inverse, shape)
        count = x.size // channels
        expected = (
            Expected(out, normalized * _channel_view(weight, shape) + _channel_view(bias, shape), 64),
            Expected(mean, m, 8),
            Expected(inv_std, inverse, 32),
            Expected(running_mean, 0.9 * wide(running_mean) + 0.1 * m, 8),
            Expected(running_var, 0.9 * wide(running_var) + 0.1 * v * count / (count - 1), 16),
        )
        yield Call((x, weight, bias, running_mean, running_var, out, mean, inv_std, 0.1, 1e-5), expected)


def _batch_norm_with_relu_and_dropout(inputs: Inputs) -> Iterator[Call]:
    for shape in inputs.shapes(CHANNEL_SHAPES):
        x, ticket = inputs.normal(*shape), np.array([5, 11], np.int64)
        plain, factors, out = inputs.out(*shape), inputs.out(*shape), inputs.out(*shape)
        mean, inv_std = inputs.out(shape[1]), inputs.out(shape[1])
        _cpu.batch_norm_forward_training(x, None, None, None, None, plain, mean, inv_std, 0.1, 1e-5)
        _cpu.dropout_forward(np.ones_like(x), ticket, factors, 0.25)
        wanted = np.maximum(wide(plain), 0) * wide(factors)
        arguments = (x, None, None, None, None, out, mean, inv_std, 0.1, 1e-5, Activation.relu, ticket, 0.25)
        # The CPU's own plain result, of which another back end's is some roundings off.
        yield Call(arguments, (Expected(out, wanted, 16),))


def _batch_norm_evaluation(inputs: Inputs) -> Iterator[Call]:
    for shape in inputs.shapes(CHANNEL_SHAPES):
        channels = shape[1]
        x, weight, bias = inputs.normal(*shape), inputs.normal(channels), inputs.normal(channels)
        running_mean, running_var = inputs.normal(channels), inputs.uniform(0.5, 2, channels)
        out = inputs.out(*shape)
        normalized = (wide(x) - _channel_view(running_mean, shape)) / np.sqrt(_channel_view(running_var, shape) + 1e-5)
        wanted = normalized * _channel_view(weight, shape) + _channel_view(bias, shape)
        yield Call((x, weight, bias, running_mean, running_var, out, 1e-5), (Expected(out, wanted, 32),))


def _batch_norm_backward(inputs: Inputs) -> Iterator[Call]:
    shapes = inputs.shapes(CHANNEL_SHAPES)
    for shape, through_relu in ((shape, through_relu) for shape in shapes for through_relu in (False, True)):
        channels, axes = shape[1], _channel_axes(shape)
        x, weight, grad_out = inputs.normal(*shape), inputs.normal(channels), inputs.normal(*shape)
        mean = wide(x).mean(axes).astype(inputs.dtype)
        inv_std = (1 / np.sqrt(wide(x).var(axes) + 1e-5)).astype(inputs.dtype)
        grad_x, grad_weight, grad_bias = inputs.out(*shape), inputs.out(channels), inputs.out(channels)
        g, count = wide(grad_out), x.size // channels
        chain: tuple[Any, ...] = ()
        if through_relu:
            chain = (np.maximum(inputs.normal(*shape), 0), 1.5)
            g = np.where(chain[0] > 0, 1.5 * g, 0)
        normalized = (wide(x) - _channel_view(mean, shape)) * _channel_view(inv_std, shape)
        sum_g, sum_gx = g.sum(axes), (g * normalized).sum(axes)
        centred = g - _channel_view(sum_g, shape) / count - normalized * _channel_view(sum_gx, shape) / count
        wanted = _channel_view(weight, shape) * _channel_view(inv_std, shape) * centred
        expected = (
            Expected(grad_x, wanted, 64),
            Expected(grad_weight, sum_gx, 16, np.abs(g * normalized).sum(axes)),
            Expected(grad_bias, sum_g, 16, np.abs(g).sum(axes)),
        )
        yield Call((x, weight, mean, inv_std, grad_out, grad_x, grad_weight, grad_bias, *chain), expected)


def _layer_norm_forward(inputs: Inputs) -> Iterator[Call]:
    for rows, columns in inputs.shapes(((37, 19), (5, 1003), (130, 64))):
        x = inputs.normal(rows, columns) + inputs.dtype.type(3)
        weight, bias, out = inputs.normal(columns), inputs.normal(columns), inputs.out(rows, columns)
        mean, inv_std = inputs.out(rows), inputs.out(rows)
        m, inverse = wide(x).mean(1), 1 / np.sqrt(wide(x).var(1) + 1e-5)
        wanted = (wide(x) - m[:, None]) * inverse[:, None] * wide(weight) + wide(bias)
        expected = (Expected(out, wanted, 64), Expected(mean, m, 8), Expected(inv_std, inverse, 32))
        yield Call((x, weight, bias, out, mean, inv_std, 1e-5), expected)


def _layer_norm_backward(inputs: Inputs) -> Iterator[Call]:
    for rows, columns in inputs.shapes(((37, 19), (5, 1003), (130, 64))):
        x, weight, grad_out = inputs.normal(rows, columns), inputs.normal(columns), inputs.normal(rows, columns)
        mean = wide(x).mean(1).astype(inputs.dtype)
        inv_std = (1 / np.sqrt(wide(x).var(1) + 1e-5)).astype(inputs.dtype)
        grad_x, grad_weight, grad_bias = inputs.out(rows, columns), inputs.out(columns), inputs.out(columns)
        g = wide(grad_out)
        normalized = (wide(x) - wide(mean)[:, None]) * wide(inv_std)[:, None]
        h = g * wide(weight)
        centred = h - h.mean(1, keepdims=True) - normalized * (h * normalized).mean(1, keepdims=True)
        expected = (
            Expected(grad_x, wide(inv_std)[:, None] * centred, 64),
            Expected(grad_weight, (g * normalized).sum(0), 16, np.abs(g * normalized).sum(0)),
            Expected(grad_bias, g.sum(0), 16, np.abs(g).sum(0)),
        )
        yield Call((x, weight, mean, inv_std, grad_out, grad_x, grad_weight, grad_bias), expected)


CHECKS: Checks = {
    "matmul": [_matmul, _matmul_of_bfloat16_numbers],
    "linear_forward": [_linear_forward],
    "linear_backward_input": [_linear_backward_input],
    "linear_backward_weight": [_linear_backward_weight],
    "sum_forward": [_sum],
    "max_forward": [_extreme("max")],
    "min_forward": [_extreme("min")],
    "var_forward": [_var],
    "softmax_forward": [_row_function(softmax)],
    "softmax_backward": [_softmax_backward],
    "log_softmax_forward": [_row_function(lambda x: x - logsumexp(x)[:, None])],
    "log_softmax_backward": [_log_softmax_backward],
    "logsumexp_forward": [_row_function(logsumexp, gives_column=True)],
    "logsumexp_backward": [_logsumexp_backward],
    "cross_entropy_forward": [_cross_entropy],
    "nll_forward": [_nll],
    "count_correct": [_count_correct],
    "append_result": [_append_result],
    "bce_forward": [
        _loss_forward(lambda p, t: -(t * np.log(p) + (1 - t) * np.log1p(-p)), is_probability=True),
    ],
    "bce_backward": [_loss_backward(lambda p, t: (p - t) / (p * (1 - p)), is_probability=True)],
    "bce_with_logits_forward": [_loss_forward(lambda x, t: np.logaddexp(0, x) - x * t)],
    "bce_with_logits_backward": [_loss_backward(lambda x, t: sigmoid(x) - t)],
    "mse_forward": [_loss_forward(lambda x, t: (x - t) ** 2)],
    "mse_backward": [_loss_backward(lambda x, t: 2 * (x - t))],
    "l1_forward": [_loss_forward(lambda x, t: np.abs(x - t))],
    "l1_backward": [_loss_backward(lambda x, t: np.sign(x - t))],
    "smooth_l1_forward": [_loss_forward(_smooth_l1, 0.5)],
    "smooth_l1_backward": [_loss_backward(_smooth_l1_derivative, 0.5)],
    "huber_forward": [_loss_forward(_huber, 0.75)],
    "huber_backward": [_loss_backward(lambda x, t, delta: np.clip(x - t, -delta, delta), 0.75)],
    "batch_norm_forward_training": [_batch_norm_training, _batch_norm_with_relu_and_dropout],
    "batch_norm_forward_evaluation": [_batch_norm_evaluation],
    "batch_norm_backward": [_batch_norm_backward],
    "layer_norm_forward": [_layer_norm_forward],
    "layer_norm_backward": [_layer_norm_backward],
}
