"""Images for experiments: training subsets, a validation part and the test images as loaders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl import ops
from minidl.data import DataLoader, ImageSet, PixelDataset
from minidl.generator import Generator

EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Loaders:
    """Shuffled training batches; validation and test batches in order."""

    train: DataLoader
    val: DataLoader
    test: DataLoader
    inputs: int
    classes: int


@dataclass(frozen=True)
class Split:
    """How many training images are learnt from and how many are held out to validate, both drawn at random by `seed`.

    Subsets are nested: for the same seed, the first thousand are among the first ten thousand, and what is held out is
    the same for every `train_count`.
    """

    train_count: int | None  # None: all that are not held out
    val_count: int

    def indices(self, available: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Places of the training and of the validation images.

        Raises:
            ValueError: there are too few images; the message names the range.
        """
        if not 0 <= self.val_count < available:
            raise ValueError(f"validation images must be 0 to {available - 1}, got {self.val_count}")
        most = available - self.val_count
        if self.train_count is not None and not 1 <= self.train_count <= most:
            raise ValueError(
                f"training images must be 1 to {most} ({self.val_count} of {available} are held out), "
                f"got {self.train_count}"
            )
        order = ops.randperm(available, generator=Generator().manual_seed(seed)).numpy()
        held_out, rest = order[: self.val_count], order[self.val_count :]
        return np.sort(rest[: self.train_count]), np.sort(held_out)


def make_loaders(
    images: ImageSet,
    split: Split,
    batch_size: int,
    seed: int,
    device: str = "cpu",
    drop_last: bool = False,
    is_standardized: bool = True,
) -> Loaders:
    """Pixels scaled to the mean 0 and the spread 1 of all training images, or else to [0, 1]; flattened.

    The order of the training batches comes from the default generator: seed it before training. Where no images are
    held out, `val` has no batches.
    """
    scale, shift = 1 / (images.pixel_max * images.std), -images.mean / images.std
    if not is_standardized:
        scale, shift = 1 / images.pixel_max, 0.0
    inputs = int(np.prod(images.train_images.shape[1:]))
    kept, held_out = split.indices(len(images.train_labels), seed)

    def loader(pixels: Any, labels: Any, size: int, **options: Any) -> DataLoader:
        flat = ops.from_numpy(np.ascontiguousarray(pixels.reshape(len(pixels), inputs)))
        return DataLoader(
            PixelDataset(flat.to(device), ops.from_numpy(labels).to(device), scale, shift), size, **options
        )

    size = min(batch_size, len(kept))
    train = loader(images.train_images[kept], images.train_labels[kept], size, shuffle=True, drop_last=drop_last)
    val = loader(images.train_images[held_out], images.train_labels[held_out], EVALUATION_BATCH)
    test = loader(images.test_images, images.test_labels, EVALUATION_BATCH)
    return Loaders(train, val, test, inputs, len(images.classes))
