"""Fixtures: `backend` (each CPU instruction set, CUDA on the host, CUDA on a GPU), `cuda`, `device`; a clean state."""

import re
from collections.abc import Iterator

import pytest

import device_arrays
import minidl
from minidl import _cpu, backends
from requirements import missing

CUDA_TARGETS = device_arrays.available_targets()
BACKENDS = ["cpu:baseline", "cpu:avx2", "cpu:avx512", *(f"cuda:{target}" for target in CUDA_TARGETS)]


def pytest_report_header() -> list[str]:
    """Says which back ends the tests run on."""
    return [f"back ends: {', '.join(BACKENDS)}", *device_arrays.what_is_missing()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the CUDA back ends that are not there: the head of the report says so, once."""
    absent = {"emulated", "gpu"} - set(CUDA_TARGETS)
    left_out = {item for item in items if absent & set(re.split(r"[^a-z]+", item.nodeid.partition("[")[2]))}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def clean_state() -> Iterator[None]:
    """Every test begins with seed 0 and leaves the settings of the kernels as they were."""
    isa, threads, precision = _cpu.isa(), _cpu.thread_count(), minidl.get_float32_matmul_precision()
    minidl.manual_seed(0)
    yield
    _cpu.set_isa(isa)
    _cpu.set_thread_count(threads)
    minidl.set_float32_matmul_precision(precision)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> backends.Backend:
    """A back end of NumPy arrays; `cpu:avx2` is the CPU with that instruction set forced, `cuda:gpu` copies."""
    device, target = request.param.split(":")
    if device == "cuda":
        return device_arrays.on_host_arrays(target)
    if target not in _cpu.available_isas():
        missing(target, f"{target} is not available on this machine, which has {', '.join(_cpu.available_isas())}")
    _cpu.set_isa(target)
    return backends.load(device)


@pytest.fixture(params=CUDA_TARGETS or ["emulated"])
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> backends.Backend:
    """The back end of device "cuda" as programs meet it, on a GPU or with stand-ins for CuPy and the GPU."""
    return use_cuda(request.param, monkeypatch)


@pytest.fixture(params=["cpu", *CUDA_TARGETS])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a device as programs use it: "cpu", or "cuda" as in the fixture of that name."""
    return "cpu" if request.param == "cpu" else use_cuda(request.param, monkeypatch).name


def use_cuda(target: str, monkeypatch: pytest.MonkeyPatch) -> backends.Backend:
    if target == "gpu":
        device_arrays.gpu_module()
        return backends.load("cuda")
    kernels = device_arrays.CheckingKernels(device_arrays.emulated_module())
    monkeypatch.setattr(backends, "cuda", backends.CudaBackend("cuda", device_arrays.xp, kernels))
    return backends.load("cuda")
