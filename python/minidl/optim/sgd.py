"""SGD: stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.optim.optimizer import Optimizer
from minidl.optim.param_group import ParamGroup
from minidl.tensor import Tensor


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins and Monro 1951), with momentum or Nesterov's (Sutskever 2013).

    g = grad + weight_decay * w; v = momentum * v + (1 - dampening) * g, at first g; w -= lr * v, or with ``nesterov``
    w -= lr * (g + momentum * v). Without momentum w -= lr * g. ``maximize`` climbs instead.

    >>> import minidl
    >>> w = minidl.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = minidl.optim.SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5, 1.0]
    """

    kernel = "sgd_step"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        max_grad_norm: float | None = None,
        max_norm: float | None = None,
        l1_decay: float = 0.0,
        **implementation: bool | None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "max_grad_norm": max_grad_norm,
            "max_norm": max_norm,
            "l1_decay": l1_decay,
        }
        super().__init__(params, defaults, implementation)

    def _require_consistent(self, group: ParamGroup) -> None:
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")

    def state_names(self, group: ParamGroup) -> tuple[str | None, ...]:
        return ("momentum_buffer" if group["momentum"] != 0 else None,)

    def scalars(self, group: ParamGroup) -> tuple[Any, ...]:
        return group["dampening"], group["nesterov"], group["maximize"]

    def _loaded(self, param: Tensor, number: int, kept: dict[str, Any]) -> dict[str, Tensor]:
        state = super()._loaded(param, number, kept)
        if "momentum_buffer" in state and "step" not in state:  # PyTorch's: where a buffer is, the first step was made
            state["step"] = Tensor(param.backend.xp.asarray(1.0, dtype=np.float64), param.backend)
        return state
