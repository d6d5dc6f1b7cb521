"""Adamax."""

from __future__ import annotations

from typing import Any

from minidl.optim.optimizer import Optimizer
from minidl.optim.param_group import ParamGroup


class Adamax(Optimizer):
    """Adam with the infinity norm (Kingma and Ba 2015, section 7.1).

    m = beta1 * m + (1 - beta1) * g; u = max(beta2 * u, |g| + eps); in step t w -= lr / (1 - beta1^t) * m / u.
    """

    kernel = "adamax_step"

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
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
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "max_grad_norm": max_grad_norm,
            "max_norm": max_norm,
            "l1_decay": l1_decay,
        }
        super().__init__(params, defaults, implementation)

    def state_names(self, group: ParamGroup) -> tuple[str | None, ...]:
        return "exp_avg", "exp_inf"

    def scalars(self, group: ParamGroup) -> tuple[Any, ...]:
        return group["betas"][1], group["eps"], group["maximize"]
