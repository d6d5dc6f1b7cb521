"""`minidl info`: what this installation is and has."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform

import numpy as np

import minidl
from minidl import _cpu, backends
from minidl.data.images import DATASET_NAMES, SOURCES, find_files

# Package -> what it is for.
OPTIONAL_PACKAGES = {
    "matplotlib": "learning-curve pictures",
    "cupy": "arrays on NVIDIA GPUs",
    "sklearn": "minidl.sklearn's estimators, other learners to compare with",
    "tensorboard": "curves in a browser",
}
DISTRIBUTIONS = {"cupy": "cupy-cuda13x[ctk]", "sklearn": "scikit-learn"}
SWITCHES = ("MINIDL_CPU_ISA", "MINIDL_NUM_THREADS", "MINIDL_DATA_DIR")


def describe_installation() -> dict[str, str]:
    """Everything that `minidl info` prints, line by line."""
    cuda = backends.cuda_module()
    lines = {
        "minidl": minidl.__version__,
        "Python": f"{platform.python_version()}, NumPy {np.__version__}, {platform.system()} {platform.machine()}",
        "instruction sets": f"{', '.join(_cpu.available_isas())} (active: {_cpu.isa()})",
        "bfloat16 products": _describe_bfloat16(),
        "threads": str(backends.get_num_threads()),
        "devices": ", ".join(available_devices()),
        "CUDA build": "none" if cuda is None else f"toolkit {cuda.toolkit}",
        "CUDA": backends.why_no_cuda() or ", ".join(cuda.device_names()),
    }
    for package, purpose in OPTIONAL_PACKAGES.items():
        distribution = DISTRIBUTIONS.get(package, package)
        if importlib.util.find_spec(package) is None:
            lines[package] = f"not installed ({purpose}: pip install {distribution})"
        else:
            lines[package] = f"{_version(package)} ({purpose})"
    for name in DATASET_NAMES:
        lines[f"data: {name}"] = _describe_dataset(name)
    for switch in SWITCHES:
        if switch in os.environ:
            lines[switch] = os.environ[switch]
    return lines


def available_devices() -> list[str]:
    """The devices that tensors can live on."""
    devices = []
    for name in ("cpu", "cuda"):
        try:
            backends.load(name)
        except (ImportError, RuntimeError, ValueError):
            continue
        devices.append(name)
    return devices


def _describe_bfloat16() -> str:
    available, fastest = _cpu.available_bfloat16(), _cpu.fastest_bfloat16()
    if not available:
        return "not on this CPU"
    if _cpu.isa() != "avx512":
        return "with the kernels for avx512 only"
    if fastest == "none":
        return f"by {available[0]} no faster than float32 on this CPU, so not used"
    more = "" if _cpu.fastest_bfloat16(backends.BFLOAT16_PIECES["high"]) == "none" else ' or ("high")'
    return f'by {fastest} after set_float32_matmul_precision("medium"){more}'


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(DISTRIBUTIONS.get(package, package).partition("[")[0])
    except importlib.metadata.PackageNotFoundError:
        return "installed"


def _describe_dataset(name: str) -> str:
    if name not in SOURCES:
        return "embedded in minidl"
    paths = find_files(name)
    return str(paths[0].parent) if paths else "not on this machine; `minidl train` downloads it"
