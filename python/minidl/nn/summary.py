"""summary(model, input_shape): the layers of a model with shapes, parameters, work, and what runs as one kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from minidl import ops
from minidl.autograd import no_grad
from minidl.nn.containers import Sequential
from minidl.nn.linear import Bilinear, Linear
from minidl.nn.module import Module
from minidl.tensor import Tensor


@dataclass(frozen=True)
class LayerFigures:
    """One module: its dotted name, class, depth in the tree, and what one call of it does."""

    name: str
    kind: str
    depth: int
    output_shape: tuple[int, ...] | None  # None where it was not called or returns no tensor
    parameters: int  # of its own, those of its children not counted
    flops: int  # of its matrix products, a multiply-add being two
    fused_with: str  # names of the layers that run in the same kernel as this one


@dataclass(frozen=True)
class Summary:
    """What :func:`summary` returns; printed, it is a table."""

    layers: tuple[LayerFigures, ...]
    parameters: int
    trainable: int
    parameter_bytes: int
    output_bytes: int  # of all layers without children, as a training step keeps them
    flops: int

    def __str__(self) -> str:
        header = ("layer", "output", "parameters", "FLOPs", "one kernel with")
        rows = [
            (
                "  " * layer.depth + (f"{layer.name.rpartition('.')[2]}: " if layer.name else "") + layer.kind,
                "" if layer.output_shape is None else "x".join(map(str, layer.output_shape)) or "number",
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.flops:,}" if layer.flops else "",
                layer.fused_with,
            )
            for layer in self.layers
        ]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(5)]
        left = (True, True, False, False, True)
        lines = [
            "  ".join(
                cell.ljust(w) if is_left else cell.rjust(w) for cell, w, is_left in zip(row, widths, left, strict=True)
            )
            for row in [header, *rows]
        ]
        lines.append(f"{self.parameters:,} parameters ({self.trainable:,} trained), {_size(self.parameter_bytes)}")
        lines.append(f"forward: {self.flops:,} FLOPs in matrix products, {_size(self.output_bytes)} of outputs")
        return "\n".join(line.rstrip() for line in lines)


def summary(model: Module, input_shape: Sequence[int], dtype: Any = None) -> Summary:
    """Calls ``model`` once on zeros of ``input_shape`` (batch included) and says what each layer does.

    Columns: output shape; parameters of the layer itself; FLOPs of its matrix products (2 m n k each); and the layers
    that a Sequential runs in the same kernel (batch norm with relu and dropout: while training). The model is called in
    evaluation mode, without gradients, and is then as it was.

    Raises TypeError where the model does not take one tensor, and what its forward raises for that shape.

    >>> import minidl
    >>> from minidl import nn
    >>> print(minidl.summary(nn.Sequential(nn.Linear(784, 10), nn.ReLU()), (32, 784)))
    layer        output  parameters    FLOPs  one kernel with
    Sequential   32x10
      0: Linear  32x10        7,850  501,760  1
      1: ReLU    32x10                        0
    7,850 parameters (7,850 trained), 31.4 kB
    forward: 501,760 FLOPs in matrix products, 2.6 kB of outputs
    """
    groups = _fused_groups(model)
    outputs = _outputs_of(model, ops.zeros(*input_shape, dtype=dtype))
    layers = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        out = outputs.get(id(module))
        layers.append(
            LayerFigures(
                name,
                type(module).__name__,
                name.count(".") + 1 if name else 0,
                None if out is None else tuple(out.shape),
                sum(parameter.numel() for parameter in own),
                _flops_of(module, out),
                groups.get(id(module), ""),
            )
        )
    parameters = list(model.parameters())
    leaves = [
        outputs[id(module)] for module in model.modules() if not list(module.children()) and id(module) in outputs
    ]
    return Summary(
        tuple(layers),
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        sum(out.numel() * out.element_size() for out in leaves),
        sum(layer.flops for layer in layers),
    )


def _fused_groups(model: Module) -> dict[int, str]:
    """By id of a module: the names of the others that run with it."""
    groups: dict[int, str] = {}
    for container in model.modules():
        if not isinstance(container, Sequential) or type(container).forward is not Sequential.forward:
            continue
        names = {id(child): name for name, child in container.named_children()}
        for step in container.steps():
            parts = [] if isinstance(step, Module) else step.parts()  # type: ignore[attr-defined]
            for part in parts:
                groups[id(part)] = ", ".join(names[id(other)] for other in parts if other is not part)
    return groups


@contextmanager
def _in_evaluation(model: Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _outputs_of(model: Module, x: Tensor) -> dict[int, Tensor]:
    """By id of a module: the tensor that it returned last."""
    outputs: dict[int, Tensor] = {}

    def note(module: Module, args: Any, out: Any) -> None:
        if isinstance(out, Tensor):
            outputs[id(module)] = out

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with _in_evaluation(model), no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _flops_of(module: Module, out: Tensor | None) -> int:
    if out is None:
        return 0
    if isinstance(module, Linear):
        return 2 * out.numel() * module.in_features
    if isinstance(module, Bilinear):
        return 2 * math.prod(out.shape[:-1]) * module.weight.numel()
    return 0


def _size(count: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} bytes"
