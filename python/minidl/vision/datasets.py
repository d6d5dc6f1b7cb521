"""MNIST and Fashion-MNIST in torchvision's shape."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minidl import ops
from minidl.data import Dataset, load_images
from minidl.dtypes import int64
from minidl.vision.transforms import as_scale_and_shift


class MNIST(Dataset[tuple[Any, Any]]):
    """Handwritten digits: 60,000 to learn from, 10,000 to test on, 28 x 28 grey values, labels 0 to 9.

    Samples are (image, label), the image a PIL image unless `transform` makes something else of it. With
    `transforms.ToTensor()`, alone or followed by `Normalize`, a DataLoader makes each batch by one kernel.

    Args:
        root: looked into first (`<root>/mnist`, `<root>/MNIST/raw`), then MINIDL_DATA_DIR and the user's cache folder.
        train: the training images, else the test images.
        transform: applied to the image.
        target_transform: applied to the label.
        download: fetch missing files; unlike torchvision into the user's cache folder, where every program finds them.

    Raises:
        DatasetNotFoundError: no copy was found, and it was not or could not be downloaded.
    """

    name = "mnist"

    def __init__(
        self,
        root: str | os.PathLike[str] = ".",
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        images = load_images(self.name, root if Path(root).is_dir() else None, fetch=download)
        self.root = root
        self.train = train
        self.transform = transform
        self.target_transform = target_transform
        self.classes = list(images.classes)
        self.data = ops.from_numpy(images.train_images if train else images.test_images)
        self.targets = ops.from_numpy(images.train_labels if train else images.test_labels)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: index must be in [{-len(self)}, {len(self)}), got {index}")
        index %= len(self)
        batch = self.get_batch(ops.tensor([index], dtype=int64))
        if batch is not None:
            return batch[0][0], int(batch[1][0].item())
        from PIL import Image

        image: Any = Image.fromarray(self.data.numpy()[index])
        label: Any = int(self.targets[index].item())
        return (
            self.transform(image) if self.transform else image,
            self.target_transform(label) if self.target_transform else label,
        )

    def get_batch(self, index: Any) -> list[Any] | None:
        """Images (batch, 1, rows, columns) and labels, where the transform is a scale and a shift; else None."""
        folded = None if self.target_transform else as_scale_and_shift(self.transform)
        if folded is None:
            return None
        rows, columns = self.data.shape[1:]
        flat = self.data.reshape(len(self), rows * columns)
        images = ops.gather_rows_uint8(flat, index, *folded)
        return [images.reshape(-1, 1, rows, columns), ops.gather_labels(self.targets, index)]

    def __repr__(self) -> str:
        split = "train" if self.train else "test"
        return f"{type(self).__name__}({split}, {len(self)} images, transform={self.transform})"


class FashionMNIST(MNIST):
    """Articles of clothing in MNIST's format (Xiao 2017): ten classes from T-shirt to ankle boot."""

    name = "fashion-mnist"
