"""A layered layout: layers by the longest path, fewer crossings by medians, columns by least squares.

Sugiyama, Tagawa and Toda 1981; Gansner et al. 1993, "A Technique for Drawing Directed Graphs".
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 8
GAP_X, GAP_Y = 24.0, 32.0
# What an edge that passes by a layer takes there.
PASSING_WIDTH = 8.0


@dataclass
class Layout:
    """The middle of every box; and for every edge the vertical pieces (x, from y, to y) that it runs within layers,
    past all of their boxes."""

    positions: list[tuple[float, float]]
    pieces: list[list[tuple[float, float, float]]]
    width: float
    height: float


def arrange(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], order: Sequence[int]) -> Layout:
    """Places boxes of these (width, height), layer by layer from the top; edges are pairs (upper, lower).

    `order` lists the boxes so that every edge leads from an earlier to a later one.
    """
    ranks = _ranks(len(sizes), edges, order)
    widths = [size[0] for size in sizes]
    chains: list[list[int]] = []  # per edge: upper end, places passed on the way, lower end
    all_ranks = list(ranks)
    for upper, lower in edges:
        passed = range(len(widths), len(widths) + ranks[lower] - ranks[upper] - 1)
        widths += [PASSING_WIDTH] * len(passed)
        all_ranks += range(ranks[upper] + 1, ranks[lower])
        chains.append([upper, *passed, lower])
    above: list[list[int]] = [[] for _ in widths]
    below: list[list[int]] = [[] for _ in widths]
    for chain in chains:
        for first, second in pairwise(chain):
            below[first].append(second)
            above[second].append(first)
    layers: list[list[int]] = [[] for _ in range(max(all_ranks, default=-1) + 1)]
    for box in [*order, *range(len(sizes), len(widths))]:
        layers[all_ranks[box]].append(box)
    layers = _with_fewer_crossings(layers, above, below)
    x = _columns(layers, above, below, widths)
    left = min((x[box] - widths[box] / 2 for box in range(len(widths))), default=0.0)
    x = [value - left + GAP_X for value in x]
    bands, height = _bands(layers, [*(size[1] for size in sizes), *[0.0] * (len(widths) - len(sizes))])
    width = max((x[box] + widths[box] / 2 for box in range(len(widths))), default=0.0) + GAP_X
    middles = [(top + bottom) / 2 for top, bottom in bands]

    def pieces(chain: list[int]) -> list[tuple[float, float, float]]:
        whole = [(x[box], *bands[all_ranks[box]]) for box in chain]
        (first, _, bottom), (last, top, _) = whole[0], whole[-1]
        whole[0] = first, middles[ranks[chain[0]]] + sizes[chain[0]][1] / 2, bottom
        whole[-1] = last, top, middles[ranks[chain[-1]]] - sizes[chain[-1]][1] / 2
        return whole

    return Layout(
        [(x[box], middles[ranks[box]]) for box in range(len(sizes))], [pieces(chain) for chain in chains], width, height
    )


def _ranks(count: int, edges: Sequence[tuple[int, int]], order: Sequence[int]) -> list[int]:
    """The longest path from the top; what has nothing above it moves down to the layer above its first use."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for upper, lower in edges:
        above[lower].append(upper)
        below[upper].append(lower)
    ranks = [0] * count
    for box in order:
        ranks[box] = max((ranks[other] + 1 for other in above[box]), default=0)
    for box in order:
        if not above[box] and below[box]:
            ranks[box] = min(ranks[other] for other in below[box]) - 1
    return ranks


def _with_fewer_crossings(layers: list[list[int]], above: list[list[int]], below: list[list[int]]) -> list[list[int]]:
    """Sweeps down and up that sort each layer by the medians of its neighbours; the best order met is kept."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers, below)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        neighbours = above if sweep % 2 == 0 else below
        for layer, fixed in _pairs(layers, sweep % 2 == 0):
            places = {box: place for place, box in enumerate(fixed)}
            medians = {box: _median([places[other] for other in neighbours[box]]) for box in layer}
            movable = iter(sorted((box for box in layer if medians[box] >= 0), key=medians.__getitem__))
            layer[:] = [next(movable) if medians[box] >= 0 else box for box in layer]
        count = _crossings(layers, below)
        if count < fewest:
            best, fewest = [list(layer) for layer in layers], count
    return best


def _pairs(layers: list[list[int]], is_downward: bool) -> list[tuple[list[int], list[int]]]:
    """(layer to sort, layer that stays) in the order of a sweep."""
    if is_downward:
        return list(zip(layers[1:], layers, strict=False))
    return list(zip(layers[-2::-1], layers[:0:-1], strict=True))


def _median(places: list[int]) -> float:
    if not places:
        return -1.0
    ordered, middle = sorted(places), len(places) // 2
    return float(ordered[middle]) if len(places) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _crossings(layers: list[list[int]], below: list[list[int]]) -> int:
    """Pairs of edges between neighbouring layers whose ends are in opposite order."""
    count = 0
    for upper, lower in pairwise(layers):
        places = {box: place for place, box in enumerate(lower)}
        seen: list[int] = []
        for box in upper:
            ends = sorted(places[other] for other in below[box])
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


def _columns(
    layers: list[list[int]], above: list[list[int]], below: list[list[int]], widths: list[float]
) -> list[float]:
    x = [0.0] * len(widths)
    for layer in layers:
        _place(layer, [0.0] * len(layer), widths, x)
    for sweep in range(SWEEPS):
        is_downward = sweep % 2 == 0
        neighbours = above if is_downward else below
        for layer, _ in _pairs(layers, is_downward):
            wanted = [
                sum(x[other] for other in neighbours[box]) / len(neighbours[box]) if neighbours[box] else x[box]
                for box in layer
            ]
            _place(layer, wanted, widths, x)
    return x


def _place(layer: list[int], wanted: list[float], widths: list[float], x: list[float]) -> None:
    """Least squares to the wanted places with the order and the gaps kept: pool adjacent violators (Ayer 1955)."""
    offsets, offset = [], 0.0
    for place, box in enumerate(layer):
        if place:
            offset += (widths[layer[place - 1]] + widths[box]) / 2 + GAP_X
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []  # mean, count
    for target, shift in zip(wanted, offsets, strict=True):
        mean, count = target - shift, 1
        while blocks and blocks[-1][0] > mean:
            before, size = blocks.pop()
            mean, count = (mean * count + before * size) / (count + size), count + size
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    for box, mean, shift in zip(layer, means, offsets, strict=True):
        x[box] = mean + shift


def _bands(layers: list[list[int]], heights: list[float]) -> tuple[list[tuple[float, float]], float]:
    """Top and bottom of every layer, and the height of all."""
    bands, top = [], GAP_Y
    for layer in layers:
        height = max((heights[box] for box in layer), default=0.0)
        bands.append((top, top + height))
        top += height + GAP_Y
    return bands, top
