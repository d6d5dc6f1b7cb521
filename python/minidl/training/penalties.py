"""Penalties on the weights as terms of the loss, for fit(penalty=...)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minidl import ops
from minidl.tensor import Tensor

Penalty = Callable[[Any], Tensor]


def l1_penalty(weight: float) -> Penalty:
    """The function model -> weight * sum of |w| over all parameters of more than one dimension.

    Its gradient weight * sign(w) drives weights towards 0 and past it, so that hardly any becomes exactly 0: they swing
    around it by the size of a step. The option `l1_decay` of the optimizers gives exact zeros. Raises ValueError for a
    negative weight, and when called for a model without such parameters.

    >>> import minidl
    >>> from minidl import nn, training
    >>> model = nn.Linear(2, 1)
    >>> model.weight.data.copy_(minidl.tensor([[3.0, -4.0]])).shape
    minidl.Size([1, 2])
    >>> training.l1_penalty(0.5)(model).item()
    3.5
    """
    _require_weight("l1_penalty", weight)
    return lambda model: weight * _total(model, "l1_penalty", lambda w: w.abs().sum())


def l2_penalty(weight: float) -> Penalty:
    """The function model -> weight / 2 * sum of w^2 over all parameters of more than one dimension.

    Its gradient is weight * w, so that with plain SGD it is the same as `weight_decay=weight` for these parameters.
    Raises ValueError for a negative weight, and when called for a model without such parameters.

    >>> import minidl
    >>> from minidl import nn, training
    >>> model = nn.Linear(2, 1)
    >>> model.weight.data.copy_(minidl.tensor([[3.0, -4.0]])).shape
    minidl.Size([1, 2])
    >>> training.l2_penalty(0.5)(model).item()
    6.25
    """
    _require_weight("l2_penalty", weight)
    return lambda model: weight / 2 * _total(model, "l2_penalty", lambda w: ops.square(w).sum())


def _require_weight(name: str, weight: float) -> None:
    if not weight >= 0:
        raise ValueError(f"{name}: weight must be at least 0, got {weight}")


def _total(model: Any, name: str, term: Callable[[Any], Tensor]) -> Tensor:
    terms = [term(parameter) for parameter in model.parameters() if parameter.dim() > 1]
    if not terms:
        raise ValueError(f"{name}: the model has no parameter of more than one dimension")
    total = terms[0]
    for other in terms[1:]:
        total = total + other
    return total
