"""The raw kernels: arrays in, arrays out. ``minidl.kernels.relu_forward(x, out)``; ``help()`` gives each one's maths.

They take NumPy arrays. Shapes, number types and layout are checked; nothing is allocated or recorded.

>>> import minidl, numpy as np
>>> x = np.array([-1.0, 2.0], np.float32)
>>> out = np.empty_like(x)
>>> minidl.kernels.relu_forward(x, out)
>>> out
array([0., 2.], dtype=float32)
"""

from __future__ import annotations

from typing import Any

from minidl import backends

names: tuple[str, ...] = backends.cpu.kernels.kernel_names


def __getattr__(name: str) -> Any:
    if name in names:
        return getattr(backends.cpu.kernels, name)
    raise AttributeError(f"there is no kernel {name!r}; minidl.kernels.names lists all {len(names)}")


def __dir__() -> list[str]:
    return ["names", *names]
