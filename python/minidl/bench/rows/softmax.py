"""Rows of softmax and its relatives."""

from __future__ import annotations

from minidl.bench.row import MEMORY_SIZE, Row

ATEN = "torch.ops.aten."
SHAPES = {"cache": ((128, 256), (4096, 10)), "memory": ((MEMORY_SIZE // 256, 256),)}
NUMPY_SOFTMAX = "(lambda e: e / e.sum(1, keepdims=True))(np.exp(x - x.max(1, keepdims=True)))"
NUMPY_LOG_SUM = "np.log(np.exp(x - x.max(1, keepdims=True)).sum(1))"

ROWS = [
    Row("softmax_forward", SHAPES, 4, NUMPY_SOFTMAX, ATEN + "_softmax.out(x, 1, False, out=out)"),
    Row(
        "softmax_backward",
        SHAPES,
        4,
        "out * (grad_out - (out * grad_out).sum(1, keepdims=True))",
        ATEN + "_softmax_backward_data.out(grad_out, out, 1, out.dtype, grad_input=grad_x)",
    ),
    Row(
        "log_softmax_forward",
        SHAPES,
        4,
        f"x - x.max(1, keepdims=True) - {NUMPY_LOG_SUM}[:, None]",
        ATEN + "_log_softmax.out(x, 1, False, out=out)",
    ),
    Row(
        "log_softmax_backward",
        SHAPES,
        4,
        "grad_out - np.exp(out) * grad_out.sum(1, keepdims=True)",
        ATEN + "_log_softmax_backward_data.out(grad_out, out, 1, out.dtype, out=grad_x)",
    ),
    Row("logsumexp_forward", SHAPES, 3, f"x.max(1) + {NUMPY_LOG_SUM}", "torch.logsumexp(x, 1, out=out)"),
    Row(
        "logsumexp_backward",
        SHAPES,
        3,
        "grad_out[:, None] * np.exp(x - out[:, None])",
        "torch.sub(x, out[:, None], out=grad_x).exp_().mul_(grad_out[:, None])",
    ),
]
