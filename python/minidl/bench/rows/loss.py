"""Rows of the losses, reduced to their mean."""

from __future__ import annotations

from minidl.bench.row import ELEMENTS, Row

ATEN = "torch.ops.aten."
CLASSES = {"cache": ((128, 10), (3000, 10)), "memory": ((1 << 20, 10),)}

TORCH_CROSS_ENTROPY = """
def cross_entropy():
    log_probs = aten._log_softmax(logits, 1, False)
    loss, total = aten.nll_loss_forward(log_probs, labels, None, 1, ignore_index)
    grad = aten.nll_loss_backward(one, log_probs, labels, None, 1, ignore_index, total)
    return loss, aten._log_softmax_backward_data(grad, log_probs, 1, logits.dtype)
aten, one = torch.ops.aten, torch.ones((), dtype=logits.dtype)
"""
NUMPY_CROSS_ENTROPY = """
def cross_entropy():
    powers = np.exp(logits - logits.max(1, keepdims=True))
    probs = powers / powers.sum(1, keepdims=True)
    kept = labels != ignore_index
    rows, label, count = np.arange(len(labels)), np.where(kept, labels, 0), kept.sum()
    loss = -(np.log(probs[rows, label]) * kept).sum() / count
    probs[rows, label] -= 1
    probs *= (kept / count).astype(probs.dtype)[:, None]
    return loss, probs
"""
TORCH_NLL = """
def nll():
    loss, total = aten.nll_loss_forward(log_probs, labels, None, 1, ignore_index)
    return loss, aten.nll_loss_backward(one, log_probs, labels, None, 1, ignore_index, total)
aten, one = torch.ops.aten, torch.ones((), dtype=log_probs.dtype)
"""
NUMPY_NLL = """
def nll():
    kept = labels != ignore_index
    rows, label, count = np.arange(len(labels)), np.where(kept, labels, 0), kept.sum()
    grad = np.zeros_like(log_probs)
    grad[rows, label] = kept / -count
    return (log_probs[rows, label] * kept).sum() / -count, grad
"""


def _forward(kernel: str, flops: float, numpy: str, torch: str) -> Row:
    return Row(kernel, ELEMENTS, flops, f"np.mean({numpy})", ATEN + torch)


def _backward(kernel: str, flops: float, numpy: str, torch: str, x: str = "x") -> Row:
    return Row(kernel, ELEMENTS, flops, f"{numpy} * (grad_out / {x}.size)", torch)


ROWS = [
    Row(
        "cross_entropy_forward",
        CLASSES,
        lambda operands: 5.0 * operands[0].size,
        "cross_entropy()",
        "cross_entropy()",
        setup={"torch": TORCH_CROSS_ENTROPY, "numpy": NUMPY_CROSS_ENTROPY},
    ),
    Row(
        "nll_forward",
        CLASSES,
        lambda operands: 2.0 * operands[0].size / operands[0].shape[1],
        "nll()",
        "nll()",
        setup={"torch": TORCH_NLL, "numpy": NUMPY_NLL},
    ),
    _forward(
        "bce_forward",
        8,
        "-(target * np.log(probs) + (1 - target) * np.log1p(-probs))",
        "binary_cross_entropy(probs, target)",
    ),
    _backward(
        "bce_backward",
        5,
        "(probs - target) / (probs * (1 - probs))",
        ATEN + "binary_cross_entropy_backward.grad_input(grad_out, probs, target, None, 1, grad_input=grad_x)",
        "probs",
    ),
    _forward(
        "bce_with_logits_forward",
        7,
        "np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))",
        "binary_cross_entropy_with_logits(logits, target)",
    ),
    _backward(
        "bce_with_logits_backward",
        6,
        "(1 / (1 + np.exp(-logits)) - target)",
        "torch.sigmoid(logits, out=grad_x).sub_(target).mul_(grad_out / logits.numel())",
        "logits",
    ),
    _forward("mse_forward", 3, "np.square(x - target)", "mse_loss(x, target)"),
    _backward(
        "mse_backward",
        2,
        "2 * (x - target)",
        ATEN + "mse_loss_backward.grad_input(grad_out, x, target, 1, grad_input=grad_x)",
    ),
    _forward("l1_forward", 2, "np.abs(x - target)", "l1_loss(x, target)"),
    _backward(
        "l1_backward", 2, "np.sign(x - target)", "torch.sub(x, target, out=grad_x).sign_().mul_(grad_out / x.numel())"
    ),
    _forward(
        "smooth_l1_forward",
        5,
        "(lambda d: np.where(d < beta, d * d / (2 * beta), d - beta / 2))(np.abs(x - target))",
        "smooth_l1_loss(x, target, 1, beta)",
    ),
    _backward(
        "smooth_l1_backward",
        3,
        "np.clip((x - target) / beta, -1, 1)",
        ATEN + "smooth_l1_loss_backward.grad_input(grad_out, x, target, 1, beta, grad_input=grad_x)",
    ),
    _forward(
        "huber_forward",
        5,
        "(lambda d: np.where(d <= delta, d * d / 2, delta * (d - delta / 2)))(np.abs(x - target))",
        "huber_loss(x, target, 1, delta)",
    ),
    _backward(
        "huber_backward",
        3,
        "np.clip(x - target, -delta, delta)",
        ATEN + "huber_loss_backward.out(grad_out, x, target, 1, delta, grad_input=grad_x)",
    ),
]
