"""draw_dot(tensor): how a tensor was computed, as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minidl.drawing.layout import arrange
from minidl.drawing.svg import size_of, to_svg
from minidl.drawing.tape import GraphNode, TapeReader
from minidl.tensor import Tensor

__all__ = ["Drawing", "GraphNode", "draw_dot"]


@dataclass(frozen=True)
class Drawing:
    """What :func:`draw_dot` returns; a notebook shows it as a picture."""

    svg: str = field(repr=False)
    nodes: list[GraphNode] = field(repr=False)
    edges: list[tuple[int, int]] = field(repr=False)  # places in `nodes`, in the direction of computation

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture; ValueError unless the path ends in .svg.

        >>> import minidl
        >>> minidl.draw_dot(minidl.ones(2, requires_grad=True).exp()).save("graph.svg")
        """
        if Path(path).suffix.lower() != ".svg":
            raise ValueError(f"save: the drawing is written as SVG; the path must end in .svg, got {str(path)!r}")
        Path(path).write_text(self.svg, encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg


def draw_dot(
    tensor: Tensor | Sequence[Tensor],
    params: Mapping[str, Tensor] | None = None,
    *,
    names: Mapping[str, Tensor] | None = None,
    show_values: bool = True,
    show_saved: bool = False,
    max_nodes: int = 1000,
) -> Drawing:
    """The graph of a tensor as SVG, without Graphviz: leaves at the top, the tensor itself at the bottom.

    Blue boxes are leaves that receive a gradient, with shape, number type, values of up to 4 elements and the gradient
    once backward has run (its norm where it is larger); grey ones are operations, with the shape of the result where
    the tape knows it: where a gradient reads it, or where the result is named.

    Args:
        tensor: one, or several that share a graph.
        params, names: {name: tensor}, such as dict(model.named_parameters()); tensors in between can be named, too.
        show_values: whether values and gradients are written.
        show_saved: whether tensors without a gradient that an operation keeps for its backward, such as the input
            batch, are drawn, dashed.
        max_nodes: the largest graph that is drawn.

    Raises ValueError for a larger graph and a tensor that is not recorded, RuntimeError where backward() has freed the
    graph: draw before it, or keep it by backward(retain_graph=True).

    >>> import minidl
    >>> a, b = (minidl.tensor(value, requires_grad=True) for value in (2.0, -3.0))
    >>> loss = (a * b).tanh()
    >>> loss.backward(retain_graph=True)
    >>> drawing = minidl.draw_dot(loss, names={"a": a, "b": b, "loss": loss})
    >>> [node.lines[0] for node in drawing.nodes]
    ['tanh', 'mul', 'a', 'b', 'loss']
    >>> drawing.svg.startswith("<svg")
    True
    """
    outputs = [tensor] if isinstance(tensor, Tensor) else list(tensor)
    if not outputs or not all(output.requires_grad for output in outputs):
        raise ValueError("draw_dot: the tensor has no graph; it was not computed from one with requires_grad=True")
    reader = TapeReader({**(params or {}), **(names or {})}, show_values, show_saved, max_nodes)
    reader.read(outputs)
    nodes, edges = reader.nodes, reader.edges
    for node in nodes:
        node.width, node.height = size_of(node)
    layout = arrange([(node.width, node.height) for node in nodes], edges, _order(nodes))
    for node, (x, y) in zip(nodes, layout.positions, strict=True):
        node.x, node.y = x, y
    return Drawing(to_svg(nodes, layout), nodes, edges)


def _order(nodes: list[GraphNode]) -> list[int]:
    """Leaves, then operations in the order of recording - which is topological - then outputs."""
    places = range(len(nodes))
    operations = sorted((p for p in places if nodes[p].kind == "operation"), key=lambda p: nodes[p].sequence)
    before = [p for p in places if nodes[p].kind in ("leaf", "constant")]
    return [*before, *operations, *(p for p in places if nodes[p].kind == "output")]
