"""What a classifier confuses: the matrix of labels and predictions, and the images that it gets most wrong."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.plots.style import finish, new_figure, to_numpy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_matrix(
    counts: Any,
    classes: Sequence[str] | None = None,
    *,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """How often each class (rows) was taken for each class (columns); a cell is as dark as its share of the row.

    Args:
        counts: the square matrix of counts, or a tuple (labels, predictions) of class numbers to count.
        classes: their names; numbers if None.
        title, path: PNG or SVG.

    Raises ValueError for a matrix that is not square, for labels and predictions of different lengths, for names that
    are not one per class; ImportError without matplotlib.

    >>> figure = confusion_matrix(([0, 0, 1, 1, 1], [0, 1, 1, 1, 1]), ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '1', '', '3']
    """
    matrix = _count(counts, None if classes is None else len(classes)) if isinstance(counts, tuple) else counts
    matrix = to_numpy(matrix).astype(np.int64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(
            f"confusion_matrix: counts must be square, or a tuple (labels, predictions), got {matrix.shape}"
        )
    names = [str(i) for i in range(len(matrix))] if classes is None else [str(name) for name in classes]
    if len(names) != len(matrix):
        raise ValueError(f"confusion_matrix: there must be {len(matrix)} names of classes, got {len(names)}")
    side = max(4.0, 1.6 + 0.5 * len(names))
    figure, grid = new_figure(size=(side + 1.2, side))
    axes = grid[0, 0]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(matrix.shape):
        count = matrix[row, column]
        ink = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count) if count else "", ha="center", va="center", color=ink, fontsize="small")
    is_long = max(map(len, names)) > 3
    axes.set_xticks(range(len(names)), names, rotation=45 if is_long else 0, ha="right" if is_long else "center")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.8)
    return finish(figure, title, path)


def _count(pair: tuple[Any, ...], classes: int | None) -> Any:
    true, said = (to_numpy(values).astype(np.int64).ravel() for values in pair)
    if len(true) != len(said) or not len(true):
        raise ValueError(
            f"confusion_matrix: labels and predictions must be equally many, got {len(true)} and {len(said)}"
        )
    count = int(max(true.max(), said.max())) + 1
    if classes is not None and count > classes:
        raise ValueError(f"confusion_matrix: class numbers must lie in 0..{classes - 1}, got {count - 1}")
    count = classes or count
    return np.bincount(true * count + said, minlength=count**2).reshape(count, count)


def worst_mistakes(
    images: Any,
    labels: Any,
    probs: Any,
    classes: Sequence[str] | None = None,
    count: int = 12,
    *,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """The images that the classifier gets wrong, those first to whose true class it gives the least probability.

    Args:
        images: (N, rows, columns), or (N, pixels) for square ones; light on dark.
        labels: (N) class numbers.
        probs: (N, C) probabilities, as softmax gives them.
        classes: names; numbers if None.
        count: how many at most.
        title, path: PNG or SVG.

    Raises ValueError for shapes that do not fit, ImportError without matplotlib.

    >>> import numpy as np
    >>> figure = worst_mistakes(np.zeros((2, 4, 4)), [0, 1], [[0.2, 0.8], [0.1, 0.9]], ["cat", "dog"])
    >>> figure.axes[0].get_title()
    'true cat: 20.0 %\\nsaid dog: 80.0 %'
    """
    pictures, true, shares = as_pictures("worst_mistakes", images), to_numpy(labels), to_numpy(probs)
    if not len(pictures) == len(true) == len(shares) or shares.ndim != 2:
        raise ValueError(
            "worst_mistakes: images, labels (N) and probs (N, C) must be equally many, "
            f"got {len(pictures)}, {true.shape} and {shares.shape}"
        )
    of_true = shares[np.arange(len(true)), true]
    said = shares.argmax(axis=1)
    wrong = np.flatnonzero(said != true)
    chosen = wrong[np.argsort(of_true[wrong], kind="stable")][:count]
    columns = max(1, min(6, len(chosen)))
    rows = max(1, math.ceil(len(chosen) / columns))
    figure, grid = new_figure(rows, columns, (max(4.0, 1.6 * columns), 0.4 + 1.9 * rows))
    for axes in grid.flat:
        axes.set_axis_off()
    if not len(chosen):
        grid[0, 0].text(0.5, 0.5, f"no mistakes among {len(true):,} images", ha="center", va="center")
    for axes, i in zip(grid.flat, chosen, strict=False):
        axes.imshow(pictures[i], cmap="gray")
        name, taken = (str(c) if classes is None else classes[c] for c in (int(true[i]), int(said[i])))
        shown = f"true {name}: {of_true[i]:.1%}\nsaid {taken}: {shares[i].max():.1%}"
        axes.set_title(shown.replace("%", " %"), fontsize=8)
    return finish(figure, title, path)


def as_pictures(name: str, images: Any, shape: tuple[int, int] | None = None) -> Any:
    """(N, rows, columns) of (N, rows, columns) or (N, pixels); ValueError where pixels are no square or do not fit."""
    pictures = to_numpy(images)
    if pictures.ndim == 3 and shape is None:
        return pictures
    pixels = math.prod(pictures.shape[1:])
    side = math.isqrt(pixels)
    rows, columns = shape or (side, side)
    if rows * columns != pixels:
        raise ValueError(f"{name}: {pixels} pixels are not {rows} x {columns}; give the shape of an image")
    return pictures.reshape(len(pictures), rows, columns)
