"""PyTorch's name for `minidl.data`."""

from minidl.data import *  # noqa: F403
from minidl.data import __all__ as __all__
