"""Figures of merit of predictions: NumPy arrays or tensors in, plain numbers and NumPy arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl.tensor import Tensor

Array = npt.NDArray[Any]


def accuracy(output: Any, target: Any) -> float:
    """The part of samples that are classified rightly.

    Args:
        output: (samples, classes) scores, of which the largest decides, the first one of several; or (samples,) labels.
        target: (samples,) labels.

    Raises ValueError for shapes that do not fit and for no samples.

    >>> accuracy([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], [1, 0, 0, 0])
    0.75
    """
    labels, target = _labels("accuracy", output, target)
    return float(np.mean(labels == target))


def top_k_accuracy(output: Any, target: Any, k: int = 5) -> float:
    """The part of samples whose label is among the k classes with the largest scores.

    Of equal scores the lower class comes first; a score that is nan comes first of all, as in the largest of a row.

    Args:
        output: (samples, classes) scores.
        target: (samples,) labels.

    Raises ValueError for shapes that do not fit, no samples, and a k outside [1, classes].

    >>> top_k_accuracy([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]], [1, 0], k=2)
    0.5
    """
    scores, target = _array(output), _array(target)
    _require("top_k_accuracy", scores.ndim == 2, "output must have shape (samples, classes)", scores.shape)
    _require_lengths("top_k_accuracy", scores, target)
    _require("top_k_accuracy", 1 <= k <= scores.shape[1], f"k must lie in [1, {scores.shape[1]}]", k)
    order = np.argsort(-np.where(np.isnan(scores), np.inf, scores), axis=1, kind="stable")
    return float(np.mean((order[:, :k] == target[:, None]).any(axis=1)))


def confusion_matrix(output: Any, target: Any, classes: int | None = None) -> npt.NDArray[np.int64]:
    """How often each class was taken for each: element [i, j] counts the samples of class i that were classified as j.

    Args:
        output: (samples, classes) scores or (samples,) labels, as for `accuracy`.
        target: (samples,) labels, whole numbers from 0.
        classes: rows and columns; those of the scores, or one more than the largest label, if None.

    Raises ValueError for shapes that do not fit and for labels outside [0, classes).

    >>> confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2])
    array([[1, 0, 0],
           [0, 1, 0],
           [0, 1, 1]])
    """
    labels, target = _labels("confusion_matrix", output, target)
    if classes is None:
        scores = _array(output)
        classes = scores.shape[1] if scores.ndim == 2 else int(max(labels.max(), target.max())) + 1
    for name, values in (("output", labels), ("target", target)):
        is_whole = bool(np.all(values == np.floor(values)))
        inside = bool(values.min() >= 0 and values.max() < classes)
        wanted = f"labels in {name} must be whole numbers in [0, {classes})"
        _require("confusion_matrix", is_whole and inside, wanted, f"{values.min()} to {values.max()}")
    places = target.astype(np.int64) * classes + labels.astype(np.int64)
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class ClassFigures:
    """Precision, recall and F1 of every class, and their means over the classes (macro)."""

    precision_per_class: npt.NDArray[np.float64]
    recall_per_class: npt.NDArray[np.float64]
    f1_per_class: npt.NDArray[np.float64]

    @property
    def precision(self) -> float:
        """Mean over the classes."""
        return float(self.precision_per_class.mean())

    @property
    def recall(self) -> float:
        """Mean over the classes."""
        return float(self.recall_per_class.mean())

    @property
    def f1(self) -> float:
        """Mean of the classes' F1, which is not the F1 of the mean precision and recall."""
        return float(self.f1_per_class.mean())


def precision_recall_f1(output: Any, target: Any, classes: int | None = None) -> ClassFigures:
    """For class c: precision = right among those classified as c, recall = right among those of class c, F1 = 2 p r /
    (p + r).

    0 / 0 is 0: the precision of a class that was never predicted, the recall of one that does not occur, the F1 of one
    with neither. Classes that do not occur at all count in the means; `classes` says how many there are.

    >>> figures = precision_recall_f1([0, 1, 1, 1], [0, 1, 1, 0])
    >>> figures.recall_per_class.tolist(), round(figures.precision, 4), round(figures.f1, 4)
    ([0.5, 1.0], 0.8333, 0.7333)
    """
    matrix = confusion_matrix(output, target, classes)
    right = np.diag(matrix).astype(np.float64)
    precision = _ratio(right, matrix.sum(axis=0))
    recall = _ratio(right, matrix.sum(axis=1))
    return ClassFigures(precision, recall, _ratio(2 * precision * recall, precision + recall))


def r2_score(output: Any, target: Any) -> float:
    """1 - sum (target - output)^2 / sum (target - mean)^2: 1 for a perfect fit, 0 for one no better than the mean.

    Of several columns, the mean of their scores. A column whose targets are all equal has score 1 if it is fitted
    exactly and 0 otherwise. Raises ValueError for shapes that differ and for less than two samples.

    >>> r2_score([1.0, 2.0, 4.0], [1.0, 2.0, 3.0])
    0.5
    """
    predicted, wanted = _pair("r2_score", output, target)
    _require("r2_score", len(wanted) >= 2, "there must be at least 2 samples", len(wanted))
    predicted, wanted = predicted.reshape(len(predicted), -1), wanted.reshape(len(wanted), -1)
    residual = ((wanted - predicted) ** 2).sum(axis=0)
    total = ((wanted - wanted.mean(axis=0)) ** 2).sum(axis=0)
    scores = np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), np.where(residual > 0, 0.0, 1.0))
    return float(scores.mean())


def mean_absolute_error(output: Any, target: Any) -> float:
    """The mean of |target - output| over all elements. Raises ValueError for shapes that differ and for no samples.

    >>> mean_absolute_error([1.0, 2.0], [2.0, 4.0])
    1.5
    """
    predicted, wanted = _pair("mean_absolute_error", output, target)
    return float(np.abs(wanted - predicted).mean())


def _array(values: Any) -> Array:
    return np.asarray(values.detach().cpu().numpy() if isinstance(values, Tensor) else values)


def _labels(name: str, output: Any, target: Any) -> tuple[Array, Array]:
    predicted, wanted = _array(output), _array(target)
    _require(name, predicted.ndim in (1, 2), "output must have shape (samples, classes) or (samples,)", predicted.shape)
    _require_lengths(name, predicted, wanted)
    return (predicted.argmax(axis=1) if predicted.ndim == 2 else predicted), wanted


def _pair(name: str, output: Any, target: Any) -> tuple[Array, Array]:
    predicted, wanted = _array(output).astype(np.float64), _array(target).astype(np.float64)
    _require(name, predicted.shape == wanted.shape, f"output must have target's shape {wanted.shape}", predicted.shape)
    _require(name, wanted.size > 0, "there must be at least one sample", wanted.shape)
    return predicted, wanted


def _require_lengths(name: str, output: Array, target: Array) -> None:
    _require(name, target.shape == output.shape[:1], f"target must have shape {output.shape[:1]}", target.shape)
    _require(name, len(target) > 0, "there must be at least one sample", target.shape)


def _require(name: str, holds: bool, wanted: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"{name}: {wanted}, got {value}")


def _ratio(a: Array, b: Array) -> npt.NDArray[np.float64]:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(a.shape), where=b > 0)
