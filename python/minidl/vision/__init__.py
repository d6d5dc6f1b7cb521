"""Image datasets and transforms in torchvision's shape."""

from minidl.vision import datasets, transforms

__all__ = ["datasets", "transforms"]
