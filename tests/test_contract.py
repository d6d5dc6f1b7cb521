"""The contract of the native code: instruction sets, symbols, includes, threads, fork, and a package that says so."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from minidl import _cpu, kernels
from minidl.backends import Backend
from requirements import missing

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "csrc/cpu/kernels"
OPTIONAL_PACKAGES = ["matplotlib", "sklearn", "cupy", "torch", "scipy", "threadpoolctl", "tensorboard"]


def run_python(code: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **environment},
    )


# ---- instruction sets


def test_environment_forces_the_instruction_set(backend: Backend) -> None:
    isa = _cpu.isa()
    done = run_python("from minidl import _cpu; print(_cpu.isa())", MINIDL_CPU_ISA=isa)
    assert done.stdout.strip() == isa, done.stderr


def test_best_instruction_set_is_the_default() -> None:
    done = run_python("from minidl import _cpu; print(_cpu.isa())", MINIDL_CPU_ISA="")
    assert done.stdout.strip() == _cpu.available_isas()[0], done.stderr


@pytest.mark.parametrize("name", ["avx9000", "AVX2"])
def test_unknown_instruction_set_raises_and_lists_those_that_exist(name: str) -> None:
    with pytest.raises(ValueError, match=name) as error:
        _cpu.set_isa(name)
    assert ", ".join(_cpu.available_isas()) in str(error.value)
    done = run_python("import minidl", MINIDL_CPU_ISA=name)
    assert done.returncode != 0
    assert "MINIDL_CPU_ISA" in done.stderr
    assert ", ".join(_cpu.available_isas()) in done.stderr


def test_forced_instruction_set_is_really_active(backend: Backend) -> None:
    """Only the sets that have it fuse scale * x + shift into one rounding: 2^-24 here, where two roundings give 0."""
    x, out = np.full(5, 1 + 2**-12, np.float32), np.empty(5, np.float32)
    kernels.affine_forward(x, out, 1 + 2**-12, -(1 + 2**-11))
    assert set(out.tolist()) == ({0.0} if _cpu.isa() == "baseline" else {2.0**-24})


# ---- sources and symbols


def compile_options(isa: str) -> list[str]:
    """What CMakeLists.txt compiles the kernels of one instruction set with."""
    text = (ROOT / "CMakeLists.txt").read_text()
    common = re.search(r"target_compile_options\(kernels_\$\{isa\} PRIVATE([^)]*?)\$\{\$\{isa\}_flags\}\)", text)
    own = re.search(rf"set\({isa}_flags ([^)]*)\)", text)
    assert common, "CMakeLists.txt no longer names the options of the kernels in one place"
    return common[1].split() + (own[1].split() if own else [])


@pytest.fixture(scope="module")
def symbols_of_kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Object file -> its symbols, of every kernel source compiled for the instruction sets that not every machine has.

    Compiled without inlining, which is faster and shows more symbols than the build would.
    """
    compiler, nm = shutil.which("g++"), shutil.which("nm")
    if not compiler or not nm or not _cpu.available_isas()[1:]:
        missing("compiler", "g++ and nm for x86 are needed to look into object files")
    folder = tmp_path_factory.mktemp("objects")

    def symbols(job: tuple[str, Path]) -> tuple[str, str]:
        isa, source = job
        target = folder / f"{isa}_{source.stem}.o"
        folders = ("csrc", "csrc/cpu", f"csrc/cpu/isa/{isa}", "csrc/cpu/isa/without_bfloat16")
        includes = [f"-I{ROOT / folder}" for folder in folders]
        options = [*compile_options(isa), "-O0", "-fPIC", "-std=gnu++20", f"-DMINIDL_TARGET=cpu_{isa}"]
        subprocess.run([compiler, *options, *includes, "-c", str(source), "-o", str(target)], check=True)
        return target.name, subprocess.run([nm, "-C", str(target)], check=True, capture_output=True, text=True).stdout

    jobs = [(isa, source) for isa in ("avx512", "avx2") for source in sources_compiled_for_an_instruction_set()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(pool.map(symbols, jobs))


def sources_compiled_for_an_instruction_set() -> list[Path]:
    """What CMakeLists.txt lists: the kernels, and whatever else the build gives those options to."""
    text = (ROOT / "CMakeLists.txt").read_text()
    listed = re.search(r"add_library\(kernels_\$\{isa\} OBJECT \$\{cpu_kernel_sources\}([^)]*)\)", text)
    assert listed, "CMakeLists.txt no longer names the sources of the kernels in one place"
    return [*KERNELS.glob("*.cpp"), *(ROOT / name for name in listed[1].split())]


def test_objects_of_the_kernels_have_no_weak_symbols(symbols_of_kernels: dict[str, str]) -> None:
    """A weak symbol compiled for AVX-512 may be the copy that the linker keeps for every machine."""
    found = [
        f"{name}: {line.strip()}"
        for name, listing in symbols_of_kernels.items()
        for line in listing.splitlines()
        if re.search(r" [WVu] ", line)
    ]
    assert not found, "\n".join(found)


def test_objects_of_the_kernels_run_nothing_while_they_load(symbols_of_kernels: dict[str, str]) -> None:
    """An initializer compiled for AVX-512 runs during the import, and ends it on a machine without."""
    assert not [name for name, listing in symbols_of_kernels.items() if "_GLOBAL__sub_I_" in listing]


def included_by(file: Path, seen: set[Path]) -> set[str]:
    """The system headers that a source draws in, through headers of ours as well."""
    names = re.findall(r"^\s*#\s*include\s*(\S+)", file.read_text(), re.MULTILINE)
    system = {name for name in names if name.startswith("<")}
    folders = [file.parent, *(ROOT / folder for folder in ("csrc/cpu", "csrc/cpu/isa/avx512", "csrc"))]
    for name in set(names) - system - {'"kernels.def"'}:
        header = next(folder / name.strip('"') for folder in folders if (folder / name.strip('"')).exists())
        if header not in seen:
            seen.add(header)
            system |= included_by(header, seen)
    return system


@pytest.mark.parametrize("file", sorted(KERNELS.rglob("*.cpp")), ids=lambda file: file.name)
def test_kernels_draw_in_c_headers_only(file: Path) -> None:
    """No pybind11, no C++ library: its inline functions would be weak symbols."""
    c_headers = {"<math.h>", "<stdint.h>", "<string.h>", "<float.h>", "<stddef.h>", "<immintrin.h>"}
    assert not sorted(included_by(file, set()) - c_headers)


def test_every_kernel_of_the_list_is_bound_and_documented() -> None:
    listed = re.findall(r"^KERNEL\((\w+),", (ROOT / "csrc/kernels.def").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(_cpu.kernel_names)
    for name in listed:
        assert getattr(kernels, name).__doc__, f"{name} has no line of maths"


def test_every_exported_kernel_is_in_the_list() -> None:
    sources = "".join(f.read_text() for f in KERNELS.glob("*.cpp"))
    exported = re.findall(r"^EXPORT(?:_FLUSHING)?\((\w+)\)", sources, re.MULTILINE)
    assert sorted(exported) == sorted(_cpu.kernel_names)


# ---- threads and processes


def test_threads_come_from_the_environment_and_bad_values_raise() -> None:
    show = "import minidl; print(minidl.get_num_threads())"
    assert run_python(show, MINIDL_NUM_THREADS="3").stdout.strip() == "3"
    for bad in ("0", "-2", "many"):
        done = run_python(show, MINIDL_NUM_THREADS=bad)
        assert done.returncode != 0
        assert "MINIDL_NUM_THREADS" in done.stderr


def test_forked_process_can_use_the_threads_after_a_parallel_region() -> None:
    done = run_python(
        """
import os
import numpy as np
from minidl import _cpu, kernels

_cpu.set_thread_count(2)
x, out = np.ones(1_000_000, np.float32), np.empty(1_000_000, np.float32)
kernels.relu_forward(x, out)
child = os.fork()
out[:] = 0
for _ in range(100):
    kernels.relu_forward(x, out)
if child == 0:
    os._exit(0 if out.sum() == out.size else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""",
        timeout=60,
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0, done.stderr


def test_kernels_called_from_several_python_threads_agree() -> None:
    x = np.linspace(-1, 1, 200_001, dtype=np.float32)

    def relu(_: int) -> np.ndarray:
        out = np.empty_like(x)
        kernels.relu_forward(x, out)
        return out

    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(out, np.maximum(x, 0)) for out in pool.map(relu, range(200)))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (1, 67, 129), (3, 0, 4), (1, 513, 257)], ids=str)
def test_transpose_kernel(shape: tuple[int, int, int], backend: Backend) -> None:
    for dtype in (np.float32, np.float64):
        x = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
        out = np.empty((shape[0], shape[2], shape[1]), dtype)
        kernels.transpose(x, out)
        np.testing.assert_array_equal(out, x.swapaxes(1, 2))


# ---- what the kernels refuse


def test_kernel_names_itself_the_argument_and_both_sides_of_a_mistake() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"relu_forward\(\): out must have shape \(2, 3\) like x, got shape \(3, 2\)"):
        kernels.relu_forward(x, np.empty((3, 2), np.float32))
    with pytest.raises(TypeError, match=r"relu_forward\(\): out must be float32, got float64"):
        kernels.relu_forward(x, np.empty((2, 3)))
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        kernels.relu_forward(np.ones(3, np.int64), np.empty(3, np.int64))
    with pytest.raises(ValueError, match="x must be C-contiguous"):
        kernels.relu_forward(np.ones((3, 2), np.float32).T, np.empty((2, 3), np.float32))
    read_only = np.empty((2, 3), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="out is written to, but is read-only"):
        kernels.relu_forward(x, read_only)


def test_kernel_refuses_numbers_of_the_other_byte_order() -> None:
    x = np.ones(2, np.dtype(np.float32).newbyteorder())
    with pytest.raises(TypeError, match="float32"):
        kernels.relu_forward(x, np.empty(2, np.float32))


@pytest.mark.parametrize("not_an_array", [[1.0, 2.0], "text", 3.0, object()], ids=lambda x: type(x).__name__)
def test_kernel_refuses_what_is_no_array(not_an_array: object) -> None:
    with pytest.raises(TypeError):
        kernels.relu_forward(not_an_array, np.empty(2, np.float32))


# ---- the package


def test_package_works_without_optional_packages() -> None:
    done = run_python(
        f"""
import sys
for name in {OPTIONAL_PACKAGES}:
    sys.modules[name] = None
import pkgutil
import minidl
x = minidl.tensor([1.0, -2.0], requires_grad=True)
minidl.nn.functional.relu(x).sum().backward()
assert x.grad.tolist() == [1.0, 0.0]
import minidl.training, minidl.cli
"""
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing_heavy() -> None:
    done = run_python("import minidl, sys; print(*sorted(sys.modules))")
    assert done.returncode == 0, done.stderr
    heavy = {*OPTIONAL_PACKAGES, "rich", "typer", "PIL", "multiprocessing", "urllib.request", "asyncio"}
    assert not heavy & set(done.stdout.split())
