"""Hooks on a module's gradients: identities around forward tell them what flows back out of it and into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minidl.function import Context, Function
from minidl.tensor import Tensor

if TYPE_CHECKING:
    from minidl.nn.module import Module

Gradients = tuple[Tensor | None, ...]


class _Boundary(Function):
    """The identity; on the way back `receive(grads)` sees the gradients and may replace them."""

    @staticmethod
    def forward(ctx: Context, receive: Callable[[Gradients], Gradients], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.receive = receive  # type: ignore[attr-defined]
        return tensors

    @staticmethod
    def backward(ctx: Context, *grads: Tensor | None) -> Gradients:
        return (None, *ctx.receive(grads))  # type: ignore[attr-defined]


class GradientWatch:
    """One call of a module whose gradients its backward hooks want to see."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._grad_output: Gradients = ()
        self._inputs: tuple[Any, ...] = ()
        self._sees_inputs = False

    def around_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, those that require a gradient behind a boundary."""
        self._inputs = args
        self._sees_inputs = any(_requires_grad(x) for x in args)
        return _through_boundary(self._receive_grad_input, args)

    def around_output(self, output: Any) -> Any:
        """The output - a tensor or a tuple with tensors - behind a boundary."""
        if isinstance(output, tuple):
            return _through_boundary(self._receive_grad_output, output)
        return _through_boundary(self._receive_grad_output, (output,))[0]

    def _receive_grad_output(self, grads: Gradients) -> Gradients:
        self._grad_output = grads
        if not self._sees_inputs:
            self._call_hooks((None,) * len(self._inputs))
        return grads

    def _receive_grad_input(self, grads: Gradients) -> Gradients:
        known = iter(grads)
        places = [_requires_grad(x) for x in self._inputs]
        answer = self._call_hooks(tuple(next(known) if wanted else None for wanted in places))
        return tuple(grad for grad, wanted in zip(answer, places, strict=True) if wanted)

    def _call_hooks(self, grad_input: Gradients) -> Gradients:
        for hook in list(self._module._backward_hooks.values()):
            changed = hook.function(self._module, grad_input, self._grad_output)
            if changed is not None:
                grad_input = changed if isinstance(changed, tuple) else (changed,)
        return grad_input


def _requires_grad(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _through_boundary(receive: Callable[[Gradients], Gradients], values: tuple[Any, ...]) -> tuple[Any, ...]:
    watched = [x for x in values if _requires_grad(x)]
    if not watched:
        return values
    passed = iter(_Boundary.apply(receive, *watched))
    return tuple(next(passed) if _requires_grad(x) else x for x in values)
