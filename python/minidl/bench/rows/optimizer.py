"""Rows of the optimizer steps: all parameters of a network in one call."""

from __future__ import annotations

from minidl.bench.row import MEMORY_SIZE, Count, Operands, Row

# The parameters of 64-128-64-10; and one of 48 MiB.
SHAPES = {
    "cache": (((128, 64), (128,), (64, 128), (64,), (10, 64), (10,)),),
    "memory": (((MEMORY_SIZE // 1024, 1024),),),
}
# fused=True is PyTorch's fastest where it exists.
FUSED = ", fused=True"


def segment_flops(per_element: float) -> Count:
    """Operations for each element of the parameters."""
    return lambda operands: per_element * sum(o.shape[1] for o in operands if len(o.shape) == 2)


def _step_traffic(operands: Operands) -> float:
    """Parameter and states are read and written, the gradient is read."""
    segments = [operand for operand in operands if len(operand.shape) == 2]
    return sum((2 * rows - 1) * size * itemsize for (rows, size), itemsize in segments)


def gradient_traffic(passes: int) -> Count:
    """The bytes of so many passes over one array for each parameter."""

    def traffic(operands: Operands) -> float:
        return sum(passes * o.shape[1] * o.itemsize for o in operands if len(o.shape) == 2)

    return traffic


def _torch_setup(optimizer: str) -> str:
    return f"""
for param, grad in zip(params, grads):
    param.grad = grad
lr, momentum, weight_decay = schedule.tolist()
optimizer = torch.optim.{optimizer}
"""


def _step(kernel: str, flops: float, optimizer: str, numpy: str = "", check: int = 0) -> Row:
    setup = {"torch": _torch_setup(optimizer)}
    if numpy:
        setup["numpy"] = numpy
    return Row(
        kernel,
        SHAPES,
        segment_flops(flops),
        "step()" if numpy else "",
        "optimizer.step() or params",
        traffic=_step_traffic,
        check=check,
        setup=setup,
    )


NUMPY_SGD = """
lr, momentum, weight_decay = schedule.tolist()
def step():
    for param, grad, buffer in zip(params, grads, states[0]):
        grad = grad + weight_decay * param
        buffer *= momentum
        buffer += grad
        param -= lr * buffer
    return params
"""
NUMPY_ADAM = """
lr, beta1, weight_decay = schedule.tolist()
steps = 0
def step():
    global steps
    steps += 1
    for param, grad, m, v in zip(params, grads, *states[:2]):
        grad = grad + weight_decay * param
        m *= beta1
        m += (1 - beta1) * grad
        v *= beta2
        v += (1 - beta2) * grad * grad
        param -= (lr / (1 - beta1**steps)) * m / (np.sqrt(v * (1 / (1 - beta2**steps))) + eps)
    return params
"""
BETAS = "lr, (momentum, beta2), eps, weight_decay"

ROWS = [
    _step(
        "sgd_step",
        6,
        "SGD(params, lr, momentum, dampening, weight_decay, nesterov, maximize=maximize" + FUSED + ")",
        NUMPY_SGD,
        check=1,
    ),
    _step("adam_step", 14, f"Adam(params, {BETAS}, maximize=maximize{FUSED})", NUMPY_ADAM),
    _step("adagrad_step", 7, "Adagrad(params, lr, lr_decay, weight_decay, eps=eps, maximize=maximize" + FUSED + ")"),
    _step("rmsprop_step", 11, "RMSprop(params, lr, alpha, eps, weight_decay, momentum, maximize=maximize)", check=1),
    _step("adadelta_step", 15, "Adadelta(params, lr, rho, eps, weight_decay, maximize=maximize)"),
    _step("adamax_step", 9, f"Adamax(params, {BETAS}, maximize=maximize)"),
    _step("nadam_step", 16, f"NAdam(params, {BETAS}, momentum_decay, maximize=maximize)"),
    _step(
        "radam_step",
        14,
        f"RAdam(params, {BETAS}, decoupled_weight_decay=decoupled, maximize=maximize)",
    ),
    Row(
        "squared_norm",
        SHAPES,
        segment_flops(2),
        "sum(np.vdot(grad, grad) for grad in grads)",
        "torch.stack(torch._foreach_norm(grads)).square().sum()",
        traffic=gradient_traffic(1),
    ),
    Row(
        "scale_gradients",
        SHAPES,
        segment_flops(1),
        "[np.multiply(grad, min(1.0, max_norm / (squared_norm[0] ** 0.5 + 1e-6)), out=grad) for grad in grads]",
        "torch._foreach_mul_(grads, min(1.0, max_norm / (squared_norm.item() ** 0.5 + 1e-6))) or grads",
        traffic=gradient_traffic(2),
    ),
]
