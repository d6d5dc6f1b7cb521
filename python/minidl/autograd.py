"""The tape: record() hangs a node on a result, run_backward() walks the nodes from the newest to the oldest."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from minidl.anomaly import (
    anomaly,
    check_backward,
    check_forward,
    detect_anomaly as detect_anomaly,
    set_detect_anomaly as set_detect_anomaly,
)
from minidl.changes import watch

if TYPE_CHECKING:
    from minidl.anomaly import Origin
    from minidl.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
Gradients = Sequence["Tensor | None"]


class _GradMode(threading.local):
    enabled = True


_grad_mode = _GradMode()


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return _grad_mode.enabled


class set_grad_enabled:
    """Context manager and decorator that switches recording on or off in this thread."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self.previous: list[bool] = []

    def __enter__(self) -> None:
        self.previous.append(_grad_mode.enabled)
        _grad_mode.enabled = self.mode

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _grad_mode.enabled = self.previous.pop()

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


class Node:
    """One recorded operation: how to turn the gradient of its output into those of its inputs."""

    __slots__ = ("_name", "backward", "edges", "hooks", "is_relu", "of_one", "origin", "output", "saved", "sequence")

    origin: Origin  # where it was recorded; in anomaly mode only

    # The order of recording is a topological order: a node's inputs always have smaller numbers.
    _numbers = itertools.count()

    def __init__(self, backward: Callable[..., Gradients], edges: Sequence[Node | Tensor | None], name: str) -> None:
        self.backward: Callable[..., Gradients] | None = backward
        self.edges: Sequence[Node | Tensor | None] = edges  # a node, a leaf that wants a gradient, or None
        self.sequence = next(Node._numbers)
        self.saved: Sequence[tuple[Tensor, int]] = ()  # tensors backward reads, with their versions
        self.output: tuple[Any, Any, list[int], int] | None = None  # array, back end, version counter, version
        self.hooks: dict[int, Callable[[Tensor], Tensor | None]] | None = None
        self.of_one: Callable[[], Gradients] | None = None  # backward of a 1, where that is computed already
        self.is_relu = False  # the output is max(..., 0), and whoever reads it may take its gradient back through that
        self._name = name

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


def record(
    result: Tensor,
    inputs: tuple[Tensor | None, ...],
    backward: Callable[..., Gradients],
    saved: tuple[Tensor | None, ...] = (),
    saves_output: bool = False,
    name: str = "",
) -> Tensor:
    """Makes ``result`` remember how it came about, if recording is on and an input wants a gradient.

    ``backward(grad_out)`` returns one gradient (or None) per input; with ``saves_output`` it is called as
    ``backward(grad_out, out)`` - a closure over ``result`` itself would be a reference cycle. ``saved`` are the
    tensors whose values it reads: changing one in place before backward is an error.
    """
    if not _grad_mode.enabled:
        return result
    for x in inputs:
        if x is not None and x.requires_grad:
            break
    else:
        return result
    edges = [(x._node or x) if x is not None and x.requires_grad else None for x in inputs]
    node = Node(backward, edges, name)
    if saved:
        node.saved = [(x, x._version[0] if x._version else 0) for x in saved if x is not None]
    if saves_output:
        if result._version is None:
            result._version = [0]
        node.output = (result.array, result.backend, result._version, result._version[0])
    result.requires_grad = True
    result._node = node
    if anomaly.is_on:
        check_forward(node, result, inputs)
    return result


def _check_unchanged(node: Node) -> None:
    for tensor, version in node.saved:
        now = tensor._version
        if now is None:
            continue  # it was never changed: it has no counter
        if now[0] != version:
            raise RuntimeError(
                f"{node.name}: a tensor of shape {tuple(tensor.shape)} that the gradient needs was changed in place "
                f"(it is at version {now[0]}, expected {version}); change a clone() instead"
            )
    if node.output is not None and node.output[2][0] != node.output[3]:
        raise RuntimeError(
            f"{node.name}: its output of shape {node.output[0].shape}, which the gradient needs, was changed in place "
            f"(it is at version {node.output[2][0]}, expected {node.output[3]}); change a clone() instead"
        )


def _call_backward(node: Node, grad_out: Tensor, create_graph: bool) -> Gradients:
    if node.backward is None:
        raise RuntimeError(
            "backward through a graph that was already freed; pass retain_graph=True to the first backward() or grad()"
        )
    _check_unchanged(node)
    if node.output is None:
        return node.backward(grad_out)
    array, backend, version, _ = node.output
    out = grad_out._like(array, backend)
    out._version = version
    if create_graph:
        out.requires_grad = True
        out._node = node
    return node.backward(grad_out, out)


def run_backward(
    outputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor],
    targets: Sequence[Tensor] | None,
    retain_graph: bool,
    create_graph: bool,
    one: Tensor | None = None,
) -> list[Tensor | None]:
    """Walks back from ``outputs``. Without targets, leaves receive their gradients in ``.grad``; with targets, only
    their gradients are returned, in order. ``one`` is that of grad_outputs which is known to hold a single 1."""
    waiting: dict[int, tuple[Node, Tensor]] = {}  # by sequence number: the node and its gradient so far
    newest_first: list[int] = []  # a heap of the negative sequence numbers that wait
    at_leaf: dict[int, tuple[Tensor, Tensor]] = {}  # by id: == of tensors compares elements
    wanted = {id(t._node) if t._node is not None else id(t) for t in targets} if targets is not None else None
    found: dict[int, Tensor] = {}

    def deliver(edges: Sequence[Node | Tensor | None], grads: Gradients) -> None:
        for edge, grad in zip(edges, grads, strict=True):
            if edge is None or grad is None:
                continue
            if type(edge) is Node:
                entry = waiting.get(edge.sequence)
                if entry is None:
                    heappush(newest_first, -edge.sequence)
                waiting[edge.sequence] = (edge, grad if entry is None else entry[1] + grad)
            else:
                before = at_leaf.get(id(edge))
                at_leaf[id(edge)] = (edge, grad if before is None else before[1] + grad)  # type: ignore[assignment]

    for target in targets or ():
        if target._node is not None:
            target._node.is_relu = False  # its own gradient is wanted
    with set_grad_enabled(create_graph):
        deliver([output._node or output for output in outputs], grad_outputs)
        while newest_first:
            node, grad_out = waiting.pop(-heappop(newest_first))
            if node.hooks:
                for hook in tuple(node.hooks.values()):  # a hook may take itself off
                    grad_out = _replaced(hook(grad_out), grad_out)
            if wanted is not None and id(node) in wanted:
                found[id(node)] = grad_out
            if grad_out is one and node.of_one is not None and not (node.hooks or retain_graph or create_graph):
                _check_unchanged(node)
                grads = node.of_one()
            else:
                grads = _call_backward(node, grad_out, create_graph)
            if anomaly.is_on:
                check_backward(node, grad_out, grads)
            deliver(node.edges, grads)
            if not retain_graph:
                node.backward, node.of_one, node.saved, node.output, node.edges = None, None, (), None, ()
        taken: set[int] = {id(grad.array) for grad in grad_outputs}
        for leaf, total in at_leaf.values():
            if leaf._hooks:
                for leaf_hook in tuple(leaf._hooks.values()):
                    total = _replaced(leaf_hook(total), total)
            if wanted is None:
                _accumulate(leaf, total, create_graph, taken)
            elif id(leaf) in wanted:
                found[id(leaf)] = total
    return [found.get(id(t._node) if t._node is not None else id(t)) for t in targets] if targets is not None else []


def _replaced(answer: Tensor | None, grad: Tensor) -> Tensor:
    return grad if answer is None else answer


def _accumulate(leaf: Tensor, grad: Tensor, create_graph: bool, taken: set[int]) -> None:
    """leaf.grad += grad. The first gradient's array is taken over unless someone else may hold it."""
    if watch.leaves is not None:
        watch.leaves.note_added(leaf)
    if leaf.grad is not None:
        if create_graph or leaf.grad.requires_grad:
            leaf.grad = leaf.grad + grad
        else:
            leaf.grad.add_(grad)
        return
    is_shared = id(grad.array) in taken or grad.array.base.__class__ is grad.array.__class__
    leaf.grad = grad.clone() if is_shared and not create_graph else grad
    taken.add(id(grad.array))


def _first_gradients(outputs: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor]:
    filled = []
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
            grad = output._like(output.backend.empty(output.array.shape, output.array.dtype), output.backend)
            grad.fill_(1.0)
        elif grad.shape != output.shape:
            raise ValueError(f"backward: gradient must have the output's shape {output.shape}, got {grad.shape}")
        filled.append(grad)
    return filled


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
    first = _first_gradients(outputs, gradients)
    one = first[0] if grad_tensors is None and len(first) == 1 else None
    run_backward(outputs, first, None, retain, create_graph, one)


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
    found = run_backward(outs, _first_gradients(outs, gradients), wanted, retain, create_graph)
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
