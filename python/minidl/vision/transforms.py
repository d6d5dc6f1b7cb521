"""Transforms of one image, with torchvision's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl import ops
from minidl.tensor import Tensor


class Compose:
    """Transforms one after another."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        lines = [f"    {transform}" for transform in self.transforms]
        return "\n".join(["Compose(", *lines, ")"])


class ToTensor:
    """A PIL image or an array (rows, columns) or (rows, columns, channels) as float32 (channels, rows, columns).

    uint8 values are divided by 255, so that they lie in [0, 1]; other arrays keep their values.
    """

    def __call__(self, image: Any) -> Any:
        array = np.asarray(image)
        if array.ndim not in (2, 3):
            raise ValueError(f"ToTensor: image must have 2 or 3 dimensions, got shape {array.shape}")
        channels_first = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        out = np.ascontiguousarray(channels_first, dtype=np.float32)
        return ops.from_numpy(out / np.float32(255) if array.dtype == np.uint8 else out)

    def __repr__(self) -> str:
        return "ToTensor()"


class Normalize:
    """out[c] = (x[c] - mean[c]) / std[c] for a float tensor (channels, rows, columns)."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        if any(value == 0 for value in std):
            raise ValueError(f"Normalize: std must not be 0, got {tuple(std)}")
        self.mean, self.std, self.inplace = mean, std, inplace

    def __call__(self, image: Any) -> Any:
        if not isinstance(image, Tensor):
            raise TypeError(f"Normalize: image must be a tensor, got {type(image).__name__}; put ToTensor() before it")
        shape = (len(self.mean), *(1 for _ in image.shape[1:]))
        mean = ops.tensor(list(self.mean), dtype=image.dtype).reshape(shape)
        std = ops.tensor(list(self.std), dtype=image.dtype).reshape(shape)
        out = (image - mean) / std
        return image.copy_(out) if self.inplace else out

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class Lambda:
    """Any function as a transform."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if not callable(function):
            raise TypeError(f"Lambda: function must be callable, got {type(function).__name__}")
        self.function = function

    def __call__(self, image: Any) -> Any:
        return self.function(image)

    def __repr__(self) -> str:
        return "Lambda()"


def as_scale_and_shift(transform: Any) -> tuple[float, float] | None:
    """The transform of a one-channel uint8 image as `scale * x + shift`, or None where it is more than that."""
    steps = transform.transforms if isinstance(transform, Compose) else [transform]
    if not steps or not isinstance(steps[0], ToTensor):
        return None
    scale, shift = 1 / 255, 0.0
    for step in steps[1:]:
        if not isinstance(step, Normalize) or len(step.mean) != 1 or len(step.std) != 1:
            return None
        scale, shift = scale / step.std[0], (shift - step.mean[0]) / step.std[0]
    return scale, shift
