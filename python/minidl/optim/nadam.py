"""NAdam."""

from __future__ import annotations

from typing import Any

from minidl.optim.optimizer import Optimizer
from minidl.optim.param_group import ParamGroup


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016).

    Moments m and v as Adam's; mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2), M_t = mu_1 * ... * mu_t;
    w -= lr * ((1 - mu_t) / (1 - M_t) * g + mu_t+1 / (1 - M_t+1) * m) / (sqrt(v / (1 - beta2^t)) + eps).
    """

    kernel = "nadam_step"
    counter_names = ("step", "mu_product")

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
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
            "momentum_decay": momentum_decay,
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
        decoupled, maximize = group["decoupled_weight_decay"], group["maximize"]
        return group["betas"][1], group["eps"], group["momentum_decay"], decoupled, maximize

    def initial_value(self, name: str, group: ParamGroup) -> float:
        return 1.0 if name == "mu_product" else 0.0
