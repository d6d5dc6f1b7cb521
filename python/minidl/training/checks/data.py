"""Checks of a batch: inputs out of scale, labels of the wrong kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import ops
from minidl.dtypes import uint8
from minidl.training.checks.examination import Examination
from minidl.training.checks.finding import Finding
from minidl.training.inspection import to_numpy

# Inputs with mean 0 and spread 1, or in [0, 1], are far from these bounds; pixels in 0..255 and raw tables are not.
LARGEST_MEAN, LARGEST_STD, SMALLEST_VALUE = 3.0, 5.0, 1e-2


def check_input(x: Any) -> Iterator[Finding]:
    """nan, pixels in 0..255, values far from mean 0 and spread 1."""
    if not x.is_floating_point():
        if x.dtype == uint8:
            advice = "scale them, such as x.float() / 255"
            yield Finding("input-integers", "", f"the input holds whole numbers (uint8): {advice}", "error")
        return
    values = to_numpy(x).astype(np.float64)
    if not values.size:
        return
    if not np.isfinite(values).all():
        yield Finding("input-not-finite", "", "the input holds nan or inf: clean the data before training", "error")
        return
    mean, std, largest = float(values.mean()), float(values.std()), float(np.abs(values).max())
    shown = f"mean {mean:.3g} and standard deviation {std:.3g}"
    if values.min() >= 0 and 100 < largest <= 255 and std > LARGEST_STD:
        yield Finding("input-scale", "", f"the input looks like pixels in 0..255 ({shown}): divide it by 255")
    elif abs(mean) > LARGEST_MEAN or std > LARGEST_STD:
        advice = "subtract the training data's mean and divide by its standard deviation"
        yield Finding("input-scale", "", f"the input has {shown}, far from 0 and 1: {advice}")
    elif 0 < largest < SMALLEST_VALUE:
        advice = "divide it by the training data's standard deviation"
        yield Finding("input-scale", "", f"the input has no value above {largest:.3g}: {advice}")


def check_labels(found: Examination) -> Iterator[Finding]:
    """What the target is against what the loss wants."""
    if found.output is None or not hasattr(found.output, "shape"):
        return
    if found.loss_kind:
        yield from _check_classes(found)
    else:
        yield from _check_broadcast(found)


def _check_classes(found: Examination) -> Iterator[Finding]:
    target, shape = found.target, tuple(found.output.shape)
    if len(shape) != 2:
        return
    rows, classes = shape
    wanted = f"class numbers of shape ({rows},) and type int64"
    if tuple(target.shape) == shape and not (target.is_floating_point() and found.loss_kind == "cross_entropy"):
        fix = "use target.argmax(1)" + (
            ", or target.float() for probabilities" if found.loss_kind != "nll_loss" else ""
        )
        yield _label_error(f"the labels are one-hot rows of shape {shape}, the loss wants {wanted}: {fix}")
    elif tuple(target.shape) == (rows, 1):
        cast = ".long()" if target.is_floating_point() else ""
        yield _label_error(f"the labels have shape ({rows}, 1), the loss wants {wanted}: use target.squeeze(1){cast}")
    elif target.is_floating_point() and tuple(target.shape) == (rows,):
        yield _label_error(f"the labels are {target.dtype}, the loss wants {wanted}: use target.long()")
    elif not target.is_floating_point() and tuple(target.shape) == (rows,):
        yield from _check_range(found, to_numpy(target), classes)


def _check_range(found: Examination, labels: Any, classes: int) -> Iterator[Finding]:
    labels = labels[labels != getattr(found.loss, "ignore_index", -100)]
    if not labels.size or (labels.min() >= 0 and labels.max() < classes):
        return
    low, high = int(labels.min()), int(labels.max())
    fix = "subtract 1 from them" if (low, high) == (1, classes) else f"the last layer needs {high + 1} outputs"
    if low < 0:
        fix = "number the classes from 0"
    yield _label_error(f"the labels run from {low} to {high}, the model has outputs for 0..{classes - 1}: {fix}")


def _label_error(sentence: str) -> Finding:
    return Finding("labels", "", sentence, "error")


def _check_broadcast(found: Examination) -> Iterator[Finding]:
    """(n, 1) against (n): broadcast, every output is compared with every target, whose order then does not matter."""
    rows, target = len(found.output), found.target
    if {tuple(found.output.shape), tuple(target.shape)} != {(rows, 1), (rows,)} or rows < 3:
        return
    finding = _label_error(
        f"the output has shape {tuple(found.output.shape)} and the target {tuple(target.shape)}, which broadcast to "
        f"({rows}, {rows}) where they are subtracted: use target.reshape(output.shape)"
    )
    if found.failure is not None:
        yield finding
        return
    output = ops.linspace(0.2, 0.8, rows).to(found.output).reshape(found.output.shape)
    turned = ops.cat([target[1:], target[:1]])
    values = [found.loss(output, t).item() for t in (target, turned)]
    is_varied = bool((target[1:] != target[:1]).any().item())
    if is_varied and abs(values[0] - values[1]) <= 1e-5 * abs(values[0]):
        yield finding
