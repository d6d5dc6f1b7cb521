"""Examination: one batch through model and loss, with all that the checks want to know about it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from minidl import nn, ops
from minidl.autograd import Node
from minidl.nn import functional
from minidl.tensor import Tensor
from minidl.training.evaluation import Loss
from minidl.training.inspection import LayerStatistics, activation_statistics

# Operations that only move values: what they show was made before them.
_MOVES = ("reshape", "permute", "transpose", "expand", "flatten", "squeeze", "cast")
_LOSSES: dict[str, tuple[Any, ...]] = {
    "cross_entropy": (nn.CrossEntropyLoss, functional.cross_entropy, ops.cross_entropy),
    "nll_loss": (nn.NLLLoss, functional.nll_loss, ops.nll_loss),
}


@dataclass
class Examination:
    """What happened when the batch went through. `failure` is what the model or the loss raised."""

    model: Any
    x: Any
    target: Any
    loss: Loss
    layers: list[LayerStatistics] = field(default_factory=list)
    output: Any = None
    value: Any = None
    failure: Exception | None = None
    leaves: set[int] = field(default_factory=set)  # ids of the tensors that receive a gradient
    # By operation of the graph, oldest first: its name, that of the one which made its first input, and its layer.
    steps: list[tuple[str, str, str]] = field(default_factory=list)
    unnamed: list[tuple[str, str, Any]] = field(default_factory=list)  # of functions: operation, layer before, output

    @property
    def loss_kind(self) -> str:
        """The name of a classification loss, "" for others."""
        plain = self.loss.func if isinstance(self.loss, functools.partial) else self.loss
        for name, (kind, *functions) in _LOSSES.items():
            if isinstance(plain, kind) or plain in functions:
                return name
        return ""


def examine(model: Any, x: Any, target: Any, loss: Loss) -> Examination:
    """Runs the batch once, without a trace in the model."""
    found = Examination(model, x, target, loss)
    makers: dict[int, str] = {}  # by id of a node: the layer whose output it made

    def observed(output: Any, target: Any) -> Any:
        found.output = output
        found.value = loss(output, target)
        _read_tape(found, makers)
        return found.value

    try:
        with _noting(makers, model):
            found.layers = activation_statistics(model, x, target, observed, bins=1)
    except (ValueError, TypeError, RuntimeError, IndexError, ArithmeticError, AttributeError) as error:
        found.failure = error
    return found


@contextmanager
def _noting(makers: dict[int, str], model: Any) -> Iterator[None]:
    def note(name: str) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output._node is not None:
                makers[id(output._node)] = name

        return hook

    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(note(name)) for name, module in leaves]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _read_tape(found: Examination, makers: dict[int, str]) -> None:
    """Before backward frees it."""
    waiting = [found.value._node] if found.value._node is not None else []
    nodes = {id(node): node for node in waiting}
    while waiting:
        for edge in waiting.pop().edges:
            if isinstance(edge, Tensor):
                found.leaves.add(id(edge))
            elif edge is not None and id(edge) not in nodes:
                nodes[id(edge)] = edge
                waiting.append(edge)
    end = _source(found.output._node)
    for node in sorted(nodes.values(), key=lambda node: node.sequence):
        first = node.edges[0] if node.edges else None
        before = _source(first if isinstance(first, Node) else None)
        name = makers.get(id(before), "")
        found.steps.append((node.operation, before.operation if before else "", name))
        is_of_a_layer = id(node) in makers or node is end
        if node.operation in ("relu", "sigmoid", "tanh") and node.output is not None and not is_of_a_layer:
            found.unnamed.append((node.operation, name, Tensor(node.output[0], node.output[1])))


def _source(node: Node | None) -> Node | None:
    """The operation that computed the values, behind those that only moved them."""
    while node is not None and node.operation in _MOVES:
        edge = node.edges[0]
        node = edge if isinstance(edge, Node) else None
    return node
