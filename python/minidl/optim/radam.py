"""RAdam."""

from __future__ import annotations

from typing import Any

from minidl.optim.optimizer import Optimizer
from minidl.optim.param_group import ParamGroup


class RAdam(Optimizer):
    """Rectified Adam (Liu 2020).

    Moments m and v as Adam's; R = 2 / (1 - beta2) - 1, r = R - 2 * t * beta2^t / (1 - beta2^t). Where r > 5
    w -= lr * m / (1 - beta1^t) * sqrt(1 - beta2^t) / (sqrt(v) + eps) * rectification, with
    rectification = sqrt((r - 4) * (r - 2) * R / ((R - 4) * (R - 2) * r)); before that w -= lr * m / (1 - beta1^t).
    """

    kernel = "radam_step"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
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
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "max_grad_norm": max_grad_norm,
            "max_norm": max_norm,
            "l1_decay": l1_decay,
        }
        super().__init__(params, defaults, implementation)

    def state_names(self, group: ParamGroup) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq"

    def scalars(self, group: ParamGroup) -> tuple[Any, ...]:
        return group["betas"][1], group["eps"], group["decoupled_weight_decay"], group["maximize"]
