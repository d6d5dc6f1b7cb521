"""A layer's three products with all that is fused into them: by minidl, by PyTorch, and in float64."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np


class Layer:
    """The arrays of a layer, and what its three products must give in float64."""

    def __init__(self, gpu: Any, shape: tuple[int, int, int]) -> None:
        rows, inputs, outputs = shape
        self.gpu = gpu
        self.x, self.weight, self.bias = gpu.normal(rows, inputs), gpu.normal(outputs, inputs), gpu.normal(outputs)
        # x is what relu of the layer before gave, so about half of it is 0.
        gpu.kernels.relu_forward(self.x, self.x)
        self.grad_out = gpu.normal(rows, outputs)
        self.out, self.grad_x = gpu.zeros(rows, outputs), gpu.zeros(rows, inputs)
        self.grad_weight, self.grad_bias = gpu.zeros(outputs, inputs), gpu.zeros(outputs)
        self.spare = [gpu.zeros(*array.shape) for array in (self.out, self.grad_x)]

    def fused(self, product: str) -> None:
        """The product with all that follows it in one kernel call."""
        relu = self.gpu.kernels.Activation.relu
        if product == "NT":
            self.gpu.kernels.linear_forward(self.x, self.weight, self.bias, self.out, relu)
        elif product == "NN":
            self.gpu.kernels.linear_backward_input(self.grad_out, self.weight, self.grad_x, self.x, relu)
        else:
            self.gpu.kernels.linear_backward_weight(self.grad_out, self.x, self.grad_weight, self.grad_bias)

    def unfused(self, product: str) -> None:
        """The same kernel by kernel."""
        kernels = self.gpu.kernels
        if product == "NT":
            kernels.matmul(self.x, self.weight, self.spare[0], False, True)
            kernels.add_forward(self.spare[0], self.bias, self.spare[0])
            kernels.relu_forward(self.spare[0], self.out)
        elif product == "NN":
            kernels.matmul(self.grad_out, self.weight, self.spare[1])
            kernels.relu_backward(self.x, self.spare[1], self.grad_x)
        else:
            kernels.matmul(self.grad_out, self.x, self.grad_weight, True)
            rows, outputs = self.grad_out.shape
            kernels.sum_forward(self.grad_out.reshape(1, rows, outputs), self.grad_bias.reshape(1, outputs))

    def in_torch(self, torch: ModuleType, product: str) -> Callable[[], object]:
        """PyTorch's fastest: cuBLASLt with its epilogue where PyTorch reaches one."""
        names = ("x", "weight", "bias", "grad_out", "out", "grad_x", "grad_weight", "grad_bias")
        x, weight, bias, grad_out, out, grad_x, grad_weight, grad_bias = (
            self.gpu.view_in_torch(torch, getattr(self, name)) for name in names
        )
        if product == "NT":
            return lambda: torch._addmm_activation(bias, x, weight.t(), out=out)
        if product == "NN":
            spare = torch.empty_like(grad_x)
            backward = torch.ops.aten.threshold_backward.grad_input
            return lambda: backward(torch.mm(grad_out, weight, out=spare), x, 0, grad_input=grad_x)
        return lambda: (torch.mm(grad_out.t(), x, out=grad_weight), torch.sum(grad_out, 0, out=grad_bias))

    def product_in_torch(self, torch: ModuleType, product: str) -> Callable[[], object]:
        """cuBLAS's product alone."""
        names = {"NT": ("x", "weight", "out"), "NN": ("grad_out", "weight", "grad_x")}
        left, right, out = (
            self.gpu.view_in_torch(torch, getattr(self, name))
            for name in names.get(product, ("grad_out", "x", "grad_weight"))
        )
        if product == "NT":
            return lambda: torch.mm(left, right.t(), out=out)
        return lambda: torch.mm(left if product == "NN" else left.t(), right, out=out)

    def written(self, product: str) -> tuple[Any, ...]:
        """The arrays that hold the result."""
        return {"NT": (self.out,), "NN": (self.grad_x,), "TN": (self.grad_weight, self.grad_bias)}[product]

    def poison(self, product: str, is_bare: bool) -> None:
        """Makes them nan, but for the column sums where only the product is computed."""
        for array in self.written(product)[: 1 if is_bare else 2]:
            self.gpu.kernels.fill(array, float("nan"))

    def result(self, product: str) -> Any:
        """What was written, as one array of NumPy's."""
        return np.concatenate([self.gpu.host(array).reshape(-1) for array in self.written(product)])

    def wanted(self, product: str, is_bare: bool = False) -> tuple[Any, Any]:
        """The result in float64, and for each element the sum of its terms' absolute values."""
        x, weight, bias, grad = (
            self.gpu.host(a).astype(np.float64) for a in (self.x, self.weight, self.bias, self.grad_out)
        )
        if product == "NT":
            out, scale = x @ weight.T, np.abs(x) @ np.abs(weight.T)
            return (out if is_bare else np.maximum(out + bias, 0)).reshape(-1), (scale + np.abs(bias)).reshape(-1)
        if product == "NN":
            grad_x = grad @ weight
            return (grad_x if is_bare else grad_x * (x > 0)).reshape(-1), (np.abs(grad) @ np.abs(weight)).reshape(-1)
        sums = [grad.T @ x, grad.sum(0)]
        scales = [np.abs(grad.T) @ np.abs(x), np.abs(grad).sum(0)]
        return np.concatenate([a.reshape(-1) for a in sums]), np.concatenate([a.reshape(-1) for a in scales])
