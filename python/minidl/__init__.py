"""minidl: deep learning whose kernels you can read, under PyTorch's names."""

from __future__ import annotations

import importlib
from typing import Any

from minidl import autograd as autograd
from minidl import ops as ops
from minidl.autograd import (
    enable_grad as enable_grad,
)
from minidl.autograd import (
    is_grad_enabled as is_grad_enabled,
)
from minidl.autograd import (
    no_grad as no_grad,
)
from minidl.autograd import (
    set_grad_enabled as set_grad_enabled,
)
from minidl.backends import (
    get_num_threads as get_num_threads,
)
from minidl.backends import (
    set_num_threads as set_num_threads,
)
from minidl.dtypes import (
    Size as Size,
)
from minidl.dtypes import (
    bool_ as bool_,
)
from minidl.dtypes import (
    device as device,
)
from minidl.dtypes import (
    dtype as dtype,
)
from minidl.dtypes import (
    float32 as float32,
)
from minidl.dtypes import (
    float64 as float64,
)
from minidl.dtypes import (
    int32 as int32,
)
from minidl.dtypes import (
    int64 as int64,
)
from minidl.dtypes import (
    uint8 as uint8,
)
from minidl.generator import (
    Generator as Generator,
)
from minidl.generator import (
    default_generator as default_generator,
)
from minidl.generator import (
    get_rng_state as get_rng_state,
)
from minidl.generator import (
    initial_seed as initial_seed,
)
from minidl.generator import (
    manual_seed as manual_seed,
)
from minidl.generator import (
    seed as seed,
)
from minidl.generator import (
    set_rng_state as set_rng_state,
)
from minidl.ops import *
from minidl.tensor import (
    Tensor as Tensor,
)

__version__ = "0.1.0"
bool = bool_
float = float32
double = float64
long = int64

# Loaded when first asked for, so that `import minidl` stays fast.
_lazy_modules = ("capture", "data", "io", "kernels", "nn", "optim", "selftest", "training", "utils", "vision")


def __getattr__(name: str) -> Any:
    if name in _lazy_modules:
        return importlib.import_module(f"minidl.{name}")
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")
