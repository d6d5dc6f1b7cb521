"""The machine code of the CUDA module: every architecture, no local memory, registers within budget, wide accesses.

Needs a build with nvcc, and cuobjdump and nvdisasm (PyPI: nvidia-cuda-cuobjdump, nvidia-cuda-nvdisasm), but no GPU.
"""

import importlib.util
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

import machine_code
from machine_code import Kernel, Usage
from requirements import missing

ROOT = Path(__file__).resolve().parent.parent
STEMS = sorted(path.stem for path in (ROOT / "csrc" / "cuda" / "kernels").glob("*.cu"))

# A block of 256 threads with 128 registers each leaves room for a second one; more must have a reason.
MAX_REGISTERS = 128
REGISTERS = {
    ("accuracy", "count_correct_kernel"): 176,  # a row of logits in double stays in registers
    ("classifier", "classifier_kernel"): 200,  # 16 sums in double and what they are made of, four warps a block
    ("loss", "cross_entropy_kernel"): 224,  # likewise
    ("matmul", "multiply_kernel"): 255,  # the large tile of rounded factors: 128 threads with 128 sums each
    ("normalization", "backward_resident_kernel"): 176,  # a thread's part of a channel stays in registers
    ("normalization", "forward_resident_kernel"): 200,
    ("softmax", "row_kernel"): 212,  # a row in double stays in registers
}
# Bytes of local memory a thread, which is as slow as global memory; everywhere else none.
LOCAL_BYTES = {
    # The large tile, of which two blocks share a multiprocessor: none on sm_90; on sm_80, sm_100 and sm_120 a layout or
    # two have about 30 accesses with the 1024 multiply-adds in their loop.
    ("matmul", "multiply_kernel"): 104,
    ("normalization", "parameter_gradient_kernel"): 8,  # the instance for unaligned arrays on sm_100
    ("optimizer", "step_kernel"): 16,  # instances for unaligned arrays, and pow() in double once a thread
    ("reduction", "reduce_long_rows_kernel"): 8,  # the instance for unaligned rows on sm_80
    ("warpgroup_products", "multiply_by_warpgroups_kernel"): 96,  # feeders that round to TF32, in their loop
}

# Bound by memory: at least one instance, the one for aligned arrays, must move 16 bytes an access.
WIDE_BOTH = [
    ("activation", "map_kernel"),
    ("activation", "prelu_backward_kernel"),
    ("activation", "broadcast_kernel"),
    ("classifier", "classifier_kernel"),
    ("dropout", "dropout_kernel"),
    ("elementwise", "map_kernel"),
    ("elementwise", "broadcast_kernel"),
    ("elementwise", "gather_kernel"),
    ("loss", "map_kernel"),
    ("loss", "cross_entropy_kernel"),
    ("matmul", "multiply_kernel"),
    ("matmul", "shallow_kernel"),
    ("normalization", "forward_resident_kernel"),
    ("normalization", "forward_stream_kernel"),
    ("normalization", "normalize_kernel"),
    ("normalization", "backward_resident_kernel"),
    ("normalization", "backward_stream_kernel"),
    ("normalization", "input_gradient_kernel"),
    ("optimizer", "step_kernel"),
    ("optimizer", "scale_gradients_kernel"),
    ("regularization", "soft_threshold_kernel"),
    ("regularization", "limit_row_norms_kernel"),
    ("softmax", "row_kernel"),
    ("softmax", "write_kernel"),
]
WIDE_LOADS = [
    *WIDE_BOTH,
    ("accuracy", "count_correct_kernel"),
    ("loss", "reduced_loss_kernel"),
    ("matmul", "dot_products_kernel"),
    ("matmul", "narrow_kernel"),
    ("matmul", "weighted_rows_kernel"),
    ("normalization", "parameter_gradient_kernel"),
    ("optimizer", "squared_norm_kernel"),
    ("reduction", "reduce_columns_kernel"),
    ("reduction", "reduce_long_rows_kernel"),
    ("reduction", "reduce_short_rows_kernel"),
    ("softmax", "piece_kernel"),
]
WIDE_STORES = [*WIDE_BOTH, ("matmul", "weighted_rows_kernel"), ("random", "draw_kernel")]


def shipped_architectures() -> tuple[set[str], set[str]]:
    """What CMakeLists.txt asks for: machine code, and code that later GPUs translate."""
    match = re.search(r"set\(CMAKE_CUDA_ARCHITECTURES ([^)]*)\)", (ROOT / "CMakeLists.txt").read_text())
    assert match is not None
    names = match[1].split()
    real = {f"sm_{name.removesuffix('-real')}" for name in names if not name.endswith("-virtual")}
    virtual = {f"sm_{name.removesuffix('-virtual')}" for name in names if not name.endswith("-real")}
    return real, virtual


@pytest.fixture(scope="module")
def cuobjdump() -> str:
    if importlib.util.find_spec("minidl._cuda") is None:
        missing("nvcc", "this build has no CUDA module (it was built without nvcc)")
    tool = shutil.which("cuobjdump")
    if tool is None or shutil.which("nvdisasm") is None:
        missing("cuobjdump", "there is no cuobjdump or no nvdisasm in PATH")
    return tool


@pytest.fixture(scope="module")
def module() -> Path:
    """The CUDA module, which is read, not loaded."""
    spec = importlib.util.find_spec("minidl._cuda")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


@pytest.fixture(scope="module")
def usages(cuobjdump: str, module: Path) -> dict[Kernel, Usage]:
    return machine_code.usages(cuobjdump, module)


@pytest.fixture(scope="module")
def instructions(cuobjdump: str, module: Path) -> dict[Kernel, set[str]]:
    """For one architecture: to read all takes minutes, and the accesses are the same."""
    return machine_code.instructions(cuobjdump, module, "sm_90")


def require_somewhere(instructions: dict[Kernel, set[str]], pattern: str, wanted: list[tuple[str, str]]) -> None:
    """Each of the wanted kernels has an instance with such an instruction."""
    found = {
        (kernel.stem, kernel.name)
        for kernel, names in instructions.items()
        if any(re.fullmatch(pattern, name) for name in names)
    }
    assert set(wanted) - found == set()


def test_every_kernel_waits_for_those_before_it(instructions: dict[Kernel, set[str]]) -> None:
    """A graph starts kernels early (csrc/cuda/replayer.cpp); SASS calls griddepcontrol's two halves by these names."""
    hasty = {str(kernel) for kernel, names in instructions.items() if not {"PREEXIT", "ACQBULK"} <= names}
    assert hasty == set()


def test_every_file_is_compiled_for_every_shipped_architecture(
    usages: dict[Kernel, Usage], cuobjdump: str, module: Path
) -> None:
    real, virtual = shipped_architectures()
    stems = defaultdict(set)
    for kernel in usages:
        stems[kernel.architecture].add(kernel.stem)
    expected = {architecture: set(STEMS) for architecture in real}
    if "sm_90" in real:
        expected["sm_90a"] = {"warpgroup_products"}
    assert dict(stems) == expected
    assert machine_code.ptx_architectures(cuobjdump, module) == virtual


def test_no_kernel_keeps_registers_in_local_memory(usages: dict[Kernel, Usage]) -> None:
    over = {
        str(kernel): usage.local_bytes
        for kernel, usage in usages.items()
        if usage.local_bytes > LOCAL_BYTES.get((kernel.stem, kernel.name), 0)
    }
    assert over == {}


def test_registers_stay_within_budget(usages: dict[Kernel, Usage]) -> None:
    over = {
        str(kernel): usage.registers
        for kernel, usage in usages.items()
        if usage.registers > REGISTERS.get((kernel.stem, kernel.name), MAX_REGISTERS)
    }
    assert over == {}


def test_budget_names_kernels_that_exist(usages: dict[Kernel, Usage]) -> None:
    names = {(kernel.stem, kernel.name) for kernel in usages}
    assert {*REGISTERS, *LOCAL_BYTES} - names == set()


def test_matrix_product_copies_16_bytes_past_the_registers(instructions: dict[Kernel, set[str]]) -> None:
    require_somewhere(instructions, r"LDGSTS\.E(\.\w+)*\.128(\.\w+)*", [("matmul", "multiply_kernel")])


def test_warpgroups_multiply_both_kinds_of_rounded_factors(cuobjdump: str, module: Path) -> None:
    """By the instructions of sm_90a, whose loads and stores of factors are 16 bytes as well."""
    for_warpgroups = machine_code.instructions(cuobjdump, module, "sm_90a")
    kernel = [("warpgroup_products", "multiply_by_warpgroups_kernel")]
    for multiplication in (r"HGMMA\.64x128x8\.F32\.TF32", r"HGMMA\.64x128x16\.F32\.BF16"):
        require_somewhere(for_warpgroups, multiplication, kernel)
    require_somewhere(for_warpgroups, r"LDG\.E(\.\w+)*\.128(\.\w+)*", kernel)
    require_somewhere(for_warpgroups, r"STS\.128", kernel)
    assert all({"PREEXIT", "ACQBULK"} <= names for names in for_warpgroups.values())


def test_kernels_bound_by_memory_load_16_bytes(instructions: dict[Kernel, set[str]]) -> None:
    require_somewhere(instructions, r"LDG\.E(\.\w+)*\.128(\.\w+)*", WIDE_LOADS)


def test_kernels_bound_by_memory_store_16_bytes(instructions: dict[Kernel, set[str]]) -> None:
    require_somewhere(instructions, r"STG\.E(\.\w+)*\.128(\.\w+)*", WIDE_STORES)
