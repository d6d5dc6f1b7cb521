"""Reads the tape behind a tensor into boxes and arrows: leaves with their values, operations with their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.autograd import Node
from minidl.tensor import Tensor

# Of a tensor with more elements the values are not written out.
SHOWN_ELEMENTS = 4
LONGEST_LINE = 48


@dataclass
class GraphNode:
    """A box: `kind` is "leaf" (receives a gradient), "constant", "operation" or "output"; `lines` is what it says.
    `x`, `y` is its middle, in pixels."""

    kind: str
    lines: list[str]
    sequence: int = -1  # of the recorded operation; -1 for a tensor
    x: float = 0.0
    y: float = 0.0
    width: float = field(default=0.0, repr=False)
    height: float = field(default=0.0, repr=False)


class TapeReader:
    """Walks from the outputs to the leaves, without recursion."""

    def __init__(self, names: Mapping[str, Tensor], show_values: bool, show_saved: bool, max_nodes: int) -> None:
        self.names = {id(tensor): name for name, tensor in names.items()}
        # Tensors known by name, and those that gradients read, tell about the operations that made them.
        self.tensors = {id(t._node): t for t in names.values() if t._node is not None}
        self.show_values, self.show_saved, self.max_nodes = show_values, show_saved, max_nodes
        self.nodes: list[GraphNode] = []
        self.edges: list[tuple[int, int]] = []
        self._places: dict[int, int] = {}
        self._operations: list[tuple[int, Node]] = []

    def read(self, outputs: Sequence[Tensor]) -> None:
        """Fills `nodes` and `edges`, pairs of places in `nodes` in the direction of computation."""
        waiting: list[Node] = []

        def visit(thing: Any) -> int:
            place = self._places.get(id(thing))
            if place is None:
                place = self._places[id(thing)] = self._add(thing)
                if isinstance(thing, Node):
                    waiting.append(thing)
            return place

        ends = []
        for output in outputs:
            if output._node is not None:
                self.tensors.setdefault(id(output._node), output)
            ends.append((visit(output._node or output), output))
        while waiting:
            node = waiting.pop()
            if node.backward is None:
                raise RuntimeError(
                    f"draw_dot: backward() has freed the graph ({node.operation}); draw it before, or keep it by "
                    "backward(retain_graph=True)"
                )
            for tensor, _ in node.saved:
                if tensor._node is not None:
                    self.tensors.setdefault(id(tensor._node), tensor)
            inputs = [edge for edge in node.edges if edge is not None]
            if self.show_saved:
                inputs += [tensor for tensor, _ in node.saved if not tensor.requires_grad]
            self.edges += [(visit(edge), self._places[id(node)]) for edge in inputs]
        ending = {place for place, _ in ends}
        for place, node in self._operations:
            if place not in ending:
                self.nodes[place].lines += self._describe_result(node)
        for place, output in ends:
            self._end(place, output)

    def _add(self, thing: Node | Tensor) -> int:
        if len(self.nodes) >= self.max_nodes:
            raise ValueError(
                f"draw_dot: the graph has more than max_nodes = {self.max_nodes} nodes; draw a part of it, or pass a "
                "higher max_nodes"
            )
        if isinstance(thing, Node):
            self._operations.append((len(self.nodes), thing))
            self.nodes.append(GraphNode("operation", [thing.operation], thing.sequence))
        else:
            kind = "leaf" if thing.requires_grad else "constant"
            self.nodes.append(GraphNode(kind, self._describe(thing, self.names.get(id(thing), kind))))
        return len(self.nodes) - 1

    def _end(self, place: int, output: Tensor) -> None:
        """A box of its own for what was passed to draw_dot."""
        if output._node is None:
            return
        lines = self._describe(output, self.names.get(id(output), "output"))
        self.nodes.append(GraphNode("output", lines))
        self.edges.append((place, len(self.nodes) - 1))

    def _describe(self, tensor: Tensor, name: str) -> list[str]:
        lines = [name, f"{_shape(tensor.shape)} {str(tensor.dtype).removeprefix('minidl.')}"]
        return lines + self._values(tensor)

    def _describe_result(self, node: Node) -> list[str]:
        """Of the operation's result what is known: the tape keeps only what gradients need."""
        tensor = self.tensors.get(id(node))
        if tensor is not None:
            name = self.names.get(id(tensor))
            return [(f"{name}: " if name else "") + _shape(tensor.shape), *self._values(tensor)]
        return [] if node.output is None else [_shape(node.output[0].shape)]

    def _values(self, tensor: Tensor) -> list[str]:
        if not self.show_values:
            return []
        lines = _in_words("value", tensor)
        return lines + (_in_words("grad", tensor.grad) if tensor.grad is not None else [])


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "number"


def _in_words(word: str, tensor: Tensor) -> list[str]:
    values = np.asarray(tensor.detach().cpu().numpy())
    if values.size <= SHOWN_ELEMENTS:
        text = " ".join(f"{value:.4g}" for value in values.ravel().tolist())
        if len(text) <= LONGEST_LINE:
            return [f"{word} {text}"] if text else []
    if word == "grad":
        return [f"grad norm {float(np.linalg.norm(values.ravel().astype(np.float64))):.4g}"]
    return []
