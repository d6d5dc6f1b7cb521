"""PyTorch's `utils`: `minidl.utils.data` is `minidl.data`."""

from minidl.utils import data

__all__ = ["data"]
