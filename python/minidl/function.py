"""Function: a differentiable operation of the user's own."""

from __future__ import annotations

from typing import Any

from minidl.autograd import is_grad_enabled, no_grad, record
from minidl.tensor import Tensor


class Context:
    """What forward leaves for backward."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple[Tensor | None, ...] = ()
        self.non_differentiable: tuple[Tensor, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for backward, as ``saved_tensors``; changing one in place before then is an error."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Outputs through which no gradient flows."""
        self.non_differentiable = tensors


class _Bundle:
    """The gradients of several outputs on their way to one backward; adds like a gradient."""

    def __init__(self, grads: list[Tensor | None]) -> None:
        self.grads = grads

    def __add__(self, other: _Bundle) -> _Bundle:
        pairs = zip(self.grads, other.grads, strict=True)
        return _Bundle([a if b is None else b if a is None else a + b for a, b in pairs])


class Function:
    """Subclass with two static methods, then call ``apply``.

    ``forward(ctx, *args)`` computes one tensor or a tuple of them; ``backward(ctx, *grad_outputs)`` returns one
    gradient (or None) per argument of forward. Written with tensor operations, backward is differentiable itself.

    >>> import minidl
    >>> class Cube(minidl.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, grad_out):
    ...         (x,) = ctx.saved_tensors
    ...         return grad_out * 3 * x * x
    >>> x = minidl.tensor([2.0], requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor([12.])
    """

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Any:
        """The operation."""
        raise NotImplementedError("a Function needs a static method forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Any) -> Any:
        """Its gradient."""
        raise NotImplementedError("a Function needs a static method backward(ctx, ...)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Runs forward and records backward."""
        tensors = tuple(a if isinstance(a, Tensor) else None for a in args)
        ctx = Context(tuple(t is not None and t.requires_grad for t in tensors))
        with no_grad():
            raw = cls.forward(ctx, *args)
        outputs = raw if isinstance(raw, tuple) else (raw,)
        if not is_grad_enabled() or not any(ctx.needs_input_grad):
            return raw
        # An input handed through unchanged becomes a tensor of its own, so that the node hangs on the output only.
        outputs = tuple(out.detach() if any(out is a for a in args) else out for out in outputs)
        joint = cls._record_joint(outputs, tensors, ctx, args)
        linked = tuple(
            out if any(out is fixed for fixed in ctx.non_differentiable) else _linked(out, i, len(outputs), joint, cls)
            for i, out in enumerate(outputs)
        )
        return linked if isinstance(raw, tuple) else linked[0]

    @classmethod
    def _record_joint(
        cls, outputs: tuple[Tensor, ...], tensors: tuple[Tensor | None, ...], ctx: Context, args: tuple[Any, ...]
    ) -> Tensor:
        def backward(bundle: Any) -> tuple[Tensor | None, ...]:
            answer = cls.backward(ctx, *bundle.grads)
            grads = answer if isinstance(answer, tuple) else (answer,)
            if len(grads) != len(args):
                raise RuntimeError(
                    f"{cls.__name__}.backward must return one gradient per argument of forward ({len(args)}), "
                    f"got {len(grads)}"
                )
            for x, grad in zip(tensors, grads, strict=True):
                if x is not None and grad is not None and grad.shape != x.shape:
                    raise RuntimeError(
                        f"{cls.__name__}.backward: a gradient must have its input's shape {tuple(x.shape)}, "
                        f"got {tuple(grad.shape)}"
                    )
            return grads

        # Outputs saved by forward are known only to the context: saving the joint tensor's inputs covers the rest.
        saved = tuple(t for t in ctx.saved_tensors if not any(t is out for out in outputs))
        return record(outputs[0].detach(), tensors, backward, saved=saved, name=cls.__name__)


def _linked(out: Tensor, place: int, count: int, joint: Tensor, cls: type[Function]) -> Tensor:
    def backward(grad_out: Tensor) -> tuple[Any]:
        return (_Bundle([grad_out if i == place else None for i in range(count)]),)

    return record(out, (joint,), backward, name=cls.__name__)
