"""The tape. record() hangs a node on a result; backward() and grad() walk the nodes from the newest to the oldest, each
once, with the sum of the gradients that came to its output. What happens at every operation is compiled
(csrc/tape/record.cpp, backward.cpp); here is the rest.

``record(result, inputs, backward, saved=(), saves_output=False, name="")`` makes ``result`` remember how it came about,
if recording is on and an input wants a gradient. ``backward(grad_out)`` returns one gradient (or None) per input; with
``saves_output`` it is called as ``backward(grad_out, out)`` - a closure over ``result`` itself would be a reference
cycle. ``saved`` are the tensors whose values it reads: changing one in place before backward is an error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from minidl._tape import (
    NodeFields,
    connect,
    is_grad_enabled as is_grad_enabled,
    record as record,
    run_backward,
    set_recording,
)
from minidl.anomaly import detect_anomaly as detect_anomaly, set_detect_anomaly as set_detect_anomaly
from minidl.changes import watch

if TYPE_CHECKING:
    from minidl.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])


class set_grad_enabled:
    """Context manager and decorator that switches recording on or off in this thread."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self.previous: list[bool] = []

    def __enter__(self) -> None:
        self.previous.append(set_recording(self.mode))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        set_recording(self.previous.pop())

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(self.mode):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(set_grad_enabled):
    """Inside it, operations are not recorded. Also a decorator.

    >>> import minidl
    >>> x = minidl.ones(2, requires_grad=True)
    >>> with minidl.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(set_grad_enabled):
    """Inside it, operations are recorded, also within no_grad."""

    def __init__(self) -> None:
        super().__init__(True)


class Node(NodeFields):
    """One recorded operation: how to turn the gradient of its output into those of its inputs.

    - ``backward``: called with the gradient, and the output where that was saved; None once the graph is freed
    - ``edges``: for each input a node, a leaf that wants a gradient, or None
    - ``sequence``: its number in the order of recording
    - ``saved``: tensors that backward reads, with their versions
    - ``output``: array, back end, version counter and version, where backward reads the output
    - ``of_one``: backward of a gradient of 1, where that is computed already
    - ``is_relu``: the output is max(..., 0), and whoever reads it may take its gradient back through that
    - ``origin``: where it was recorded; in anomaly mode only
    """

    __slots__ = ()

    @property
    def operation(self) -> str:
        """The operation's name as in ``ops.cross_entropy``."""
        plain = self._name or (self.backward.__qualname__.partition(".")[0] if self.backward else "freed")
        return plain.strip("_")

    @property
    def name(self) -> str:
        """The operation's name as in ``<AddBackward>``."""
        return "".join(part.capitalize() for part in self.operation.split("_")) + "Backward"

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _raise_changed(node: Node) -> None:
    """RuntimeError for the first thing that the node saved and that was changed in place since."""
    for tensor, version in node.saved:
        now = tensor._version
        if now is not None and now[0] != version:
            raise RuntimeError(
                f"{node.name}: a tensor of shape {tuple(tensor.shape)} that the gradient needs was changed in place "
                f"(it is at version {now[0]}, expected {version}); change a clone() instead"
            )
    if node.output is not None and node.output[2][0] != node.output[3]:
        raise RuntimeError(
            f"{node.name}: its output of shape {node.output[0].shape}, which the gradient needs, was changed in place "
            f"(it is at version {node.output[2][0]}, expected {node.output[3]}); change a clone() instead"
        )


def _add_gradient(leaf: Tensor, grad: Tensor, create_graph: bool) -> None:
    """leaf.grad += grad, for a leaf that has a gradient."""
    before = leaf.grad
    if before is None or create_graph or before.requires_grad:
        leaf.grad = grad if before is None else before + grad
    else:
        before.add_(grad)


def _make_one(output: Tensor) -> Tensor:
    """The gradient of a scalar with respect to itself."""
    backend, array = output.backend, output.array
    one = output._like(backend.empty(array.shape, array.dtype), backend)
    one.fill_(1.0)
    return one


connect(Node, watch, _make_one, _add_gradient, _raise_changed)


def _require_gradients(outputs: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """RuntimeError or ValueError unless the walk can begin with these; None stands for a 1."""
    for output, grad in zip(outputs, gradients, strict=True):
        if not output.requires_grad:
            raise RuntimeError(
                "backward: the tensor does not require a gradient and was not computed from one that does; "
                "set requires_grad=True on an input"
            )
        if grad is None:
            if output.array.size != 1:
                raise RuntimeError(
                    f"backward: a gradient is made only for a scalar; got shape {tuple(output.shape)}: "
                    "reduce it first (loss.mean()) or pass gradient="
                )
        elif grad.shape != output.shape:
            raise ValueError(f"backward: gradient must have the output's shape {output.shape}, got {grad.shape}")


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Adds d tensors / d leaf to ``leaf.grad`` of every leaf that requires a gradient.

    Raises RuntimeError for a graph that was already freed, for a non-scalar without ``grad_tensors`` and for saved
    tensors that were changed in place since.
    """
    outputs = _as_tuple(tensors)
    gradients = _as_tuple(grad_tensors) if grad_tensors is not None else (None,) * len(outputs)
    retain = create_graph if retain_graph is None else retain_graph
    _require_gradients(outputs, gradients)
    run_backward(outputs, gradients, None, retain, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` with respect to ``inputs``, returned instead of accumulated.

    With ``create_graph=True`` they can be differentiated again:

    >>> import minidl
    >>> x = minidl.tensor(3.0, requires_grad=True)
    >>> (first,) = minidl.autograd.grad(x**3, x, create_graph=True)
    >>> (second,) = minidl.autograd.grad(first, x)
    >>> first.item(), second.item()
    (27.0, 18.0)
    """
    outs, wanted = _as_tuple(outputs), _as_tuple(inputs)
    for x in wanted:
        if not x.requires_grad:
            raise RuntimeError("grad: an input does not require a gradient; set requires_grad=True on it")
    gradients = _as_tuple(grad_outputs) if grad_outputs is not None else (None,) * len(outs)
    retain = create_graph if retain_graph is None else retain_graph
    _require_gradients(outs, gradients)
    found = run_backward(outs, gradients, wanted, retain, create_graph)
    if not allow_unused and any(g is None for g in found):
        place = next(i for i, g in enumerate(found) if g is None)
        raise RuntimeError(f"grad: input {place} was not used to compute the outputs; pass allow_unused=True for None")
    return tuple(found)


def __getattr__(name: str) -> Any:
    """``autograd.Function``, ``gradcheck`` and ``gradgradcheck`` live in files of their own."""
    if name == "Function":
        from minidl.function import Function

        return Function
    if name in ("gradcheck", "gradgradcheck"):
        from minidl import gradients

        return getattr(gradients, name)
    raise AttributeError(f"module 'minidl.autograd' has no attribute {name!r}")
