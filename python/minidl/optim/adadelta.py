"""Adadelta."""

from __future__ import annotations

from typing import Any

from minidl.optim.optimizer import Optimizer
from minidl.optim.param_group import ParamGroup


class Adadelta(Optimizer):
    """Adaptive learning rates without a unit (Zeiler 2012).

    g = grad + weight_decay * w; s = rho * s + (1 - rho) * g^2; d = sqrt(u + eps) / sqrt(s + eps) * g;
    u = rho * u + (1 - rho) * d^2; w -= lr * d.
    """

    kernel = "adadelta_step"

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        max_grad_norm: float | None = None,
        max_norm: float | None = None,
        l1_decay: float = 0.0,
        **implementation: bool | None,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "max_grad_norm": max_grad_norm,
            "max_norm": max_norm,
            "l1_decay": l1_decay,
        }
        super().__init__(params, defaults, implementation)

    def state_names(self, group: ParamGroup) -> tuple[str | None, ...]:
        return "square_avg", "acc_delta"

    def scalars(self, group: ParamGroup) -> tuple[Any, ...]:
        return group["rho"], group["eps"], group["maximize"]
