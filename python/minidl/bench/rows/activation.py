"""Rows of the activations, forward and backward."""

from __future__ import annotations

from minidl.bench.row import ELEMENTS, MEMORY_SIZE, Row

ATEN = "torch.ops.aten."
CHANNELS = {"cache": (((128, 256), 256),), "memory": (((MEMORY_SIZE // 256, 256), 256),)}
SELU = "1.6732632423543772, 1.0507009873554805"
LOG_SIGMOID_SETUP = {"torch": "buffer = torch.ops.aten.log_sigmoid_forward(x)[1]"}


def _forward(kernel: str, flops: float, numpy: str, torch: str) -> Row:
    return Row(kernel, ELEMENTS, flops, numpy, torch)


def _backward(
    kernel: str, flops: float, numpy: str, torch: str, saved: str = "x", setup: dict[str, str] | None = None
) -> Row:
    """`torch` names the operator and what follows grad_out and the saved array among its arguments."""
    name, _, arguments = torch.partition(" ")
    first = arguments or f"grad_out, {saved}"
    expression = f"{ATEN}{name}.grad_input({first}, grad_input=grad_x)"
    return Row(kernel, ELEMENTS, flops, numpy, expression, setup=setup or {})


def _composite(kernel: str, flops: float, numpy: str, torch: str) -> Row:
    return Row(kernel, ELEMENTS, flops, numpy, torch)


ROWS = [
    _forward("relu_forward", 0, "np.maximum(x, 0, out=out)", "torch.clamp_min(x, 0, out=out)"),
    _backward("relu_backward", 1, "np.multiply(grad_out, out > 0, out=grad_x)", "threshold_backward grad_out, out, 0"),
    _forward(
        "leaky_relu_forward",
        1,
        "np.where(x > 0, x, negative_slope * x)",
        "torch._C._nn.leaky_relu(x, negative_slope, out=out)",
    ),
    _backward(
        "leaky_relu_backward",
        1,
        "np.where(x > 0, grad_out, negative_slope * grad_out)",
        "leaky_relu_backward grad_out, x, negative_slope, False",
    ),
    Row("prelu_forward", CHANNELS, 1, "np.where(x > 0, x, weight * x)", "torch.prelu(x, weight)"),
    Row(
        "prelu_backward",
        CHANNELS,
        3,
        "(np.where(x > 0, grad_out, weight * grad_out), (grad_out * np.minimum(x, 0)).sum(0))",
        "(lambda g: (g[0], g[1].sum(0)))(torch.ops.aten._prelu_kernel_backward(grad_out, x, weight.reshape(1, -1)))",
    ),
    _forward("elu_forward", 2, "np.where(x > 0, x, alpha * np.expm1(x))", "torch._C._nn.elu(x, alpha, out=out)"),
    _backward(
        "elu_backward",
        3,
        "grad_out * np.where(x > 0, 1, alpha * np.exp(x))",
        "elu_backward grad_out, alpha, 1, 1, False, x",
    ),
    _forward(
        "selu_forward",
        3,
        "1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))",
        f"torch._C._nn.elu(x, {SELU}, out=out)",
    ),
    _backward(
        "selu_backward",
        4,
        "grad_out * np.where(x > 0, 1.0507009873554805, 1.7580993408473766 * np.exp(x))",
        f"elu_backward grad_out, {SELU}, 1, False, x",
    ),
    _forward(
        "celu_forward",
        3,
        "np.where(x > 0, x, alpha * np.expm1(x / alpha))",
        "torch._C._nn.elu(x, alpha, 1.0, 1 / alpha, out=out)",
    ),
    _backward(
        "celu_backward",
        3,
        "grad_out * np.where(x > 0, 1, np.exp(x / alpha))",
        "elu_backward grad_out, alpha, 1.0, 1 / alpha, False, x",
    ),
    _forward("gelu_forward", 5, "", "torch._C._nn.gelu(x, out=out)"),
    _backward("gelu_backward", 9, "", "gelu_backward"),
    _forward(
        "gelu_tanh_forward",
        9,
        "0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))",
        "torch._C._nn.gelu(x, approximate='tanh', out=out)",
    ),
    Row(
        "gelu_tanh_backward",
        ELEMENTS,
        18,
        "(lambda t: grad_out * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (0.7978845608028654 + 0.1070322243 * x * x)))"
        "(np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))",
        ATEN + "gelu_backward.grad_input(grad_out, x, approximate='tanh', grad_input=grad_x)",
    ),
    _forward("silu_forward", 4, "x / (1 + np.exp(-x))", ATEN + "silu.out(x, out=out)"),
    _backward(
        "silu_backward", 8, "(lambda s: grad_out * s * (1 + x * (1 - s)))(1 / (1 + np.exp(-x)))", "silu_backward"
    ),
    _forward("mish_forward", 4, "x * np.tanh(np.log1p(np.exp(x)))", ATEN + "mish.out(x, out=out)"),
    _composite(
        "mish_backward",
        10,
        "(lambda t, s: grad_out * (t + x * s * (1 - t * t)))(np.tanh(np.log1p(np.exp(x))), 1 / (1 + np.exp(-x)))",
        ATEN + "mish_backward(grad_out, x)",
    ),
    _forward(
        "softplus_forward",
        4,
        "np.where(beta * x > threshold, x, np.log1p(np.exp(beta * x)) / beta)",
        "torch._C._nn.softplus(x, beta, threshold, out=out)",
    ),
    _backward(
        "softplus_backward",
        5,
        "np.where(beta * x > threshold, grad_out, grad_out / (1 + np.exp(-beta * x)))",
        "softplus_backward grad_out, x, beta, threshold",
    ),
    _forward("softsign_forward", 3, "x / (1 + np.abs(x))", "torch.div(x, x.abs().add_(1), out=out)"),
    _composite(
        "softsign_backward",
        4,
        "grad_out / np.square(1 + np.abs(x))",
        "torch.div(grad_out, x.abs().add_(1).square_(), out=grad_x)",
    ),
    _forward("sigmoid_forward", 4, "1 / (1 + np.exp(-x))", "torch.sigmoid(x, out=out)"),
    _backward("sigmoid_backward", 3, "grad_out * out * (1 - out)", "sigmoid_backward", saved="out"),
    _forward("logsigmoid_forward", 5, "-np.log1p(np.exp(-x))", "torch._C._nn.log_sigmoid(x, out=out)"),
    _backward(
        "logsigmoid_backward",
        4,
        "grad_out / (1 + np.exp(x))",
        "log_sigmoid_backward grad_out, x, buffer",
        setup=LOG_SIGMOID_SETUP,
    ),
    _forward("tanh_forward", 1, "np.tanh(x, out=out)", "torch.tanh(x, out=out)"),
    _backward("tanh_backward", 3, "grad_out * (1 - out * out)", "tanh_backward", saved="out"),
    _forward("hardtanh_forward", 0, "np.clip(x, min, max, out=out)", ATEN + "hardtanh.out(x, min, max, out=out)"),
    _backward("hardtanh_backward", 0, "grad_out * ((x > min) & (x < max))", "hardtanh_backward grad_out, x, min, max"),
]
