"""GradientClipping: smaller gradients before the optimizer sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minidl.nn.utils import clip_grad_norm_, clip_grad_value_
from minidl.training.callbacks.callback import Callback

if TYPE_CHECKING:
    from minidl.training.loop import Training


class GradientClipping(Callback):
    """Clips the gradients of the whole model in every step, between backward and the optimizer's step.

    The `max_grad_norm` of a parameter group does the same within one group. The numbers are read when a step is
    recorded: set them before the run.

    Args:
        max_norm: the gradients, taken as one vector, are scaled down to this norm (Pascanu 2013).
        max_value: every element is clamped to [-max_value, max_value].

    Raises ValueError unless exactly one of them is given and above 0.

    >>> import minidl
    >>> from minidl import nn, optim, training
    >>> model = nn.Linear(2, 1, bias=False)
    >>> before = model.weight.detach().clone()
    >>> history = training.fit(
    ...     model, [(minidl.ones(4, 2), minidl.full((4, 1), 1e6))], epochs=1, loss=nn.functional.mse_loss,
    ...     optimizer=optim.SGD(model.parameters(), lr=1.0), callbacks=[training.GradientClipping(max_norm=0.5)],
    ... )
    >>> print(f"{(model.weight.detach() - before).norm():.4f}")
    0.5000
    """

    def __init__(self, max_norm: float | None = None, max_value: float | None = None) -> None:
        if (max_norm is None) == (max_value is None):
            raise ValueError("GradientClipping: give either max_norm or max_value")
        for name, value in (("max_norm", max_norm), ("max_value", max_value)):
            if value is not None and not value > 0:
                raise ValueError(f"GradientClipping: {name} must be above 0, got {value}")
        self.max_norm = max_norm
        self.max_value = max_value

    def on_before_optimizer_step(self, training: Training) -> None:
        if self.max_norm is not None:
            clip_grad_norm_(training.model.parameters(), self.max_norm)
        elif self.max_value is not None:
            clip_grad_value_(training.model.parameters(), self.max_value)
