"""RMSprop."""

from __future__ import annotations

from typing import Any

from minidl.optim.optimizer import Optimizer
from minidl.optim.param_group import ParamGroup


class RMSprop(Optimizer):
    """Root mean square propagation (Hinton's lecture 6e, 2012); ``centered`` after Graves 2013.

    g = grad + weight_decay * w; s = alpha * s + (1 - alpha) * g^2; d = g / (sqrt(s) + eps), centered with s minus the
    square of the running mean of g (at least 0); w -= lr * d, with momentum through b = momentum * b + d.
    """

    kernel = "rmsprop_step"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        max_grad_norm: float | None = None,
        max_norm: float | None = None,
        l1_decay: float = 0.0,
        **implementation: bool | None,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
            "max_grad_norm": max_grad_norm,
            "max_norm": max_norm,
            "l1_decay": l1_decay,
        }
        super().__init__(params, defaults, implementation)

    def state_names(self, group: ParamGroup) -> tuple[str | None, ...]:
        return (
            "square_avg",
            "momentum_buffer" if group["momentum"] > 0 else None,
            "grad_avg" if group["centered"] else None,
        )

    def scalars(self, group: ParamGroup) -> tuple[Any, ...]:
        return group["alpha"], group["eps"], group["maximize"]
