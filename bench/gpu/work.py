"""What the memory-bound kernels are run on, and what they must give in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import minidl
from minidl.selftest import optimizer

COLUMNS = 1024
COMPARED = 64 * COLUMNS  # elements, or the rows that hold them
DROPOUT, MOMENTUM, EPS = 0.5, 0.1, 1e-5
BETA2, ADAM_EPS = 0.999, 1e-8
Arguments = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """One kernel on large arrays.

    Args:
        make: the kernel's arguments by name, drawn anew, for a device and a number of elements.
        wanted: the first rows of the output in float64, from arguments that the kernel has not seen yet.
        epsilons: what an element may be off.
    """

    kernel: str
    make: Callable[[Any, int], Arguments]
    wanted: Callable[[Any, Arguments], Any]
    epsilons: float
    output: str = "out"
    is_random: bool = False


def _head(gpu: Any, array: Any) -> Any:
    """The first elements or rows in float64."""
    count = COMPARED if array.ndim == 1 else COMPARED // array.shape[-1] or 1
    return gpu.host(array[: min(count, len(array))]).astype(np.float64)


def _elementwise(gpu: Any, elements: int) -> Arguments:
    return {"x": gpu.normal(elements), "out": gpu.zeros(elements)}


def _binary(gpu: Any, elements: int) -> Arguments:
    return {"a": gpu.normal(elements), "b": gpu.normal(elements), "out": gpu.zeros(elements)}


def _dropout(gpu: Any, elements: int) -> Arguments:
    ticket = gpu.array(np.array([7, 1], np.int64))
    return {"x": gpu.normal(elements), "ticket": ticket, "out": gpu.zeros(elements), "p": DROPOUT}


def _rows(gpu: Any, elements: int) -> Arguments:
    shape = elements // COLUMNS, COLUMNS
    return {"x": gpu.normal(*shape), "out": gpu.zeros(*shape)}


def _sum(gpu: Any, elements: int, shape: tuple[int, int, int]) -> Arguments:
    """`shape` with one -1: outer x reduced x inner."""
    whole = tuple(n if n > 0 else elements // -int(np.prod(shape)) for n in shape)
    return {"x": gpu.normal(*whole), "out": gpu.zeros(whole[0], whole[2]), "divisor": 1.0}


def _batch_norm(gpu: Any, elements: int) -> Arguments:
    shape = elements // COLUMNS, COLUMNS
    vectors = {name: gpu.normal(COLUMNS) for name in ("weight", "bias", "running_mean")}
    vectors["running_var"] = gpu.array(np.ones(COLUMNS, np.float32))
    written = {"out": gpu.zeros(*shape), "mean": gpu.zeros(COLUMNS), "inv_std": gpu.zeros(COLUMNS)}
    return {"x": gpu.normal(*shape), **vectors, **written, "momentum": MOMENTUM, "eps": EPS}


def _adam(gpu: Any, elements: int) -> Arguments:
    shape = elements // COLUMNS, COLUMNS
    states: list[list[Any]] = [[gpu.zeros(*shape)], [gpu.zeros(*shape)], []]
    return {
        "params": [gpu.normal(*shape)],
        "grads": [gpu.normal(*shape)],
        "states": states,
        "counters": [[gpu.zeros(1, dtype=minidl.float64)]],
        "schedule": gpu.array(np.array([optimizer.LR, optimizer.BETA1, 0.0])),
        "beta2": BETA2,
        "eps": ADAM_EPS,
        "decoupled": False,
        "maximize": False,
    }


def _softmax_of(gpu: Any, arguments: Arguments) -> Any:
    x = _head(gpu, arguments["x"])
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _sum_of(gpu: Any, arguments: Arguments) -> Any:
    x = arguments["x"]
    if x.shape[2] == 1:
        x = x[: max(1, min(len(x), COMPARED // x.shape[1]))]
    return np.stack([gpu.host(part).sum(0, dtype=np.float64) for part in x])


def _batch_norm_of(gpu: Any, arguments: Arguments) -> Any:
    x = gpu.host(arguments["x"])
    mean = x.mean(0, dtype=np.float64)
    var = sum(((part - mean) ** 2).sum(0) for part in np.array_split(x, max(1, len(x) // 4096))) / len(x)
    weight, bias = (gpu.host(arguments[name]).astype(np.float64) for name in ("weight", "bias"))
    return (_head(gpu, arguments["x"]) - mean) / np.sqrt(var + EPS) * weight + bias


def _adam_of(gpu: Any, arguments: Arguments) -> Any:
    (w,), (g,) = ([_head(gpu, array) for array in arguments[name]] for name in ("params", "grads"))
    return w - optimizer.LR * g / (np.abs(g) + ADAM_EPS)  # the first step from states of 0


def _dropout_of(gpu: Any, arguments: Arguments) -> Any:
    """The mask of the CPU's kernel, which the self-test compares with Philox written out."""
    x = gpu.host(arguments["x"][:COMPARED])
    out = np.empty_like(x)
    minidl.kernels.dropout_forward(x, np.array([7, 1], np.int64), out, DROPOUT)
    return out.astype(np.float64)


def _sums(shape: tuple[int, int, int]) -> Work:
    return Work("sum_forward", partial(_sum, shape=shape), _sum_of, 64)


WORKS: Mapping[str, Work] = {
    "relu": Work("relu_forward", _elementwise, lambda gpu, a: np.maximum(_head(gpu, a["x"]), 0), 0),
    "add": Work("add_forward", _binary, lambda gpu, a: _head(gpu, a["a"]) + _head(gpu, a["b"]), 1),
    "dropout": Work("dropout_forward", _dropout, _dropout_of, 1, is_random=True),
    "softmax": Work("softmax_forward", _rows, _softmax_of, 16),
    "sum of rows": _sums((-1, COLUMNS, 1)),
    "sum of columns": _sums((1, -1, COLUMNS)),
    "sum of all": _sums((1, -1, 1)),
    "batch norm": Work("batch_norm_forward_training", _batch_norm, _batch_norm_of, 64),
    "Adam": Work("adam_step", _adam, _adam_of, 16, output="params"),
}
