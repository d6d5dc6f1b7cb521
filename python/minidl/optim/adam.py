"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

from minidl.optim.optimizer import Optimizer
from minidl.optim.param_group import ParamGroup


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015); ``amsgrad`` after Reddi 2018.

    m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2; in step t
    w -= lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), with amsgrad the largest v so far in place of v.
    ``weight_decay`` adds weight_decay * w to the gradient, or with ``decoupled_weight_decay`` shrinks w as AdamW does.
    """

    kernel = "adam_step"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
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
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
            "max_grad_norm": max_grad_norm,
            "max_norm": max_norm,
            "l1_decay": l1_decay,
        }
        super().__init__(params, defaults, implementation)

    def state_names(self, group: ParamGroup) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None

    def scalars(self, group: ParamGroup) -> tuple[Any, ...]:
        return group["betas"][1], group["eps"], group["decoupled_weight_decay"], group["maximize"]


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): w *= 1 - lr * weight_decay before the step."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        max_grad_norm: float | None = None,
        max_norm: float | None = None,
        l1_decay: float = 0.0,
        **implementation: bool | None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
            max_grad_norm=max_grad_norm,
            max_norm=max_norm,
            l1_decay=l1_decay,
            **implementation,
        )
