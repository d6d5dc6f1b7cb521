"""Which neighbours in a Sequential run as one kernel, and how: Linear with its activation, batch norm with relu and
dropout. The numbers are those of the single layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minidl.anomaly import anomaly
from minidl.nn.activation import ReLU, Sigmoid, Tanh
from minidl.nn.dropout import Dropout
from minidl.nn.linear import Linear
from minidl.nn.module import Module
from minidl.nn.normalization import BatchNorm1d
from minidl.tensor import Tensor

_ACTIVATIONS: dict[type, str] = {ReLU: "relu", Sigmoid: "sigmoid", Tanh: "tanh"}


@dataclass(frozen=True)
class LinearWithActivation:
    """The activation is applied while the products are still in registers."""

    linear: Linear
    activation: Module

    def __call__(self, input: Tensor) -> Tensor:
        return self.linear.forward_with(input, _ACTIVATIONS[type(self.activation)])

    def parts(self) -> tuple[Module, ...]:
        """The layers, in order."""
        return self.linear, self.activation


@dataclass(frozen=True)
class NormWithReLU:
    """Normalizes, cuts off and drops in one pass; backward finds out from the result which units were on."""

    norm: BatchNorm1d
    relu: ReLU
    dropout: Dropout | None

    def __call__(self, input: Tensor) -> Tensor:
        drops = self.dropout is not None and self.dropout.training
        return self.norm.forward_with(input, "relu", self.dropout.p if drops and self.dropout is not None else 0.0)

    def parts(self) -> tuple[Module, ...]:
        """The layers, in order."""
        return (self.norm, self.relu) if self.dropout is None else (self.norm, self.relu, self.dropout)


def fused(modules: Sequence[Module]) -> list[Callable[[Any], Any]]:
    """What a Sequential of these modules calls, one after the other: modules, and groups of them fused.

    A module with a hook, a subclass, or one whose forward was replaced stays by itself, so that whoever looks on sees
    its input and output.
    """
    steps: list[Callable[[Any], Any]] = []
    rest = list(modules)
    while rest:
        group = _group_at_the_front(rest)
        steps.append(rest[0] if group is None else group)
        del rest[: 1 if group is None else len(group.parts())]
    return steps


def _group_at_the_front(modules: Sequence[Module]) -> LinearWithActivation | NormWithReLU | None:
    kinds = [_kind(module) for module in modules[:3]] + [None, None]
    if kinds[0] is Linear and kinds[1] in _ACTIVATIONS:
        return LinearWithActivation(modules[0], modules[1])  # type: ignore[arg-type]
    if kinds[0] is BatchNorm1d and kinds[1] is ReLU:
        # Dropout by itself allows its result to be changed in place, the fused one needs it: a layer must follow that
        # does not.
        is_kept = len(modules) > 3 and not getattr(modules[3], "inplace", False)
        dropout = modules[2] if kinds[2] is Dropout and is_kept else None
        return NormWithReLU(modules[0], modules[1], dropout)  # type: ignore[arg-type]
    return None


def _kind(module: Module) -> type | None:
    """The module's class where it is safe to do its work for it, else None."""
    is_watched = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or anomaly.is_on
    return None if is_watched or "forward" in module.__dict__ else type(module)
