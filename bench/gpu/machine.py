"""What a run's figures depend on: host, GPU, versions, clocks, commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import minidl
from gpu.log import Figures
from gpu.session import Context
from minidl import backends
from minidl.bench import describe_machine

ROOT = Path(__file__).resolve().parents[2]
MACHINE = "machine"
QUERIES = ("driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "temperature.gpu")


def machine(context: Context) -> Figures:
    """Host, GPU, versions, clocks as nvidia-smi knows them, and the commit."""
    gpu = context.gpu
    return {
        **describe_machine(),
        "gpu": gpu_name(),
        "capability": list(minidl.cuda.get_device_capability()),
        "gpu_bytes": minidl.cuda.mem_get_info()[1],
        "toolkit": gpu.kernels.toolkit,
        "cupy": gpu.cupy.__version__,
        "torch": context.torch.__version__ if context.torch else None,
        "commit": commit(),
        **dict.fromkeys(QUERIES),
        **_queries(),
    }


def _queries() -> dict[str, str]:
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERIES)}", "--format=csv,noheader", "--id=0"]
    return dict(zip(QUERIES, [field.strip() for field in (_answer(command) or "").split(",")], strict=False))


def _answer(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def gpu_name() -> str:
    return str(minidl.cuda.get_device_name())


def commit() -> str | None:
    """Of this checkout, "-dirty" behind it where files have changed since; None where git does not know."""
    return _answer(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])


def why_no_gpu() -> str:
    """What keeps device "cuda" from being used, empty when nothing does."""
    return backends.why_no_cuda()
