"""What one batch does in every layer: outputs, dead and saturated units, gradients; the model stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl import nn
from minidl.autograd import enable_grad, grad, no_grad
from minidl.nn import functional
from minidl.tensor import Tensor
from minidl.training.evaluation import Loss
from minidl.training.preserved import untouched

Array = npt.NDArray[Any]
Histogram = tuple[Array, Array]  # counts, and the edges of the bins: one more

# A unit is saturated where its derivative is below this share of the derivative's maximum.
SATURATED_BELOW = 0.01
# By layer: derivative / maximum of the derivative, as a function of the output.
_SLOPES: dict[type, Callable[[Any, Array], Array]] = {
    nn.Sigmoid: lambda layer, out: 4 * out * (1 - out),
    nn.Tanh: lambda layer, out: 1 - out**2,
    nn.Softsign: lambda layer, out: (1 - np.abs(out)) ** 2,
    nn.Hardtanh: lambda layer, out: ((out > layer.min_val) & (out < layer.max_val)).astype(out.dtype),
}


@dataclass(frozen=True)
class LayerStatistics:
    """One layer on one batch. Norms are Euclidean, over all elements; None where there is nothing to measure.

    Fields:
        name, kind: the dotted name in the model ("" for the model itself) and the class.
        output_mean, output_std: over all elements of the output.
        histogram: of the output: counts and edges.
        dead_fraction: ReLU only: units whose output is 0 for every sample of the batch, of all units.
        saturated_fraction: Sigmoid, Tanh, Softsign, Hardtanh: outputs at which the derivative is below 1 % of its
            maximum, of all outputs.
        grad_output_norm: of d loss / d output.
        grad_histogram: of d loss / d output.
        weight_norm: of the layer's parameter `weight`.
        grad_weight_norm: of d loss / d weight.
    """

    name: str
    kind: str
    output_mean: float
    output_std: float
    histogram: Histogram
    dead_fraction: float | None = None
    saturated_fraction: float | None = None
    grad_output_norm: float | None = None
    grad_histogram: Histogram | None = None
    weight_norm: float | None = None
    grad_weight_norm: float | None = None

    @property
    def label(self) -> str:
        """Name and class for a heading: "0 Linear"."""
        return f"{self.name} {self.kind}".strip()


def activation_statistics(
    model: Any, x: Any, target: Any = None, loss: Loss | None = None, bins: int = 50
) -> list[LayerStatistics]:
    """Calls the model once on a batch and measures every layer, in the order of the calls.

    With `target`, the gradients of loss(model(x), target) are measured, too (`loss` is cross-entropy if None). The
    model is called in the mode that it is in: while training, dropout drops and batch norm takes the batch's
    statistics. Modes, parameters, gradients, buffers and the default random generator are bitwise as before afterwards.

    Layers are modules without children, or with parameters of their own; one that is called several times is measured
    over all its calls. What functions such as `nn.functional.relu` compute belongs to no layer and is not seen.

    Raises ValueError for a loss without a target, and what the model and the loss raise.

    >>> import minidl
    >>> from minidl import nn
    >>> model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    >>> with minidl.no_grad():
    ...     _ = model[0].bias.copy_(minidl.tensor([9.0, 9.0, -9.0, 9.0]))
    >>> layers = activation_statistics(model, minidl.randn(8, 2), minidl.zeros(8).long())
    >>> [(layer.name, layer.kind, layer.dead_fraction) for layer in layers]
    [('0', 'Linear', None), ('1', 'ReLU', 0.25), ('2', 'Linear', None)]
    >>> layers[0].grad_output_norm > 0, model[0].weight.grad
    (True, None)
    """
    if loss is not None and target is None:
        raise ValueError("activation_statistics: a loss needs a target; pass the labels of the batch")
    calls: dict[str, list[_Call]] = {}
    layers = {name: module for name, module in model.named_modules() if _is_layer(module)}
    weights = {name: module.weight for name, module in layers.items() if _has_weight(module)}
    grads: dict[str, Array] = {}
    with untouched(model), _watched(layers, calls):
        if target is None:
            with no_grad():
                model(x)
        else:
            with enable_grad():
                value = (loss or functional.cross_entropy)(model(x), target)
            grads = _gradients(value, weights)
    return [_statistics(name, layers[name], found, grads.get(name), bins) for name, found in calls.items()]


class _Call:
    """What came out of a layer once, and the gradient that came back. Copies: what follows may work in place."""

    def __init__(self, output: Tensor) -> None:
        self.output = to_numpy(output)
        self.grad: Array | None = None
        if output.requires_grad:
            output.register_hook(self._keep)

    def _keep(self, grad_output: Tensor) -> None:
        self.grad = to_numpy(grad_output)


@contextmanager
def _watched(layers: dict[str, Any], calls: dict[str, list[_Call]]) -> Iterator[None]:
    def watch(name: str) -> Callable[..., None]:
        def note(module: Any, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point():
                calls.setdefault(name, []).append(_Call(output))

        return note

    handles = [module.register_forward_hook(watch(name)) for name, module in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _gradients(value: Tensor, weights: dict[str, Tensor]) -> dict[str, Array]:
    """d value / d weight by name; the outputs' gradients arrive at their hooks on the way."""
    if not value.requires_grad:
        return {}
    trained = {name: weight for name, weight in weights.items() if weight.requires_grad}
    found = grad(value, tuple(trained.values()), allow_unused=True)
    return {name: to_numpy(g) for name, g in zip(trained, found, strict=True) if g is not None}


def _statistics(name: str, layer: Any, calls: list[_Call], grad_weight: Array | None, bins: int) -> LayerStatistics:
    outputs = np.concatenate([call.output.ravel() for call in calls]).astype(np.float64)
    grads = [call.grad.ravel() for call in calls if call.grad is not None]
    joined = np.concatenate(grads).astype(np.float64) if grads else None
    return LayerStatistics(
        name,
        type(layer).__name__,
        float(outputs.mean()) if outputs.size else 0.0,
        float(outputs.std()) if outputs.size else 0.0,
        histogram(outputs, bins),
        _dead_fraction(calls) if isinstance(layer, nn.ReLU) else None,
        _saturated_fraction(layer, calls),
        None if joined is None else _norm(joined),
        None if joined is None else histogram(joined, bins),
        _norm(to_numpy(layer.weight)) if _has_weight(layer) else None,
        None if grad_weight is None else _norm(grad_weight),
    )


def histogram(values: Array, bins: int) -> Histogram:
    """Counts and edges between the smallest and the largest finite value; nan and inf are left out."""
    return np.histogram(values[np.isfinite(values)], bins)


def _dead_fraction(calls: list[_Call]) -> float:
    is_dead = [(call.output == 0).all(axis=0).ravel() for call in calls if call.output.ndim]
    return float(np.concatenate(is_dead).mean()) if is_dead else 0.0


def _saturated_fraction(layer: Any, calls: list[_Call]) -> float | None:
    slope = next((slope for kind, slope in _SLOPES.items() if isinstance(layer, kind)), None)
    if slope is None:
        return None
    is_flat = [slope(layer, call.output).ravel() < SATURATED_BELOW for call in calls]
    return float(np.concatenate(is_flat).mean())


def _is_layer(module: Any) -> bool:
    return not list(module.children()) or bool(list(module.parameters(recurse=False)))


def _has_weight(module: Any) -> bool:
    return isinstance(getattr(module, "weight", None), nn.Parameter)


def to_numpy(x: Tensor) -> Array:
    """A copy on the CPU."""
    return np.array(x.detach().cpu().numpy())


def _norm(values: Array) -> float:
    # Not np.linalg.norm: its dot product starts threads, which wait for each other where the cores are busy.
    return float(np.sqrt(np.square(values, dtype=np.float64).sum()))
