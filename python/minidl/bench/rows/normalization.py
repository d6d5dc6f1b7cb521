"""Rows of batch norm and layer norm."""

from __future__ import annotations

from minidl.bench.row import MEMORY_SIZE, ROWS_AND_COLUMNS, Row

ATEN = "torch.ops.aten."
# Batch x channels: hidden layers with 256 and 512 units.
CHANNELS = {"cache": ((128, 256), (128, 512)), "memory": ((MEMORY_SIZE // 256, 256),)}

NUMPY_BATCH_NORM = """
def batch_norm():
    mean, var = x.mean(0), x.var(0)
    inverse = 1 / np.sqrt(var + eps)
    running_mean[...] = (1 - momentum) * running_mean + momentum * mean
    running_var[...] = (1 - momentum) * running_var + momentum * var * (len(x) / (len(x) - 1))
    return (x - mean) * (inverse * weight) + bias, mean, inverse
"""
NUMPY_BATCH_NORM_BACKWARD = """
def batch_norm_backward():
    normalized = (x - mean) * inv_std
    sums, products = grad_out.sum(0), (grad_out * normalized).sum(0)
    return weight * inv_std * (grad_out - sums / len(x) - normalized * (products / len(x))), products, sums
"""
NUMPY_LAYER_NORM = """
def layer_norm():
    mean = x.mean(1)
    inverse = 1 / np.sqrt(x.var(1) + eps)
    return (x - mean[:, None]) * inverse[:, None] * weight + bias, mean, inverse
"""
NUMPY_LAYER_NORM_BACKWARD = """
def layer_norm_backward():
    normalized = (x - mean[:, None]) * inv_std[:, None]
    h = grad_out * weight
    centred = h - h.mean(1, keepdims=True) - normalized * (h * normalized).mean(1, keepdims=True)
    return inv_std[:, None] * centred, (grad_out * normalized).sum(0), grad_out.sum(0)
"""

ROWS = [
    Row(
        "batch_norm_forward_training",
        CHANNELS,
        8,
        "batch_norm()",
        "torch.native_batch_norm(x, weight, bias, running_mean, running_var, True, momentum, eps)",
        rewritten=(0,),
        setup={"numpy": NUMPY_BATCH_NORM},
    ),
    Row(
        "batch_norm_forward_evaluation",
        CHANNELS,
        2,
        "(x - running_mean) * (weight / np.sqrt(running_var + eps)) + bias",
        "torch.native_batch_norm(x, weight, bias, running_mean, running_var, False, 0.0, eps)[0]",
    ),
    Row(
        "batch_norm_backward",
        CHANNELS,
        10,
        "batch_norm_backward()",
        ATEN + "native_batch_norm_backward(grad_out, x, weight, None, None, mean, inv_std, True, 1e-5, [True] * 3)",
        rewritten=(0, 4),
        setup={"numpy": NUMPY_BATCH_NORM_BACKWARD},
    ),
    Row(
        "layer_norm_forward",
        ROWS_AND_COLUMNS,
        8,
        "layer_norm()",
        "torch.native_layer_norm(x, (x.shape[1],), weight, bias, eps)",
        setup={"numpy": NUMPY_LAYER_NORM},
    ),
    Row(
        "layer_norm_backward",
        ROWS_AND_COLUMNS,
        13,
        "layer_norm_backward()",
        ATEN + "native_layer_norm_backward(grad_out, x, (x.shape[1],), mean[:, None], inv_std[:, None], weight, weight,"
        " [True] * 3)",
        setup={"numpy": NUMPY_LAYER_NORM_BACKWARD},
    ),
]
