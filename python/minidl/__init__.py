"""minidl: deep learning whose kernels you can read, under PyTorch's names."""

from __future__ import annotations

import importlib
import math
from typing import Any

from minidl import autograd as autograd, ops as ops
from minidl.anomaly import is_anomaly_enabled as is_anomaly_enabled
from minidl.autograd import (
    enable_grad as enable_grad,
    is_grad_enabled as is_grad_enabled,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from minidl.backends import (
    get_float32_matmul_precision as get_float32_matmul_precision,
    get_num_threads as get_num_threads,
    set_float32_matmul_precision as set_float32_matmul_precision,
    set_num_threads as set_num_threads,
)
from minidl.capture import capture as capture
from minidl.dtypes import (
    Size as Size,
    bool_ as bool_,
    device as device,
    dtype as dtype,
    float32 as float32,
    float64 as float64,
    int32 as int32,
    int64 as int64,
    uint8 as uint8,
)
from minidl.generator import (
    Generator as Generator,
    default_generator as default_generator,
    get_rng_state as get_rng_state,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    seed as seed,
    set_rng_state as set_rng_state,
)
from minidl.ops import *
from minidl.tensor import (
    Tensor as Tensor,
)

__version__ = "0.1.0"
inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
bool = bool_
float = float32
double = float64
long = int64

# Loaded when first asked for, so that `import minidl` stays fast.
_lazy_modules = (
    "bench",
    "cuda",
    "data",
    "io",
    "kernels",
    "lab",
    "nn",
    "optim",
    "plots",
    "selftest",
    "sklearn",
    "training",
    "utils",
    "vision",
)


def __getattr__(name: str) -> Any:
    if name in ("save", "load"):
        return getattr(importlib.import_module("minidl.io"), name)
    if name == "summary":
        return importlib.import_module("minidl.nn.summary").summary
    if name == "draw_dot":
        return importlib.import_module("minidl.drawing").draw_dot
    if name in ("diagnose", "lr_find"):
        return getattr(importlib.import_module("minidl.training"), name)
    if name in _lazy_modules:
        return importlib.import_module(f"minidl.{name}")
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")
