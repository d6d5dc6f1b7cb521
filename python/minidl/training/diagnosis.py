"""Finds where a nan or inf came from."""

from __future__ import annotations

import math
from typing import Any

from minidl import ops
from minidl.autograd import no_grad
from minidl.ops.gradient_clipping import squared_norm
from minidl.tensor import Tensor


class NonFiniteLossError(ArithmeticError):
    """The loss or a weight became nan or inf; the message names the epoch, the step and the first bad layer."""


def is_finite(tensor: Any) -> bool:
    """Whether no element is nan or inf; integers always are finite."""
    return not tensor.is_floating_point() or bool(ops.isfinite(tensor.detach()).all().item())


def first_bad_weight(model: Any) -> str | None:
    """The first parameter that holds nan or inf, in words."""
    parameters = [parameter for parameter in model.parameters() if parameter.is_floating_point()]
    # On a GPU one sum of squares and one number to wait for; only float64 has finite numbers whose squares are not.
    are_there = parameters and all(parameter.is_cuda for parameter in parameters)
    if are_there and math.isfinite(squared_norm(parameters).item()):
        return None
    for name, parameter in model.named_parameters():
        if not is_finite(parameter):
            return f"parameter {name!r}"
    return None


def first_bad_layer(model: Any, *inputs: Any) -> str:
    """Runs the model on each input once more and says, in words, what went bad first: an input, a weight, an output.

    The model's parameters and buffers are as before afterwards.
    """
    if not all(is_finite(x) for x in inputs):
        return "the input batch, which holds nan or inf"
    found: list[str] = []

    def inspect(name: str) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            if found:
                return
            weight = first_bad_weight(module)
            if weight:
                found.append(f"layer {name!r}, {module}: its {weight} holds nan or inf")
            elif isinstance(output, Tensor) and not is_finite(output):
                found.append(f"layer {name!r}, {module}: its output holds nan or inf")

        return hook

    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(inspect(name)) for name, module in leaves]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        with no_grad():
            for x in inputs:
                model(x)
    finally:
        for handle in handles:
            handle.remove()
        model.load_state_dict(before)
    return found[0] if found else "no layer: every output is finite, so look at the loss function and its targets"
