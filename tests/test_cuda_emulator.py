"""The CUDA emulator itself: it runs correct kernels in every order, and reports each of many planted bugs."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from requirements import missing

ROOT = Path(__file__).resolve().parent.parent
EMULATOR = ROOT / "tests" / "cuda_emulator"
FLAGS = ["-std=gnu++20", "-O1", "-g1", "-Wall", "-Wextra", "-Werror"]
KERNEL_FLAGS = ["-Wno-unknown-pragmas", "-DMINIDL_TARGET=cuda"]
INCLUDES = [f"-I{EMULATOR}", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc' / 'cuda'}"]
SANITIZERS = {"plain": [], "addresses": ["-fsanitize=address,undefined"], "races": ["-fsanitize=thread"]}
ORDERS = ["forward", "reverse", "random:1", "random:2", "random:3"]
REPORTED = 66  # exit status of a sanitizer that has found something

Run = Callable[..., subprocess.CompletedProcess[str]]

# What says so, in which order of threads, and with which words.
PLANTED_BUGS = [
    (
        "shuffle_after_exit",
        "plain",
        "forward",
        "deadlock.*and 15 more in __shfl_xor_sync at .*; 16 threads have exited",
    ),
    ("shuffle_from_absent_lane", "plain", "forward", "__shfl_sync reads lane 20, which takes no part"),
    ("mask_without_caller", "plain", "forward", "calls __shfl_xor_sync with mask 0000ffff, which leaves it out"),
    ("overlapping_masks", "plain", "forward", "with mask ffff0000, while lanes of it wait .* with mask 0001ffff"),
    ("two_instructions", "plain", "forward", "is in __ballot_sync, while other lanes .* in __shfl_xor_sync"),
    ("shuffle_beside_barrier", "plain", "forward", "deadlock: .* in __syncthreads at .* in __shfl_xor_sync at"),
    ("missing_syncwarp", "plain", "forward", "wrong: element 0 is -?nan"),
    ("missing_syncwarp", "races", "forward", "data race"),
    ("missing_barrier", "plain", "forward", "wrong: element 0 is -?nan"),
    ("missing_barrier", "races", "reverse", "data race"),
    ("missing_second_barrier", "plain", "forward", "wrong: element 0 is"),
    ("missing_second_barrier", "races", "forward", "data race"),
    ("barrier_in_branch", "plain", "forward", "at __syncthreads, but 24 of the block's 64 threads have exited"),
    ("unequal_barriers", "plain", "forward", "at __syncthreads, but 32 of the block's 64 threads have exited"),
    ("divergent_barriers", "plain", "forward", r"divergent __syncthreads: block \(0, 0, 0\), thread \(0, 0, 0\) is at"),
    ("shared_overrun", "plain", "forward", "byte 1 behind the shared array declared at .*planted_bugs.cu"),
    ("shared_overrun", "addresses", "forward", r"index 32 out of bounds for type 'float \[32\]'"),
    ("dynamic_shared_overrun", "plain", "forward", "byte 1 behind the shared array declared at the launch"),
    ("dynamic_shared_overrun", "addresses", "forward", "AddressSanitizer: use-after-poison"),
    ("shared_overread", "plain", "forward", "wrong: element 31 is -?nan"),
    ("shared_overread", "addresses", "forward", r"index 32 out of bounds for type 'float \[32\]'"),
    ("shared_memory_never_written", "plain", "forward", "wrong: element 0 is nan"),
    ("shared_memory_of_the_last_block", "plain", "forward", "wrong: element 32 is nan"),
    ("too_much_shared_memory", "plain", "forward", "52000 bytes of declared shared memory, of at most 49152"),
    ("no_dynamic_shared_memory", "plain", "forward", "the launch asked for no dynamic shared memory"),
    ("too_much_dynamic_shared_memory", "plain", "forward", "error: invalid argument"),
    ("dynamic_shared_memory_not_asked_for", "plain", "forward", "error: invalid argument"),
    ("too_many_threads", "plain", "forward", "error: invalid configuration argument"),
    ("too_many_blocks", "plain", "forward", "error: invalid configuration argument"),
    ("copy_without_wait", "plain", "forward", "wrong: element 0 is nan"),
    ("copy_never_waited_for", "plain", "forward", "ended with an asynchronous copy that nobody waited for"),
    ("misaligned_copy", "plain", "forward", "copy of 16 bytes .* which are not aligned to as many"),
    ("misaligned_vector", "addresses", "forward", "misaligned address"),
    ("overrun", "addresses", "forward", "AddressSanitizer: heap-buffer-overflow"),
    ("overread", "addresses", "forward", "AddressSanitizer: heap-buffer-overflow"),
    ("use_after_free", "addresses", "forward", "AddressSanitizer: heap-use-after-free"),
    ("block_order", "plain", "reverse", "wrong: element 2 is 1"),
    ("block_order", "races", "forward", "data race"),
    ("two_blocks_write_one", "races", "forward", "data race"),
    ("add_beside_atomic", "races", "forward", "data race"),
    ("last_block_without_fence", "races", "forward", "data race"),
    ("last_block_without_barrier", "races", "forward", "data race"),
    ("calls_after_a_failure", "plain", "forward", "error: divergent __syncthreads"),
    ("waiting_while_recording", "plain", "forward", "error: operation failed due to a previous error during capture"),
    ("allocating_while_recording", "plain", "forward", "error: operation not permitted when stream is capturing"),
]


def compile_programs(folder: Path, compiler: str) -> dict[tuple[str, str], Path]:
    """Each program for each sanitizer. The emulator's own files are compiled once, without any."""

    def run(*command: object) -> None:
        result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr

    def compile_emulator(source: Path) -> Path:
        run(compiler, *FLAGS, *INCLUDES, "-c", source, "-o", folder / f"{source.stem}.o")
        return folder / f"{source.stem}.o"

    def compile_program(name: str, sanitizer: str) -> None:
        source, output = EMULATOR / "cases" / f"{name}.cu", folder / f"{name}-{sanitizer}"
        flags = [*FLAGS, *KERNEL_FLAGS, *SANITIZERS[sanitizer], *INCLUDES]
        run(compiler, *flags, "-x", "c++", source, "-x", "none", *objects, "-o", output)

    wanted = [(name, sanitizer) for name in ("planted_bugs", "correct_kernels") for sanitizer in SANITIZERS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_emulator, sorted((EMULATOR / "emulator").glob("*.cpp"))))
        list(pool.map(lambda program: compile_program(*program), wanted))
    return {(name, sanitizer): folder / f"{name}-{sanitizer}" for name, sanitizer in wanted}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """run(program, sanitizer, case, order): the case's exit status and what it wrote."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        missing("compiler", "there is no C++ compiler (CXX, g++)")
    programs = compile_programs(tmp_path_factory.mktemp("cuda_emulator"), compiler)
    # Some kernels spread addresses further than the sanitizers know.
    fixed_addresses = ["setarch", os.uname().machine, "-R"]
    if shutil.which("setarch") is None or subprocess.run([*fixed_addresses, "true"], capture_output=True).returncode:
        fixed_addresses = []

    def run(program: str, sanitizer: str, case: str, order: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "CUDA_EMULATOR_ORDER": order,
            "ASAN_OPTIONS": f"detect_leaks=0:exitcode={REPORTED}",
            "UBSAN_OPTIONS": f"halt_on_error=1:exitcode={REPORTED}",
            "TSAN_OPTIONS": f"halt_on_error=1:exitcode={REPORTED}",
        }
        command = [*(fixed_addresses if sanitizer == "races" else []), str(programs[program, sanitizer]), case]
        return subprocess.run(
            command, env=environment, text=True, timeout=120, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    return run


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_correct_kernels_run_in_every_order(run: Run, sanitizer: str, order: str) -> None:
    result = run("correct_kernels", sanitizer, "all", order)
    assert result.returncode == 0, result.stdout
    assert result.stdout.endswith("fine\n")


@pytest.mark.parametrize(("case", "sanitizer", "order", "words"), PLANTED_BUGS)
def test_planted_bug_is_reported(run: Run, case: str, sanitizer: str, order: str, words: str) -> None:
    result = run("planted_bugs", sanitizer, case, order)
    assert result.returncode == (1 if sanitizer == "plain" else REPORTED), result.stdout
    assert re.search(words, result.stdout, re.DOTALL), result.stdout


def test_every_planted_bug_is_expected_somewhere(run: Run) -> None:
    result = run("planted_bugs", "plain", "", "forward")
    assert sorted(result.stdout.split()) == sorted({case for case, *_ in PLANTED_BUGS})


def test_unknown_order_is_refused(run: Run) -> None:
    result = run("correct_kernels", "plain", "sum", "sideways")
    assert result.returncode != 0
    assert "CUDA_EMULATOR_ORDER is forward, reverse, random or random:SEED, got sideways" in result.stdout
