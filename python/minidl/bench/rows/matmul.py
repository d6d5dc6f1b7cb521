"""Rows of the matrix products, at the layers of three multilayer perceptrons and as squares."""

from __future__ import annotations

import itertools
import math

from minidl.bench.row import Operands, Row

NETWORKS = ((784, 256, 128, 10), (784, 512, 512, 10), (784, 1024, 1024, 10))
BATCHES = (1, 32, 128, 512)
LAYERS = list(dict.fromkeys(layer for network in NETWORKS for layer in itertools.pairwise(network)))
# (rows, in_features, out_features); in memory: weights of 128 and 64 MiB.
LINEAR = {
    "cache": [(batch, *layer) for layer in LAYERS for batch in BATCHES],
    "memory": [(1, 4096, 8192), (32, 4096, 4096)],
}
# (m, n, k)
PRODUCTS = {
    "cache": [(n, n, n) for n in (32, 64, 128, 256, 384, 512, 768, 1024)],
    "memory": [(1, 8192, 4096), (32, 4096, 4096)],
}


def _matmul_flops(operands: Operands) -> float:
    """2 m n k for each product of the batch; k follows from the three arrays, however they are transposed."""
    a, _, out = operands[:3]
    k = a.shape[-1] if a.shape[-2] == out.shape[-2] else a.shape[-2]
    return 2.0 * out.size * k


def _linear_flops(operands: Operands) -> float:
    """2 rows in_features out_features, where the first two arrays are the factors of one of the three products."""
    return 2.0 * math.prod(operands[0].shape) * operands[1].shape[1]


def _forward_flops(operands: Operands) -> float:
    return 2.0 * math.prod(operands[0].shape) * operands[1].shape[0]


ROWS = [
    Row("matmul", PRODUCTS, _matmul_flops, "np.matmul(a, b, out=out)", "torch.matmul(a, b, out=out)"),
    Row(
        "linear_forward",
        LINEAR,
        _forward_flops,
        "np.add(np.matmul(x, weight.T, out=out), bias, out=out)",
        "torch.addmm(bias, x, weight.T, out=out)",
    ),
    Row(
        "linear_backward_input",
        LINEAR,
        _linear_flops,
        "np.matmul(grad_out, weight, out=grad_x)",
        "torch.mm(grad_out, weight, out=grad_x)",
    ),
    Row(
        "linear_backward_weight",
        LINEAR,
        _linear_flops,
        "(np.matmul(grad_out.T, x, out=grad_weight), grad_out.sum(0, out=grad_bias))",
        "(torch.mm(grad_out.T, x, out=grad_weight), torch.sum(grad_out, 0, out=grad_bias))",
    ),
]
