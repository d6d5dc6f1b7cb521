"""`bench/gpu_check.py`: what of it needs no GPU - time, resumption, refusals, verdicts - and its rows on stand-ins."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpu_check
import minidl
from gpu import accuracy, correctness, display, environment, gemm, machine, memory, sanitizer, steps, targets
from gpu.contest import Contender, contest
from gpu.log import Log
from gpu.run import GRACE_SECONDS, run_process, run_sections
from gpu.sections import SECTIONS
from gpu.session import Budget, Case, Context, Options, Section, run_cases
from gpu.work import COLUMNS, WORKS
from gpu_stand_in import HostGpu
from minidl import bench
from minidl.backends import Backend
from minidl.bench.rows import FAMILIES
from minidl.bench.training import Task

ONCE = bench.Plan(rounds=1, seconds=0.0, repeats=0)
FIGURES = {"value": 1}


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def make_section(name: str, seconds: float, rows: dict[str, Any]) -> Section:
    """A section of rows that return or raise what is given."""

    def run(result: Any) -> Any:
        def measured(context: Context) -> Any:
            if isinstance(result, Exception):
                raise result
            return result(context) if callable(result) else result

        return measured

    return Section(name, seconds, lambda options: [Case(row, run(result)) for row, result in rows.items()])


def make_context(log: Log, clock: Any = time.monotonic, seconds: float = 1e3, gpu: Any = None) -> Context:
    return Context(gpu, None, log, Options(), clock() + seconds, clock, ONCE)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "rows.jsonl")


# ---- the file


def test_a_row_is_in_the_file_as_soon_as_it_is_measured(log: Log) -> None:
    log.add("first", FIGURES)
    assert Log(log.path).rows == {"first": FIGURES}
    log.add("second", FIGURES)
    assert [json.loads(line)["row"] for line in log.path.read_text().splitlines()] == ["first", "second"]


def test_half_a_line_of_a_killed_process_is_no_row(log: Log) -> None:
    log.add("first", FIGURES)
    with log.path.open("a") as file:
        file.write('{"row": "second", "val')
    again = Log(log.path)
    assert list(again.rows) == ["first"]
    again.forget_failures()
    again.add("third", FIGURES)
    assert list(Log(log.path).rows) == ["first", "third"]


def test_resuming_keeps_figures_and_tries_failures_again(log: Log) -> None:
    log.add("good", FIGURES)
    log.add("bad", {"failure": "wrong"})
    log.add("absent", {"skipped": "not installed"})
    log.forget_failures()
    assert list(Log(log.path).rows) == ["good"]


# ---- rows and sections


def test_rows_in_the_file_are_not_measured_again(log: Log) -> None:
    log.add("a", {"value": 7})
    section = make_section("s", 1, {"a": ValueError("measured again"), "b": FIGURES})
    assert run_cases(section.cases(Options()), make_context(log), print)
    assert log.rows["a"] == {"value": 7}
    assert log.rows["b"]["value"] == 1


def test_an_error_is_the_rows_figure_and_ends_the_process(log: Log) -> None:
    section = make_section("s", 1, {"a": RuntimeError("an illegal\naddress"), "b": FIGURES})
    assert not run_cases(section.cases(Options()), make_context(log), print)
    assert log.rows["a"]["failure"] == "RuntimeError: an illegal address"
    assert "b" not in log.rows


def test_no_row_is_begun_after_the_deadline(log: Log) -> None:
    clock, said = Clock(), []

    def slow(context: Context) -> Any:
        clock.now += 50
        return FIGURES

    section = make_section("s", 1, {"a": slow, "b": slow, "c": slow})
    assert run_cases(section.cases(Options()), make_context(log, clock, 60), said.append)
    assert list(log.rows) == ["a", "b"]
    assert said == ["c: left out, the section's time is used up"]


def test_a_section_gets_what_earlier_ones_left_over_and_leaves_the_others_theirs() -> None:
    clock = Clock()
    sections = [make_section(name, seconds, {}) for name, seconds in (("a", 10), ("b", 20), ("c", 30))]
    budget = Budget(100, sections, clock)
    assert budget.granted("a") == 50
    clock.now += 5
    assert budget.granted("b") == 65
    clock.now += 65
    assert budget.granted("c") == 30
    clock.now += 40
    assert budget.granted("c") == 0


def test_a_small_total_shortens_all_sections() -> None:
    sections = [make_section("a", 10, {}), make_section("b", 30, {})]
    budget = Budget(20, sections, Clock())
    assert budget.granted("a") == 5


def test_sections_fit_into_the_default_time_and_that_into_nine_minutes() -> None:
    total = gpu_check.parse([]).seconds
    assert sum(section.seconds for section in SECTIONS.values()) <= total - GRACE_SECONDS
    assert total < 9 * 60


def run_with(sections: list[Section], log: Log, start: Any) -> list[str]:
    said: list[str] = []
    run_sections(sections, Options(), log, Budget(1000, sections, Clock()), start, said.append)
    return said


def test_a_section_goes_on_after_a_row_with_an_error(log: Log) -> None:
    rows = {"a": FIGURES, "b": RuntimeError("dead"), "c": FIGURES}
    started = []

    def start(section: Section, seconds: float) -> int:
        started.append(section.name)
        own = Log(log.path)
        return 0 if run_cases(section.cases(Options()), make_context(own), print) else 3

    run_with([make_section("s", 1, rows), make_section("t", 1, {"d": FIGURES})], log, start)
    assert started == ["s", "s", "t"]
    assert "failure" in log.rows["b"]
    assert {"a", "c", "d"} <= set(log.rows)


def test_a_process_that_dies_without_a_word_costs_one_row(log: Log) -> None:
    def start(section: Section, seconds: float) -> int:
        missing = [case.name for case in section.cases(Options()) if case.name not in Log(log.path).rows]
        if missing[0] == "a":
            return -11
        for name in missing:
            Log(log.path).add(name, FIGURES)
        return 0

    run_with([make_section("s", 1, {"a": FIGURES, "b": FIGURES})], log, start)
    assert log.rows["a"]["failure"] == "its process ended with status -11"
    assert log.rows["b"] == FIGURES


def test_a_process_that_does_not_end_is_killed_with_what_it_started(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gpu.run.GRACE_SECONDS", 0.0)
    alive = tmp_path / "alive"
    inner = f"import time, pathlib; time.sleep(3); pathlib.Path({str(alive)!r}).touch()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    begin = time.monotonic()
    assert run_process([sys.executable, "-c", outer], 0.5) == -9
    assert time.monotonic() - begin < 2.5
    time.sleep(3)
    assert not alive.exists()


# ---- contenders


def make_contender(name: str, result: Any, wanted: Any = (1.0, 2.0), calls: Any = None, work: int = 1) -> Contender:
    out = np.asarray(result, np.float32)
    return Contender(name, calls or [lambda: None], lambda: out, np.asarray(wanted), 4, 1.0, work)


def clock_of(seconds: float) -> Any:
    """Every timed piece of work takes so long."""

    def clock(work: Any) -> float:
        work()
        return seconds

    return clock


def test_a_wrong_result_has_no_time() -> None:
    figures = contest([make_contender("minidl", (1.0, 2.1)), make_contender("torch", (1, 2))], clock_of(1.0), ONCE)
    assert "minidl is wrong" in figures["failure"]
    assert "timings" not in figures
    assert "us" not in display.describe("row", figures)


@pytest.mark.parametrize("result", [(1.0, np.nan), (1.0, np.inf), (1.0,)])
def test_gaps_and_other_shapes_are_wrong(result: Any) -> None:
    assert "failure" in contest([make_contender("minidl", result)], clock_of(1.0), ONCE)


def test_another_librarys_wrong_result_is_left_out_and_named() -> None:
    others = {"torch": lambda: make_contender("torch", (1, 3))}
    figures = contest([make_contender("minidl", (1, 2))], clock_of(1e-3), ONCE, others)
    assert list(figures["timings"]) == ["minidl"]
    assert "torch is wrong" in figures["notes"][0]


def test_another_librarys_error_is_left_out_and_named() -> None:
    def refuse() -> None:
        raise NotImplementedError("no such kernel")

    others = make_contender("torch", (1, 2), calls=[refuse])
    figures = contest([make_contender("minidl", (1, 2))], clock_of(1e-3), ONCE, {"torch": lambda: others})
    assert list(figures["timings"]) == ["minidl"]
    assert "no such kernel" in figures["notes"][0]
    with pytest.raises(NotImplementedError):
        contest([others], clock_of(1e-3), ONCE)


def test_time_is_counted_by_calls_and_by_the_work_of_a_call() -> None:
    seconds = 1e-4  # whatever is timed, so ten calls a sample
    figures = contest([make_contender("minidl", (1, 2), work=20)], clock_of(seconds), ONCE)
    assert figures["timings"]["minidl"]["median"] == pytest.approx(seconds / 10 / 20)


def test_another_library_that_fails_while_it_is_timed_is_left_out_and_named() -> None:
    def fail_later(called: list[int] = []) -> None:  # noqa: B006
        called.append(1)
        if len(called) > 4:
            raise RuntimeError("out of memory")

    others = make_contender("torch", (1, 2), calls=[fail_later])
    figures = contest([make_contender("minidl", (1, 2))], clock_of(1e-3), ONCE, {"torch": lambda: others})
    assert list(figures["timings"]) == ["minidl"]
    assert figures["notes"] == ["torch failed while it was timed"]
    with pytest.raises(RuntimeError, match="out of memory"):
        contest([others], clock_of(1e-3), ONCE)


def test_what_another_contender_has_written_is_nobody_elses_result() -> None:
    out = np.zeros(2, np.float32)

    def contender(name: str, call: Any) -> Contender:
        poison = lambda: out.fill(np.nan)  # noqa: E731
        return Contender(name, [call], lambda: out, np.array([1.0, 2.0]), 4, poison=poison)

    right, idle = contender("right", lambda: np.copyto(out, [1, 2])), contender("idle", lambda: None)
    figures = contest([right], clock_of(1e-3), ONCE, {"idle": lambda: idle})
    assert list(figures["timings"]) == ["right"]
    assert "idle is wrong" in figures["notes"][0]


def test_calls_with_other_memory_take_turns() -> None:
    called: list[int] = []
    calls = [lambda i=i: called.append(i) for i in range(3)]
    contest([make_contender("minidl", (1, 2), calls=calls)], clock_of(1e-3), ONCE)
    after_check = called[1:]
    assert after_check == [i % 3 for i in range(len(after_check))]
    assert len(after_check) > 6


# ---- verdicts


def timings(**medians: float) -> dict[str, Any]:
    return {"timings": {name.replace("_", " "): {"median": m, "spread": 0.0} for name, m in medians.items()}}


def verdicts(rows: Any) -> dict[str, str]:
    return {target.work: target.verdict(rows)[1] for target in targets.TARGETS}


def test_nothing_measured_is_no_target_met() -> None:
    assert set(verdicts({}).values()) == {"not measured"}
    failed = {name: {"failure": "wrong"} for section in SECTIONS.values() for name in names_of(section)}
    assert set(verdicts(failed).values()) == {"not measured"}


def test_verdicts_are_those_worked_out_by_hand() -> None:
    rows = {
        targets.SMALL: timings(
            minidl_captured=25e-6, PyTorch_eager=260e-6, PyTorch_compiled=70e-6, PyTorch_graph=40e-6
        ),
        targets.SQUARE: timings(minidl=1.0, PyTorch=0.9, CuPy=0.8),
        "sum of rows, 1 GiB arrays": {"of_copy_rate": 0.9},
        "sum of columns, 1 GiB arrays": {"of_copy_rate": 0.84},
        "sum of all, 1 GiB arrays": {"of_copy_rate": 0.95},
        "Adam, 1 GiB arrays": {"of_copy_rate": 0.86},
        accuracy.case_name("minidl", 0): {"training": 0.1, "seconds": 2.5},
        accuracy.case_name("minidl", 1): {"training": 0.18, "seconds": 1.7},
    }
    found = verdicts(rows)
    assert found[targets.SMALL] == "met"
    assert found[f"{targets.SMALL}: PyTorch eager"] == "met"
    assert found[f"{targets.SMALL}: torch.compile"] == "not met"
    assert found[f"{targets.SMALL}: PyTorch's whole step in a graph"] == "met"
    # The fastest of cuBLAS's callers counts.
    assert found[f"{targets.SQUARE} of cuBLAS"] == "not met"
    assert found["reductions, of the copy rate"] == "not met"
    assert found["optimizer, of the copy rate"] == "met"
    assert found["training to 98%, mean"] == "met"
    assert found["process to 98%, mean"] == "not met"


def test_a_seed_that_failed_leaves_no_mean() -> None:
    rows = {accuracy.case_name("minidl", seed): {"training": 0.1, "seconds": 1.0} for seed in range(2)}
    assert targets.mean_run(rows, "training") == pytest.approx(0.1)
    rows[accuracy.case_name("minidl", 2)] = {"failure": "97 %"}
    assert targets.mean_run(rows, "training") is None


def test_one_missing_layer_leaves_the_worst_one_unknown() -> None:
    names = [gemm.layer_name(shape, product) for shape in gemm.LAYERS for product in gemm.PRODUCTS]
    rows = {name: timings(minidl=1.0, PyTorch=1.2) for name in names}
    rows[names[3]] = timings(minidl=1.0, PyTorch=0.7)
    assert targets.worst_layer(rows) == pytest.approx(0.7)
    del rows[names[0]]
    assert targets.worst_layer(rows) is None


def names_of(section: Section) -> list[str]:
    return [case.name for case in section.cases(Options())]


def test_every_target_reads_rows_that_exist() -> None:
    """A row's name that is spelt otherwise in a target would stay `not measured` for ever."""
    names = {name for section in SECTIONS.values() for name in names_of(section)}
    contenders = ("minidl", "minidl captured", "PyTorch", "PyTorch eager", "PyTorch compiled", "PyTorch graph", "CuPy")
    figures = {**timings(**dict.fromkeys((c.replace(" ", "_") for c in contenders), 1.0)), "of_copy_rate": 1.0}
    rows = {name: {**figures, "training": 1.0, "seconds": 1.0} for name in names}
    assert "not measured" not in verdicts(rows).values()


def test_the_table_has_a_line_for_every_target() -> None:
    lines = targets.table({})
    assert len(lines) == 1 + len(targets.TARGETS)
    assert "<= 30 (then 20) us" in lines[1]


def test_durations_are_printed_as_documented() -> None:
    assert doctest.testmod(display).attempted == 1
    assert doctest.testmod(display).failed == 0


# ---- what the machine lacks


def test_without_a_gpu_the_command_says_so_and_fails(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu_check, "why_no_gpu", lambda: "the NVIDIA driver finds no GPU")
    assert gpu_check.main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "gpu_check needs an NVIDIA GPU that minidl can use: the NVIDIA driver finds no GPU"
    assert not list(tmp_path.iterdir())


def test_rows_are_listed_without_a_gpu_and_have_names_of_their_own() -> None:
    script = Path(gpu_check.__file__)
    done = subprocess.run([sys.executable, script, "--list"], capture_output=True, text=True, check=True)
    listed = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert listed == [name for section in SECTIONS.values() for name in names_of(section)]
    assert len(set(listed)) == len(listed)
    assert all(section.cases(Options()) for section in SECTIONS.values())


def test_rows_of_another_commit_are_not_resumed(monkeypatch, capsys, log: Log) -> None:
    monkeypatch.setattr(gpu_check, "why_no_gpu", lambda: "")
    monkeypatch.setattr(gpu_check, "gpu_name", lambda: "H200")
    monkeypatch.setattr(gpu_check, "commit", lambda: "new")
    log.add(machine.MACHINE, {"gpu": "H200", "commit": "old"})
    assert gpu_check.main(["--resume", "--log", str(log.path)]) == 1
    assert "rows of commit old, not new" in capsys.readouterr().err


def test_a_run_prints_its_targets_and_writes_a_record(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_check, "why_no_gpu", lambda: "")

    def start(section: Section, seconds: float, arguments: list[str]) -> int:
        Log(tmp_path / "log").add(machine.MACHINE, {"gpu": "H200", "date": "2026-11-24 12:00 UTC"})
        Log(tmp_path / "log").add(targets.SMALL, {**timings(minidl_captured=25e-6), "notes": []})
        return 0

    monkeypatch.setattr(gpu_check, "start", start)
    arguments = ["--sections", "environment", "--log", str(tmp_path / "log"), "--json", str(tmp_path / "r.json")]
    assert gpu_check.main(arguments) == 0
    assert "25 us" in capsys.readouterr().out
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["kind"] == "gpu"
    assert record["machine"]["gpu"] == "H200"
    assert record["rows"][0]["row"] == targets.SMALL
    assert [targets.SMALL, "<= 30 (then 20) us", "25 us", "met"] in record["targets"]


def test_unknown_sections_are_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        gpu_check.main(["--sections", "GEM"])
    assert "GEMM" in capsys.readouterr().err


def test_the_sanitizers_verdict_follows_from_status_and_checks() -> None:
    right = "114 kernels right, 0 wrong\n========= ERROR SUMMARY: 0 errors\n"
    assert sanitizer.judge(0, right) == {"summary": "ERROR SUMMARY: 0 errors; 114 kernels right, 0 wrong"}
    found = "========= Invalid __global__ write of size 4 bytes\n========= ERROR SUMMARY: 1 error\n"
    assert "Invalid __global__ write" in sanitizer.judge(sanitizer.FOUND, found)["failure"]
    assert "failure" in sanitizer.judge(0, "========= ERROR SUMMARY: 0 errors\n")


def test_a_run_that_does_not_reach_the_accuracy_has_no_time() -> None:
    reached = {"seconds": 1.0, "epochs": 3, "accuracy": 0.981, "training": 0.1}
    assert accuracy.judge(reached) == reached
    assert "97.00% after 3 epochs" in accuracy.judge({**reached, "accuracy": 0.97})["failure"]


@pytest.mark.parametrize(("body", "is_right"), [("assert True", True), ("assert False", False)])
def test_a_failing_test_suite_is_a_failure(tmp_path: Path, body: str, is_right: bool) -> None:
    (tmp_path / "test_one.py").write_text(f"def test_one():\n    {body}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    figures = correctness.run_and_count(command, 60, {})
    assert figures.get("passed" if is_right else "failed") == 1
    assert ("failure" in figures) != is_right


def test_a_test_suite_that_does_not_end_is_a_failure(tmp_path: Path) -> None:
    figures = correctness.run_and_count([sys.executable, "-c", "import time; time.sleep(9)"], 0.2, {})
    assert "not done" in figures["failure"]


# ---- rows on stand-ins: the emulated kernels, the host's clock


@pytest.fixture
def context(cuda: Backend, log: Log, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setattr(gemm, "CALLS_PER_GRAPH", 2)
    monkeypatch.setattr(environment, "GRAPH_NODES", 5)
    monkeypatch.setattr(correctness, "POISONED_BYTES", 1 << 12)
    return make_context(log, gpu=HostGpu(cuda))


def require_times(figures: Any, name: str = "minidl") -> None:
    assert "failure" not in figures, figures
    assert figures["timings"][name]["median"] > 0
    assert display.describe("row", figures)


def test_a_sections_process_measures_its_rows(context: Context, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("gpu.device.Gpu", lambda: context.gpu)
    monkeypatch.setattr("gpu.device.torch_with_gpu", lambda: None)
    context.log.add(environment.COPY_RATE, FIGURES)
    arguments = ["--sections", "GEMM", "--log", str(context.log.path), "--sections", "environment", "--within", "60"]
    assert gpu_check.main(arguments) == 0
    rows = Log(context.log.path).rows
    assert set(rows) == set(names_of(SECTIONS["environment"]))
    assert not any("failure" in row for row in rows.values())
    assert {"cpu", "date", "gpu", "capability", "driver_version", "commit", "toolkit"} <= set(rows[machine.MACHINE])
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in printed] == [name for name in rows if name != environment.COPY_RATE]


def test_roofs_are_measured(context: Context) -> None:
    figures = environment.copy_rate(context, 5000)
    require_times(figures, "copy")
    require_times(environment.launch(context))
    require_times(environment.graph(context), "node")
    require_times(environment.barrier(context))
    context.log.add(environment.COPY_RATE, figures)
    assert environment.copied_bytes_per_second(context) == 40000 / figures["timings"]["copy"]["median"]


def test_products_are_measured(context: Context) -> None:
    require_times(gemm.square(context, 33))
    for product in gemm.PRODUCTS:
        figures = gemm.layer(context, (9, 7, 5), product)
        require_times(figures)
        require_times(figures, "minidl, unfused")


def test_a_product_in_tf32_is_measured_where_there_is_one(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "TF32_SIZE", 64)
    figures = gemm.square(context, 64, allows_tf32=True)
    if gemm.has_tf32(context.gpu):
        require_times(figures)
    else:
        assert "changes nothing" in figures["skipped"]
    assert minidl.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("name", WORKS)
def test_kernels_that_memory_bounds_are_measured(context: Context, name: str) -> None:
    figures = memory.stream(context, name, 4 * COLUMNS)
    require_times(figures)
    assert figures["elements"] == 4 * COLUMNS
    assert figures["bytes"] >= 4 * 4 * COLUMNS


def test_bytes_are_those_counted_by_hand(context: Context) -> None:
    elements, vectors = 4 * COLUMNS, 6 * COLUMNS
    counts = {"relu": 2 * elements, "add": 3 * elements, "Adam": 7 * elements, "batch norm": 3 * elements + vectors}
    for name, count in counts.items():
        work = WORKS[name]
        assert memory.moved_bytes(work, work.make(context.gpu, elements)) == 4 * count, name


def test_a_wrong_kernel_on_large_arrays_has_no_time(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = context.gpu.kernels
    monkeypatch.setattr(context.gpu, "kernels", Forgetful(kernels))
    assert "minidl is wrong" in memory.stream(context, "add", 4 * COLUMNS)["failure"]


class Forgetful:
    """Kernels of which add leaves out the last of the elements that are compared."""

    def __init__(self, kernels: Any) -> None:
        self.kernels = kernels

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kernels, name)

    def add_forward(self, a: Any, b: Any, out: Any) -> None:
        self.kernels.add_forward(a[:-1], b[:-1], out[:-1])


@pytest.mark.parametrize("task", [Task((12, 8, 6, 5), 16), Task((12, 8, 6, 5), 16, True, 0.2)], ids=lambda t: t.name)
def test_steps_are_measured(context: Context, task: Task) -> None:
    figures = steps.steps(context, task)
    assert not figures["notes"]
    for name in ("minidl captured", "minidl, 10 steps captured", "minidl eager"):
        require_times(figures, name)


def test_a_step_that_goes_wrong_has_no_time(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    right = steps.reference_losses
    monkeypatch.setattr(steps, "reference_losses", lambda *arguments: [1.01 * loss for loss in right(*arguments)])
    assert "minidl captured is wrong" in steps.steps(context, Task((12, 8, 6, 5), 16))["failure"]


def test_an_epoch_is_measured(context: Context) -> None:
    require_times(steps.epoch(context, Task((12, 8, 6, 5), 16), images=40))


def test_all_kernels_of_a_family_are_checked(context: Context) -> None:
    from minidl import _cuda_emulated

    figures = correctness.self_test(context, "softmax", _cuda_emulated)
    assert figures["checked"] == 2 * len(FAMILIES["softmax"])
    assert figures["worst"] < 1
    assert "failure" not in correctness.at_size(context, "softmax", "cache", _cuda_emulated)


def test_a_wrong_kernel_fails_its_family(context: Context) -> None:
    from minidl import _cuda_emulated

    class Wrong:
        def __getattr__(self, name: str) -> Any:
            return getattr(_cuda_emulated, name) if name != "logsumexp_forward" else lambda x, out: None

    assert "logsumexp_forward" in correctness.self_test(context, "softmax", Wrong())["failure"]
    assert "logsumexp_forward" in correctness.at_size(context, "softmax", "cache", Wrong())["failure"]
