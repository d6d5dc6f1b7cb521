"""Images kept as bytes and turned into floats batch by batch, by one kernel."""

from __future__ import annotations

from typing import Any

from minidl import ops
from minidl.data.dataset import Dataset
from minidl.dtypes import device, int64
from minidl.tensor import Tensor


class PixelDataset(Dataset[tuple[Tensor, Tensor]]):
    """Rows scale * pixels + shift with their labels; the images stay uint8, a quarter of the memory of float32.

    Args:
        images: uint8 (count, pixels).
        labels: int64 (count,).
    """

    def __init__(self, images: Tensor, labels: Tensor, scale: float = 1 / 255, shift: float = 0.0) -> None:
        if images.dim() != 2 or len(images) != len(labels):
            raise ValueError(
                f"PixelDataset: images must be (count, pixels) with a label each, got {images.shape} and {labels.shape}"
            )
        self.images = images
        self.labels = labels
        self.scale = scale
        self.shift = shift

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> device:
        """Where the images are and batches are made."""
        return self.labels.device

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, labels = self.get_batch(ops.tensor([index % len(self)], dtype=int64, device=self.labels.device))
        return x[0], labels[0]

    def get_batch(self, index: Any) -> list[Tensor]:
        x = ops.gather_rows_uint8(self.images, index, self.scale, self.shift)
        return [x, ops.gather_labels(self.labels, index)]
