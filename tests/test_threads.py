"""The thread pool as Python sees it: several callers at once, forks, changes of the number of threads, idle time."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

import minidl
from comparison import assert_bitwise_equal
from minidl import _cpu, nn, optim

Array = np.ndarray

CHILD_SECONDS = 120


def forks(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test that forks.

    Python 3.12 and newer warn of every fork with threads about, which is what is tested. A child has the allocator as
    it was at the fork: that of GCC 12's address sanitizer may be locked by another thread, for good, and Python
    allocates before it returns from the fork.
    """
    has_address_sanitizer = "libasan" in os.environ.get("LD_PRELOAD", "")
    test = pytest.mark.skipif(has_address_sanitizer, reason="the address sanitizer does not survive forks")(test)
    return pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")(test)


def results_of_kernels() -> list[Array]:
    """One kernel of each way to share out work: elements, tiles of packed panels, rows, columns, random numbers."""
    generator = minidl.Generator()
    generator.manual_seed(5)
    x = minidl.randn(300, 400, generator=generator)
    return [out.numpy() for out in (x, x.tanh(), x @ x.T, x.softmax(1), x.sum(0), x.sum(1))]


def train_a_few_steps() -> list[Array]:
    generator = minidl.Generator()
    generator.manual_seed(5)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    for param in model.parameters():
        nn.init.normal_(param, std=0.1, generator=generator)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    x = minidl.randn(512, 64, generator=generator)
    labels = minidl.arange(512) % 10
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
    return [param.detach().numpy() for param in model.parameters()]


def assert_same(results: list[Array], expected: list[Array]) -> None:
    for position, (result, wanted) in enumerate(zip(results, expected, strict=True)):
        assert_bitwise_equal(result, wanted, f"result {position}")


@contextmanager
def running(body: Callable[[], object]) -> Iterator[None]:
    """Another thread calls `body` over and over, at least once."""
    is_done = threading.Event()
    failures: list[BaseException] = []

    def repeat() -> None:
        try:
            while True:
                body()
                if is_done.is_set():
                    return
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()
    assert not failures, failures


def exit_status_of_child(body: Callable[[], object]) -> int:
    """Forks, runs `body` in the child, and returns 0 where nothing was raised; a child that hangs is killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            os._exit(status)
    end = time.monotonic() + CHILD_SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)


@pytest.mark.parametrize("work", [results_of_kernels, train_a_few_steps])
def test_several_python_threads_get_the_bits_of_one(work: Callable[[], list[Array]]) -> None:
    _cpu.set_thread_count(1)
    expected = work()
    _cpu.set_thread_count(3)
    with ThreadPoolExecutor(4) as callers:
        for results in callers.map(lambda _: work(), range(24)):
            assert_same(results, expected)


def test_captured_steps_of_several_python_threads_do_not_mix() -> None:
    def losses(seed: int) -> list[float]:
        generator = minidl.Generator()
        generator.manual_seed(seed)
        x, labels = minidl.randn(500, 300, generator=generator), minidl.arange(500) % 200
        weight = (minidl.randn(300, 200, generator=generator) * 0.1).requires_grad_()
        optimizer = optim.SGD([weight], lr=0.1)

        @minidl.capture
        def step(x: minidl.Tensor, labels: minidl.Tensor) -> minidl.Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy((x @ weight).tanh(), labels)
            loss.backward()
            optimizer.step()
            return loss

        return [step(x, labels).item() for _ in range(20)]

    _cpu.set_thread_count(2)
    alone = [losses(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as callers:
        assert list(callers.map(losses, range(4))) == alone


def test_one_captured_step_in_two_python_threads_at_once_is_refused_by_name() -> None:
    """Both would write the same memory; the one that comes second is told, and may call again afterwards."""

    @minidl.capture
    def step(x: minidl.Tensor) -> minidl.Tensor:
        for _ in range(20):
            x = x @ x
        return x

    x = minidl.zeros(300, 300)
    for _ in range(3):
        step(x)
    refusals = []

    def call(_: int) -> None:
        try:
            step(x)
        except RuntimeError as error:
            refusals.append(str(error))

    with ThreadPoolExecutor(2) as callers:
        list(callers.map(call, range(6)))
    assert refusals
    assert all("another thread is replaying this step" in refusal for refusal in refusals)
    step(x)


def test_number_of_threads_may_change_while_kernels_run() -> None:
    expected = results_of_kernels()
    with running(lambda: assert_same(results_of_kernels(), expected)):
        for trial in range(200):
            minidl.set_num_threads(trial % 7 + 1)
            assert minidl.get_num_threads() == trial % 7 + 1
            if trial % 20 == 0:
                assert_same(results_of_kernels(), expected)


def test_more_threads_than_parts_or_than_cores_change_nothing() -> None:
    _cpu.set_thread_count(1)
    expected = results_of_kernels()
    for threads in (2, 3, 7, 64, 10_000):
        _cpu.set_thread_count(threads)
        assert_same(results_of_kernels(), expected)


@forks
def test_parent_children_and_grandchildren_share_the_work_after_a_fork() -> None:
    _cpu.set_thread_count(3)
    expected = results_of_kernels()

    def child() -> None:
        assert_same(results_of_kernels(), expected)
        assert exit_status_of_child(lambda: assert_same(results_of_kernels(), expected)) == 0
        assert_same(results_of_kernels(), expected)

    for _ in range(3):
        assert exit_status_of_child(child) == 0
        assert_same(results_of_kernels(), expected)


@forks
def test_child_forked_while_another_thread_runs_kernels_can_use_the_pool() -> None:
    _cpu.set_thread_count(3)
    expected = results_of_kernels()
    with running(lambda: assert_same(results_of_kernels(), expected)):
        for _ in range(10):
            assert exit_status_of_child(lambda: assert_same(results_of_kernels(), expected)) == 0


@forks
def test_child_forked_from_within_a_thread_can_use_the_pool() -> None:
    _cpu.set_thread_count(3)
    expected = results_of_kernels()

    def fork_and_work() -> int:
        status = exit_status_of_child(lambda: assert_same(results_of_kernels(), expected))
        assert_same(results_of_kernels(), expected)
        return status

    with running(results_of_kernels), ThreadPoolExecutor(1) as caller:
        assert [caller.submit(fork_and_work).result() for _ in range(5)] == [0] * 5


@forks
@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_use_the_pool(start_method: str) -> None:
    _cpu.set_thread_count(2)
    expected = results_of_kernels()
    context = multiprocessing.get_context(start_method)
    with ProcessPoolExecutor(2, mp_context=context) as workers:
        for future in [workers.submit(results_of_kernels) for _ in range(4)]:
            assert_same(future.result(timeout=120), expected)
    assert_same(results_of_kernels(), expected)


def test_idle_pool_takes_no_processor_time() -> None:
    """Workers that spun on would take a second of processor time each."""
    _cpu.set_thread_count(4)
    results_of_kernels()
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - before < 0.2


def test_kernels_run_where_the_system_refuses_more_threads() -> None:
    """A container's limit on threads, or on memory: here the address space has no room for a stack."""
    code = """
import resource
import numpy as np
from minidl import _cpu, kernels

def used():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

x, out = np.ones(4_000_000, np.float32), np.empty(4_000_000, np.float32)
_cpu.set_thread_count(100)
resource.setrlimit(resource.RLIMIT_AS, (used() + (4 << 20), -1))
for _ in range(3):
    out[:] = 0
    kernels.relu_forward(x, out)
    assert out.sum() == out.size
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
