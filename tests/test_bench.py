"""`minidl bench` and `minidl train --profile`: rows for all kernels, right results first, counts, records, refusals."""

import ast
import builtins
import contextlib
import gzip
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import minidl
from minidl import _cpu, bench, nn, optim
from minidl.bench import fitting, processes, profile, report, roofline, timing, torch_recipe, training, worker
from minidl.bench.machine import SETTINGS
from minidl.bench.measure import parameter_names
from minidl.bench.roofs import RoofInTurn
from minidl.bench.row import Operand, operands_of
from minidl.bench.rows import FAMILY_OF
from minidl.bench.select import select_rows
from minidl.cli import app
from minidl.cli.config import RunConfig
from requirements import mnist_folder

ROOT = Path(__file__).resolve().parents[1]
ROOFS = bench.Roofs(1e11, {384 << 10: 1e11, 144 << 20: 2e10})
ONCE = bench.Plan(rounds=1, seconds=0.0, repeats=0)


class InProcess(worker.Session):
    """A worker without a process of its own, so that a test can plant a fault."""

    def __init__(self, library: str) -> None:
        super().__init__(library, 1)
        self.version_of_library = self.version()


def measure(kernel: str, size: str = "cache", dtype: str = "float32", place: int = 0, libraries=("minidl", "numpy")):
    row = bench.ROWS[kernel]
    sessions = {name: InProcess(name) for name in libraries}
    return bench.measure(row, size, row.shapes[size][place], dtype, sessions, ROOFS, ONCE)


def call(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    return tmp_path


# ---- rows


def test_every_kernel_has_a_row_and_every_row_a_kernel():
    assert set(bench.ROWS) == set(_cpu.kernel_names)


def test_rows_have_a_size_in_cache_and_one_in_memory():
    for row in bench.ROWS.values():
        assert set(row.shapes) == {"cache", "memory"}
        assert row.shapes["cache"], row.kernel
    without_memory = {kernel for kernel, row in bench.ROWS.items() if not row.shapes["memory"]}
    assert without_memory == {"take_ticket", "append_result", "count_up", "multiply_add"}


def test_every_row_is_right_and_numpy_agrees(backend):
    check_all_rows("float32")


def test_every_row_is_right_in_float64():
    check_all_rows("float64")


def check_all_rows(dtype: str) -> None:
    for kernel in bench.ROWS:
        measurement = measure(kernel, dtype=dtype)
        assert not measurement.failure, (kernel, measurement.failure)
        assert not measurement.notes, (kernel, measurement.notes)
        assert measurement.cost.bytes > 0
        assert measurement.of_roof > 0


def free_names(source: str) -> set[str]:
    """The names that code reads without binding them."""
    nodes = list(ast.walk(ast.parse(source)))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return read - bound - set(dir(builtins))


def test_expressions_for_pytorch_read_only_parameters_of_their_kernel():
    """PyTorch is not here to run them."""
    for kernel, row in bench.ROWS.items():
        names = free_names(row.setup.get("torch", "") + "\n" + row.torch)
        assert names <= {"torch", *parameter_names(kernel)}, kernel


# ---- counts


def cost_of(kernel: str, shape: object, dtype: str = "float32") -> tuple[float, float]:
    row = bench.ROWS[kernel]
    return tuple(row.cost(operands_of(row.call(shape, dtype).arguments)))


@pytest.mark.parametrize(
    ("kernel", "shape", "flops", "moved"),
    [
        ("exp_forward", 1000, 1000, 2 * 4000),
        ("relu_backward", 1000, 1000, 3 * 4000),
        ("add_scaled", 1000, 2000, 3 * 4000),
        ("fill", 1000, 0, 4000),
        ("matmul", (30, 20, 10), 2 * 30 * 20 * 10, 4 * (30 * 10 + 10 * 20 + 30 * 20)),
        ("linear_forward", (7, 5, 3), 2 * 7 * 5 * 3, 4 * (7 * 5 + 3 * 5 + 3 + 7 * 3)),
        ("linear_backward_input", (7, 5, 3), 2 * 7 * 5 * 3, 4 * (7 * 3 + 3 * 5 + 7 * 5)),
        ("linear_backward_weight", (7, 5, 3), 2 * 7 * 5 * 3, 4 * (7 * 3 + 7 * 5 + 3 * 5 + 3)),
        # 20 of 50 rows are read and written; the indices are 8 bytes each.
        ("gather_rows", (50, 20, 6), 0, 4 * 20 * 6 * 2 + 8 * 20),
        ("gather_rows_uint8", (50, 20, 6), 2 * 20 * 6, (1 + 4) * 20 * 6 + 8 * 20),
        # Parameter and two moments read and written, the gradient read.
        ("adam_step", ((10, 7), (3,)), 14 * 73, 7 * 4 * 73),
        ("squared_norm", ((10, 7), (3,)), 2 * 73, 4 * 73),
    ],
)
def test_operations_and_bytes_are_those_counted_by_hand(kernel, shape, flops, moved):
    assert cost_of(kernel, shape) == (flops, moved)


def test_float64_moves_twice_the_bytes():
    assert cost_of("exp_forward", 1000, "float64") == (1000, 16000)


def test_matmul_counts_transposed_operands_alike():
    row = bench.ROWS["matmul"]
    shapes = {"NN": ((7, 5), (5, 3)), "NT": ((7, 5), (3, 5)), "TN": ((5, 7), (5, 3)), "TT": ((5, 7), (3, 5))}
    for a, b in shapes.values():
        assert row.cost([Operand(a, 4), Operand(b, 4), Operand((7, 3), 4)]).flops == 2 * 7 * 5 * 3
    batched = [Operand((4, 7, 5), 4), Operand((5, 3), 4), Operand((4, 7, 3), 4)]
    assert row.cost(batched).flops == 4 * 2 * 7 * 5 * 3


def test_a_profile_names_the_operands_as_a_row_does():
    x, weight, bias = minidl.randn(7, 5), minidl.randn(3, 5), minidl.randn(3)
    step = minidl.capture(lambda x: nn.functional.linear(x, weight, bias))
    (name, ((kernel, operands),), seconds) = step.profile(x, repeats=2)[0]
    assert name == kernel == "linear_forward"
    wanted = operands_of(bench.ROWS[name].call((7, 5, 3), "float32").arguments)
    assert [tuple(operand) for operand in wanted] == list(operands)
    assert seconds > 0


def test_an_optimizers_group_has_one_operand_per_parameter():
    arguments = bench.ROWS["adam_step"].call(((10, 7), (3,)), "float32").arguments
    assert operands_of(arguments)[:2] == [Operand((4, 70), 4), Operand((4, 3), 4)]


def test_the_roof_that_binds_is_the_one_that_is_nearer():
    assert ROOFS.share(1e9, 1000, 0.1) == (0.1, "compute")
    assert ROOFS.share(10, 2e9, 1.0) == (0.1, "memory")
    assert ROOFS.share(10, 1e5, 1e-5) == (0.1, "cache")


def test_a_roof_names_the_working_set_that_reached_it():
    roofs = bench.Roofs(1e12, {96 << 10: 2e11, 384 << 10: 2e11, 144 << 20: 2e10})
    assert roofs.binding(0, 64 << 10) == ("cache", 2e11, 384 << 10)
    assert roofs.binding(0, 48 << 20) == ("memory", 2e10, 144 << 20)
    assert roofs.binding(1e9, 1000) == ("compute", 1e12, 0)


def test_a_roof_in_turn_does_the_roofs_own_work(backend):
    for dtype in ("float32", "float64"):
        roof = RoofInTurn(ROOFS.binding(1e9, 0), dtype)
        assert roof.work == 2 * 4096 * 12 * 256 * _cpu.thread_count()
        assert min(roof.answer({"do": "sample", "seconds": 0.0})["samples"]) > 0
        assert RoofInTurn(ROOFS.binding(0, 384 << 10), dtype).work == 384 << 10


def test_a_row_is_held_against_what_its_roof_is_meanwhile(monkeypatch):
    def answer(seconds: float):
        return lambda self, request: {"samples": [seconds], "wall": 1.0, "cpu": 0.0}

    monkeypatch.setattr(RoofInTurn, "answer", answer(1e-3))
    monkeypatch.setattr(InProcess, "sample", lambda self, seconds: answer(2e-3)(self, {}))
    copy, product = measure("relu_forward"), measure("matmul", place=1)
    assert (copy.roof, product.roof) == ("cache", "compute")
    assert copy.roof_rate == (384 << 10) / 1e-3
    assert copy.of_roof == copy.cost.bytes / 2e-3 / copy.roof_rate
    assert product.of_roof == product.cost.flops / 2e-3 / product.roof_rate


def test_roofs_are_measured_for_every_instruction_set(backend):
    roofs = bench.measure_roofs("float32", seconds=0.001)
    assert roofs.flops > 0
    rates = list(roofs.bandwidth.values())
    assert rates == sorted(rates, reverse=True)
    assert bench.Roofs.from_json(json.loads(json.dumps(roofs.to_json()))) == roofs


# ---- a wrong result


def plant_fault(monkeypatch: pytest.MonkeyPatch, kernel: str = "relu_forward") -> None:
    right = getattr(_cpu, kernel)

    def wrong(*arguments):
        right(*arguments)
        arguments[1].reshape(-1)[7] += 1

    wrong.__doc__ = right.__doc__
    monkeypatch.setattr(_cpu, kernel, wrong)


def test_a_wrong_result_has_no_time(monkeypatch):
    plant_fault(monkeypatch)
    measurement = measure("relu_forward")
    assert "output 0 is wrong" in measurement.failure
    assert measurement.timings == {}
    assert measurement.ratio_to("numpy") is None


def test_a_wrong_result_is_printed_without_a_time_and_fails_the_command(monkeypatch):
    plant_fault(monkeypatch)

    @contextlib.contextmanager
    def in_process(pythons, threads, isa):
        session = InProcess("minidl")
        session.version = session.version_of_library
        yield {"minidl": session}, []

    monkeypatch.setattr("minidl.cli.bench_kernels.started", in_process)
    result = call("bench", "relu_forward", "tanh_forward", "--size", "cache", "--quick", "--json", "wrong.json")
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("relu_forward")]
    assert "output 0 is wrong" in line
    assert "GB/s" not in line
    assert not any(character == "%" for character in line)
    rows = {row["kernel"]: row for row in json.loads(Path("wrong.json").read_text())["rows"]}
    assert rows["relu_forward"]["timings"] == {}
    assert rows["tanh_forward"]["timings"]["minidl"]["median"] > 0


def test_another_librarys_wrong_expression_is_left_out_and_named(monkeypatch):
    row = bench.Row("relu_forward", {"cache": (100,), "memory": ()}, 0, numpy="np.minimum(x, 0)")
    sessions = {name: InProcess(name) for name in ("minidl", "numpy")}
    measurement = bench.measure(row, "cache", 100, "float32", sessions, ROOFS, ONCE)
    assert set(measurement.timings) == {"minidl"}
    assert "differs" in measurement.notes[0]
    broken = bench.Row("relu_forward", {"cache": (100,), "memory": ()}, 0, numpy="np.no_such_function(x)")
    assert "AttributeError" in bench.measure(broken, "cache", 100, "float32", sessions, ROOFS, ONCE).notes[0]


# ---- samples


def test_spread_is_the_width_of_the_middle_half():
    samples = timing.Timing.of([1.0, 2.0, 2.0, 2.0, 2.2, 9.0, 2.0, 2.0])
    assert samples.median == 2.0
    assert samples.fastest == 1.0
    assert samples.spread == pytest.approx(0.0, abs=0.11)


def test_a_disturbed_turn_is_repeated_and_marked(monkeypatch):
    shares = iter([0.9, 0.5, 0.7])
    monkeypatch.setattr(processes.OtherProcesses, "share", lambda self, seconds: next(shares))
    turns = []

    class Library:
        def answer(self, request):
            turns.append(request)
            return {"samples": [float(len(turns))], "wall": 1.0, "cpu": 1.0}

    result = timing.take_turns({"minidl": Library()}, bench.Plan(rounds=1, seconds=0.0, repeats=2))["minidl"]
    assert len(turns) == 3
    assert result.median == 2.0, "the least disturbed turn counts"
    assert result.was_disturbed


def test_an_undisturbed_turn_is_taken_once(monkeypatch):
    monkeypatch.setattr(processes.OtherProcesses, "share", lambda self, seconds: 0.05)
    session = InProcess("minidl")
    result = timing.take_turns({"minidl": session}, bench.Plan(rounds=2, seconds=0.0, repeats=3))["minidl"]
    assert not result.was_disturbed


def test_time_that_the_measured_process_took_is_not_other_processes():
    watch = processes.OtherProcesses()
    watch.begin()
    assert watch.share(1e6) == 0


def test_a_worker_process_computes_with_the_threads_and_instruction_set_asked_for():
    isa = _cpu.available_isas()[-1]
    own = processes.Worker("minidl", sys.executable, 1, isa)
    try:
        row = bench.ROWS["relu_forward"]
        measurement = bench.measure(row, "cache", 1000, "float32", {"minidl": own}, ROOFS, ONCE)
        assert not measurement.failure
        request = {"do": "prepare", "folder": "", "values": {}, "setup": "", "expression": "1 / 0"}
        assert own.answer(request)["error"].startswith("ZeroDivisionError")
        own.process.kill()
        assert "ended" in own.answer({"do": "version"})["error"]
    finally:
        own.close()


def test_an_interpreter_without_the_library_is_refused():
    with pytest.raises(ImportError, match="no_such_library"):
        processes.Worker("no_such_library", sys.executable, 1)
    with pytest.raises(ImportError, match="cannot be started"):
        processes.Worker("numpy", "/no/such/python", 1)


# ---- the command


def test_the_command_prints_records_and_draws():
    result = call(
        "bench", "softmax_forward", "sum_forward", "--size", "cache", "--quick", "--json", "a.json", "--plot", "a.png"
    )
    assert result.exit_code == 0, result.output
    assert "roofs:" in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("softmax_forward")]
    assert "128x256" in line
    measurements, roofs = report.read_report(Path("a.json"))
    assert [m.kernel for m in measurements] == ["softmax_forward", "sum_forward"] or len(measurements) == 2
    assert all(m.timings["numpy"].median > 0 for m in measurements)
    assert roofs.flops > 0
    record = json.loads(Path("a.json").read_text())
    assert record["kind"] == "kernels"
    assert {"date", "cpu", "cores", "isa", "threads", "python", "numpy", "minidl"} <= set(record["machine"])
    assert set(record["libraries"]) >= {"minidl", "numpy"}
    for m, row in zip(measurements, record["rows"], strict=True):
        assert m.to_json() == row
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")


def test_resume_measures_what_is_missing_wrong_without_a_roof_or_was_disturbed():
    arguments = ("--size", "cache", "--quick", "--json", "a.json", "--resume")
    assert call("bench", "exp_forward", "log_forward", "erf_forward", "sqrt_forward", *arguments).exit_code == 0
    path = Path("a.json")
    record = json.loads(path.read_text())
    without_roof, sound, disturbed, wrong = record["rows"]
    del without_roof["roof_rate"]
    for row in (without_roof, sound, disturbed):
        for figures in row["timings"].values():
            figures.update(median=123.0, others=0.0)
    disturbed["timings"]["numpy"]["others"] = 0.9
    wrong.update(failure="output 0 is wrong", timings={})
    record["roofs"]["flops"] = 1e15
    path.write_text(json.dumps(record))
    result = call("bench", "exp_forward", "log_forward", "erf_forward", "sqrt_forward", "sum_forward", *arguments)
    assert result.exit_code == 0, result.output
    assert "roofs: 1000000 GFLOP/s" in result.stdout, "the roofs are those that the other rows were held against"
    after = {row["kernel"]: row for row in json.loads(path.read_text())["rows"]}
    assert list(after) == [*(row["kernel"] for row in record["rows"]), "sum_forward"]
    assert after[sound["kernel"]] == sound
    for kernel in (without_roof["kernel"], disturbed["kernel"], wrong["kernel"], "sum_forward"):
        assert 0 < after[kernel]["timings"]["minidl"]["median"] < 1


def test_settings_that_bind_a_library_are_said_and_recorded(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    assert bench.describe_machine()["settings"] == {}
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    result = call("bench", "exp_forward", "--size", "cache", "--quick", "--json", "a.json")
    assert result.exit_code == 0, result.output
    assert "OPENBLAS_CORETYPE=Prescott is set" in result.stdout
    record = json.loads(Path("a.json").read_text())
    assert record["machine"]["settings"] == {"OPENBLAS_CORETYPE": "Prescott"}
    describe = runpy.run_path(str(ROOT / "bench" / "readme.py"))["describe"]
    assert ", OPENBLAS_CORETYPE=Prescott, " in describe(record)


def test_a_record_is_written_after_every_row(monkeypatch):
    lengths = []
    write = report.write_report
    monkeypatch.setattr(
        "minidl.cli.bench_kernels.write_report", lambda r, path: (lengths.append(len(r["rows"])), write(r, path))
    )
    assert call("bench", "exp_forward", "log_forward", "--size", "cache", "--quick", "--json", "a.json").exit_code == 0
    assert lengths[:2] == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["machine"].update(isa="avx9000"), "isa avx9000"),
        (lambda record: record.update(dtype="float16"), "dtype float16"),
        (lambda record: record["libraries"].update(numpy="0.1"), "numpy 0.1"),
        (lambda record: record["libraries"].update(other="2"), "other 2, this run has missing"),
        (lambda record: record["machine"].update(settings={"OPENBLAS_CORETYPE": "Prescott"}), "Prescott"),
        (lambda record: record.update(kind="steps"), "not a report"),
    ],
)
def test_resume_does_not_mix_records(change, message):
    arguments = ("bench", "exp_forward", "--size", "cache", "--quick", "--json", "a.json", "--resume")
    assert call(*arguments).exit_code == 0
    record = json.loads(Path("a.json").read_text())
    change(record)
    Path("a.json").write_text(json.dumps(record))
    result = call(*arguments)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert json.loads(Path("a.json").read_text()) == record


def test_another_files_json_is_not_taken_for_a_report():
    Path("other.json").write_text('{"rows": []}')
    with pytest.raises(ValueError, match="not a report"):
        report.read_report(Path("other.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("relu_forwrd",), "relu_forward"),
        (("softmx",), "softmax"),
        (("--isa", "avx9000"), "avx512"),
        (("--dtype", "float16"), "float32"),
        (("--size", "huge"), "cache, memory"),
        (("relu_forward", "--torch", "/no/such/python"), "cannot be started"),
        (("relu_forward", "--json", "taken/x.json"), "taken"),
        (("relu_forward", "--resume"), "--json"),
        (("train", "--net", "huge"), "small"),
        (("train", "--batch", "77"), "32"),
        (("train", "--to-accuracy", "2"), "at most 1"),
        (("train", "--torch", "/no/such/python"), "cannot be started"),
        (("sklearn", "--size", "huge"), "large, small"),
        (("sklearn", "--sklearn", "/no/such/python"), "cannot be started"),
    ],
)
def test_refusals_say_what_is_wanted(arguments, message):
    Path("taken").write_text("a file, no folder")
    result = call("bench", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output


def test_names_choose_kernels_and_families():
    assert {FAMILY_OF[row.kernel] for row in select_rows(["softmax"])} == {"softmax"}
    assert len(select_rows([])) == len(bench.ROWS)
    assert [row.kernel for row in select_rows(["tanh_forward", "exp_forward"])] == ["exp_forward", "tanh_forward"]


def test_labels_of_the_roofline_cover_neither_each_other_nor_the_legend(monkeypatch):
    boxes = []
    placed = roofline._placed

    def spy(axes, m, place, offset, renderer, taken):
        done = placed(axes, m, place, offset, renderer, taken)
        boxes[:] = [box for box in taken if box.width > 20]  # not those of the points
        return done

    monkeypatch.setattr(roofline, "_placed", spy)
    measurements = [
        bench.Measurement(
            kernel, "cache", "1", bench.Cost(1e6 + 1e5 * i, 1e6), {"minidl": timing.Timing(1e-4, 1e-4, 0)}
        )
        for i, kernel in enumerate(select_kernels("activation"))
    ]
    roofline.plot_roofline(measurements, ROOFS, Path("r.png"), "title")
    assert len(boxes) > 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def select_kernels(family: str) -> list[str]:
    return [row.kernel for row in select_rows([family])]


# ---- training steps


def test_steps_are_measured_and_recorded():
    result = call(
        "bench", "train", "--net", "small", "--batch", "32", "--rounds", "1", "--seconds", "0.01", "--json", "s.json"
    )
    assert result.exit_code == 0, result.output
    record = json.loads(Path("s.json").read_text())
    (row,) = record["rows"]
    assert record["kind"] == "training"
    assert row["name"] == "784-256-128-10; batch 32"
    assert set(training.OURS) <= set(row["median"])
    assert row["median"]["minidl captured"] >= row["fastest"]["minidl captured"] > 0
    assert row["memory"]["minidl captured"] > 0
    assert row["of_floor"] > 0
    assert "minidl eager" in result.stdout


@pytest.mark.parametrize("task", training.TASKS[4:], ids=lambda task: task.name)
def test_the_step_of_every_kind_of_task_runs(task):
    figures = training.run_process(sys.executable, "minidl captured", task, 2, 0.001)
    eager = training.run_process(sys.executable, "minidl eager", task, 2, 0.001)
    assert np.isfinite(figures["value"])
    assert figures["value"] == eager["value"]


@pytest.mark.parametrize(("most", "faster"), [(0, set()), (1, {"medium"}), (2, {"medium", "high"})])
def test_steps_of_less_precision_are_measured_only_where_they_are_faster(monkeypatch, most, faster):
    monkeypatch.setattr(_cpu, "fastest_bfloat16", lambda pieces: "amx" if pieces <= most else "none")
    precisions = {task.matmul_precision for task in training.select_tasks(["small"])}
    assert precisions == {"highest", *faster}


def test_a_step_computes_in_the_precision_of_its_task():
    values = [
        training.run_process(
            sys.executable,
            "minidl eager",
            training.Task((64, 64, 10), 64, is_inference=True, matmul_precision=name),
            1,
            0.001,
        )["value"]
        for name in ("highest", "medium", "high")
    ]
    for value, pieces in zip(values[1:], (1, 2), strict=True):
        assert (value != values[0]) == (_cpu.fastest_bfloat16(pieces) != "none" and _cpu.isa() == "avx512")


def test_flops_of_a_step_are_those_counted_by_hand():
    task = training.Task((784, 256, 128, 10), 32)
    first, others = 784 * 256, 256 * 128 + 128 * 10
    assert task.flops == 2 * 32 * (2 * (first + others) + others)
    assert training.Task((784, 256, 128, 10), 1, is_inference=True).flops == 2 * (first + others)


def test_ratios_are_those_of_pairs():
    runs = {
        library: [{"median": m, "fastest": m / 2, "memory": 1, "others": 0.0, "version": "1.0"} for m in medians]
        for library, medians in (("minidl captured", (1.0, 2.0, 4.0)), ("torch", (3.0, 4.0, 4.0)))
    }
    comparison = training._summarize(training.TASKS[0], runs, ROOFS)
    assert comparison.ratios["torch"] == [3.0, 2.0, 1.0]
    assert comparison.ratio("torch") == 2.0
    assert comparison.ratio_of_fastest("torch") == 3.0
    assert comparison.of_floor == training.TASKS[0].flops / ROOFS.flops / 2.0


def test_a_run_to_an_accuracy_is_timed():
    folder = mnist_folder()
    result = call("bench", "train", "--to-accuracy", "0.5", "--rounds", "1", "--data-dir", folder, "--json", "a.json")
    assert result.exit_code == 0, result.output
    ((race,), kind) = (json.loads(Path("a.json").read_text())[key] for key in ("rows", "kind"))
    assert kind == "accuracy"
    assert race["minidl"][0]["epochs"] == 1
    assert race["minidl"][0]["accuracy"] >= 0.5


def test_training_stops_at_the_accuracy():
    options = ("--dataset", "digits", "--hidden", "16", "--epochs", "5", "--record", "r.json", "--quiet")
    assert call("train", *options, "--until-accuracy", "0.05").exit_code == 0
    assert len(json.loads(Path("r.json").read_text())["epochs"]) == 1
    assert call("train", *options, "--until-accuracy", "1.0").exit_code == 0
    assert len(json.loads(Path("r.json").read_text())["epochs"]) == 5
    refused = call("train", *options, "--until-accuracy", "1.5")
    assert refused.exit_code == 1
    assert "--until-accuracy" in refused.output


def test_the_pytorch_recipe_is_that_of_minidl_train():
    config = RunConfig()
    fixed = (config.activation, config.batch_norm, config.optimizer, config.schedule, config.init)
    assert fixed == ("gelu", True, "adamw", "one-cycle", "default"), "torch_recipe.py builds these"


def test_the_pytorch_recipe_reads_idx_files(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in pixels.shape)
    (tmp_path / "x.gz").write_bytes(gzip.compress(header + pixels.tobytes()))
    np.testing.assert_array_equal(torch_recipe.read_idx(tmp_path / "x.gz"), pixels)


# ---- profile


def make_training(dropout: float = 0.5):
    model = nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    return model, optimizer, minidl.randn(32, 20), minidl.randint(0, 3, (32,))


def state_of(model, optimizer) -> list[np.ndarray]:
    slots = [value for state in optimizer.state_dict()["state"].values() for value in state.values()]
    tensors = [*model.state_dict().values(), *slots]
    tensors += [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    arrays = [np.array(value.numpy() if hasattr(value, "numpy") else value) for value in tensors]
    return [*arrays, np.array(minidl.get_rng_state()["calls"]["cpu"])]


@pytest.mark.parametrize("steps", [0, 3])
def test_a_profile_changes_no_bit_of_model_optimizer_and_random_numbers(steps):
    model, optimizer, x, labels = make_training()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
    nn.functional.dropout(x, 0.5)  # so that random numbers have been drawn
    before = state_of(model, optimizer)
    assert all(array.dtype != object for array in before)
    calls = profile.profile_step(model, nn.functional.cross_entropy, optimizer, x, labels, repeats=3)
    after = state_of(model, optimizer)
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        assert old.tobytes() == new.tobytes()
    assert {"linear_forward", "linear_backward_weight", "adam_step"} <= {kernel for kernel, _, _ in calls}


def test_a_profile_adds_the_calls_of_a_kernel_up():
    calls = [
        ("exp_forward", (("exp_forward", (Operand((100,), 4), Operand((100,), 4))),), 1e-6),
        ("exp_forward", (("exp_forward", (Operand((300,), 4), Operand((300,), 4))),), 3e-6),
        ("require_finite", (("require_finite", ()),), 1e-9),
    ]
    first, second = profile.summarize(calls, ROOFS)
    assert (first.kernel, first.calls, first.cost) == ("exp_forward", 2, bench.Cost(400, 3200))
    assert first.seconds == pytest.approx(4e-6)
    assert (second.kernel, second.cost) == ("require_finite", bench.Cost(0, 0))


def test_a_step_that_cannot_be_replayed_cannot_be_profiled():
    step = minidl.capture(lambda x: minidl.from_numpy(np.sort(x.numpy())) + 1, strict=False)
    with pytest.raises(RuntimeError, match="no record to profile"):
        step.profile(minidl.randn(5))


def test_train_prints_a_profile():
    result = call("train", "--dataset", "digits", "--hidden", "16", "--epochs", "1", "--profile")
    assert result.exit_code == 0, result.output
    assert "kernel by kernel" in result.stdout
    for kernel in ("linear_forward", "adam_step"):
        assert any(line.startswith(kernel) for line in result.stdout.splitlines())


# ---- fits


def fits_of(seconds: tuple[float, ...], value: float) -> list[dict]:
    return [
        {"median": s, "fastest": s / 2, "memory": 1, "others": 0.0, "value": value, "version": "1.0"} for s in seconds
    ]


def test_fits_are_compared_pair_by_pair_and_must_end_alike():
    ours, theirs = fits_of((1.0, 2.0, 4.0), 0.5), fits_of((3.0, 4.0, 4.0), 0.501)
    comparison = fitting.summarize_fits(fitting.FIT_TASKS[0], {"minidl": ours, "sklearn": theirs})
    assert comparison.ratios == [3.0, 2.0, 1.0]
    assert comparison.ratio == 2.0
    assert comparison.is_same_training
    other = fitting.summarize_fits(fitting.FIT_TASKS[0], {"minidl": ours, "sklearn": fits_of((1.0, 1.0, 1.0), 0.6)})
    assert not other.is_same_training


def test_fits_are_measured_recorded_and_tabulated(tmp_path):
    pytest.importorskip("sklearn")
    target = tmp_path / "fits.json"
    result = call("bench", "sklearn", "--size", "small", "--rounds", "1", "--seconds", "0.001", "--json", target)
    assert result.exit_code == 0, result.output
    record = json.loads(target.read_text())
    assert record["kind"] == "fits"
    assert [row["name"] for row in record["rows"]] == [task.name for task in fitting.select_fits(["small"])]
    for row in record["rows"]:
        assert min(*row["median"].values(), *row["fastest"].values()) > 0
    text = runpy.run_path(str(ROOT / "bench/readme.py"))["speed_section"](tmp_path)
    assert "| 1797 x 64 float32; 64-100-10, batch 200, 20 epochs |" in text


# ---- README


def run_readme(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench/readme.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_readme_has_the_newest_figures():
    done = run_readme("--check")
    assert done.returncode == 0, done.stderr


def test_readme_is_written_from_the_newest_record(tmp_path):
    script = runpy.run_path(str(ROOT / "bench/readme.py"))
    machine = {"date": "2026-01-02 10:00 UTC", "cpu": "Abacus", "cores": 2, "isa": "beads", "threads": 2}
    row = {
        "name": "784-10; batch 1",
        "versions": {"minidl captured": "0.1.0", "torch": "9.8"},
        "median": {"minidl captured": 1e-3, "minidl eager": 2e-3, "torch": 4e-3},
        "fastest": {"minidl captured": 1e-3, "torch": 3e-3},
        "ratios": {"minidl eager": [2.0], "torch": [4.0, 5.0, 3.0]},
        "of_floor": 0.5,
    }
    record = {"kind": "training", "machine": machine, "threads": 2, "rounds": 3, "rows": [row]}
    gpu = {"gpu": "Quipu", "driver_version": "1", "toolkit": "13.0", "commit": "abc", "torch": "9.8", "cupy": "14"}
    checks = [{"row": "self-test", "checked": 3}, {"row": "tests", "passed": 7}, {"row": "races", "failure": "one"}]
    targets = [["a step", "<= 30 us", "20 us", "met"]]
    on_gpu = {"kind": "gpu", "machine": {**machine, **gpu}, "rows": checks, "targets": targets}
    (tmp_path / "gpu.json").write_text(json.dumps(on_gpu))
    (tmp_path / "new.json").write_text(json.dumps(record))
    old = {**record, "rounds": 99, "machine": {**machine, "date": "2025-01-01 00:00 UTC"}}
    (tmp_path / "old.json").write_text(json.dumps(old))
    other = {**record, "rounds": 5, "machine": {**machine, "date": "2025-01-01 00:00 UTC", "cpu": "Fingers"}}
    (tmp_path / "other.json").write_text(json.dumps(other))
    readme = tmp_path / "README.md"
    markers = [f"<!-- {name}: begin -->\nstale\n<!-- {name}: end -->" for name in script["SECTIONS"]]
    readme.write_text("\n".join(["before", *markers, "after\n"]))
    arguments = ("--results", str(tmp_path), "--readme", str(readme))
    assert run_readme("--check", *arguments).returncode == 1
    assert run_readme(*arguments).returncode == 0
    text = readme.read_text()
    assert "| 784-10; batch 1 | 1000 us | 2000 us | 4000 us | 4.00 (3.00 - 5.00; 3.00) | 50% |" in text
    assert text.index("Abacus") < text.index("medians over 3 processes") < text.index("Fingers")
    assert "medians over 5 processes" in text
    assert "PyTorch 9.8" in text
    assert "99" not in text
    assert "Quipu" in text
    assert "3 checks of kernels against NumPy in float64; tests: 7 passed; races FAILED." in text
    assert "| a step | <= 30 us | 20 us | met |" in text
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert run_readme("--check", *arguments).returncode == 0


def test_readme_takes_the_reports_of_the_command(tmp_path):
    call("bench", "tanh_forward", "--size", "cache", "--quick", "--json", tmp_path / "kernels.json")
    script = runpy.run_path(str(ROOT / "bench/readme.py"))
    text = script["speed_section"](tmp_path)
    assert "| activation, cache | 1 |" in text
