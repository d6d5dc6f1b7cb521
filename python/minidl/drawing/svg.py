"""Writes boxes and arrows as SVG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

from minidl.drawing.layout import Layout
from minidl.drawing.tape import GraphNode

FONT_SIZE, LINE_HEIGHT, PADDING = 12.0, 16.0, 8.0
LETTER_WIDTH = 0.61 * FONT_SIZE  # of monospaced fonts; the widest in use has 0.60
FONTS = "DejaVu Sans Mono, Menlo, Consolas, Liberation Mono, monospace"
# Fill and border by kind; tints of Okabe and Ito's colours.
COLOURS = {
    "leaf": ("#D6EAF8", "#0072B2"),
    "constant": ("#FFFFFF", "#999999"),
    "operation": ("#F2F2F2", "#555555"),
    "output": ("#FBE3D0", "#D55E00"),
}
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def size_of(node: GraphNode) -> tuple[float, float]:
    """Width and height of a box around its text."""
    letters = max(len(line) for line in node.lines)
    return letters * LETTER_WIDTH + 2 * PADDING, len(node.lines) * LINE_HEIGHT + 2 * PADDING - 4


def to_svg(nodes: Sequence[GraphNode], layout: Layout) -> str:
    """One <g> per box and one <path> per edge; arrows point in the direction of computation."""
    width, height = round(layout.width), round(layout.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{FONTS}" font-size="{FONT_SIZE:g}">',
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L10 5L0 10z" fill="#555555"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for pieces in layout.pieces:
        parts.append(f'<path d="{_curve(pieces)}" fill="none" stroke="#555555" marker-end="url(#arrow)"/>')
    parts += [_box(node) for node in nodes]
    return "\n".join([*parts, "</svg>"])


def _curve(pieces: Sequence[tuple[float, float, float]]) -> str:
    """Straight within layers, curved from one to the next."""
    x, start, y = pieces[0]
    text = f"M{x:.1f} {start:.1f}V{y:.1f}"
    for next_x, top, bottom in pieces[1:]:
        middle = (y + top) / 2
        text += f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {top:.1f}V{bottom:.1f}"
        x, y = next_x, bottom
    return text


def _box(node: GraphNode) -> str:
    fill, stroke = COLOURS[node.kind]
    left, top = node.x - node.width / 2, node.y - node.height / 2
    radius = 10 if node.kind == "operation" else 2
    dashes = ' stroke-dasharray="4 3"' if node.kind == "constant" else ""
    rows = []
    for place, line in enumerate(node.lines):
        bold = ' font-weight="bold"' if place == 0 else ""
        baseline = top + PADDING + LINE_HEIGHT * place + 10
        rows.append(f'<text x="{node.x:.1f}" y="{baseline:.1f}"{bold}>{escape(_FORBIDDEN.sub("?", line))}</text>')
    return (
        f'<g class="{node.kind}" text-anchor="middle"><rect x="{left:.1f}" y="{top:.1f}" width="{node.width:.1f}" '
        f'height="{node.height:.1f}" rx="{radius}" fill="{fill}" stroke="{stroke}"{dashes}/>{"".join(rows)}</g>'
    )
