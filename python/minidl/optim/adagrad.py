"""Adagrad."""

from __future__ import annotations

from typing import Any

from minidl.optim.optimizer import Optimizer
from minidl.optim.param_group import ParamGroup


class Adagrad(Optimizer):
    """Adaptive subgradients (Duchi 2011).

    g = grad + weight_decay * w; s += g^2, from ``initial_accumulator_value``; in step t
    w -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps).
    """

    kernel = "adagrad_step"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        max_grad_norm: float | None = None,
        max_norm: float | None = None,
        l1_decay: float = 0.0,
        **implementation: bool | None,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
            "max_grad_norm": max_grad_norm,
            "max_norm": max_norm,
            "l1_decay": l1_decay,
        }
        super().__init__(params, defaults, implementation)

    def state_names(self, group: ParamGroup) -> tuple[str | None, ...]:
        return ("sum",)

    def scalars(self, group: ParamGroup) -> tuple[Any, ...]:
        return group["lr_decay"], group["eps"], group["maximize"]

    def initial_value(self, name: str, group: ParamGroup) -> float:
        return float(group["initial_accumulator_value"]) if name == "sum" else 0.0
