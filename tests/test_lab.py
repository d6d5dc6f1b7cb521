"""The core of the experiments: folders that resume, tables, statistics, cost; shown on an experiment made for it."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import generator, ops
from minidl.data import load_images
from minidl.lab import (
    Column,
    Context,
    Experiment,
    ExperimentInterrupted,
    Result,
    Run,
    Split,
    Table,
    by_variant,
    differ,
    make_loaders,
    run_experiment,
    spread_of,
    training_cost,
)
from minidl.lab.cost import Cost, measure_pace
from minidl.lab.folder import plain
from minidl.lab.statistics import student_quantile


@dataclass(frozen=True)
class Powers(Experiment):
    """variant ** seed, no training at all."""

    name = "powers"
    title = "Powers"
    seeds: tuple[int, ...] = (1, 2)
    bases: tuple[float, ...] = (2.0, 3.0)
    fails_at: str = ""

    def runs(self, context: Context) -> list[Run]:
        return [Run(f"base {base:g}", seed, {"base": base}, Cost(1)) for base in self.bases for seed in self.seeds]

    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        trained.append(run.key)
        if run.key == interrupt_at:
            raise KeyboardInterrupt
        context.report(0.5)
        return {"power": run.settings["base"] ** run.seed, "noise": ops.rand(1).item(), "curve": np.arange(2.0)}

    def table(self, results: Sequence[Result]) -> Table:
        rows = [
            {"variant": variant, "power": spread_of(result.figures["power"] for result in group)}
            for variant, group in by_variant(results).items()
        ]
        return Table([Column("variant", "variant"), Column("power", "power", digits=1)], rows)

    def more_tables(self, results: Sequence[Result]) -> dict[str, Table]:
        return {"counts": Table([Column("runs", "runs")], [{"runs": len(results)}])}

    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().plot([result.figures["power"] for result in results])
        return {"figure": figure}

    def page(self, results: Sequence[Result]) -> list[str]:
        return [f"The largest power is {max(result.figures['power'] for result in results):g}."]


trained: list[str] = []
interrupt_at = ""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    trained.clear()
    monkeypatch.setitem(globals(), "interrupt_at", "")


def test_an_experiment_leaves_tables_pictures_and_a_page(tmp_path: Path) -> None:
    report = run_experiment(Powers(), tmp_path / "out")
    assert trained == ["base-2-seed-1", "base-2-seed-2", "base-3-seed-1", "base-3-seed-2"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {"table.csv", "table.json", "counts.csv", "counts.json"}
    assert names == {"runs", "settings.json", "page.md", "figure.png", "figure.svg"} | tables
    rows = list(csv.DictReader((tmp_path / "out/table.csv").read_text().splitlines()))
    assert [float(row["power_mean"]) for row in rows] == [3.0, 6.0]
    assert [float(row["power_sd"]) for row in rows] == pytest.approx([math.sqrt(2), math.sqrt(18)])
    assert json.loads((tmp_path / "out/table.json").read_text())[1]["power_highest"] == 9.0
    page = (tmp_path / "out/page.md").read_text()
    assert "| base 3 | 6.0 ± 4.2 |" in page
    assert "| runs |\n| --- |\n| 4 |" in page
    assert "![figure](figure.png)" in page
    assert report.paragraphs[0] in page
    assert report.results[0].figures["curve"] == [0.0, 1.0]


def test_the_random_state_is_as_before(tmp_path: Path) -> None:
    before = generator.get_rng_state()
    run_experiment(Powers(), tmp_path / "out")
    assert generator.get_rng_state() == before


def test_a_folder_with_results_needs_resume_or_force(tmp_path: Path) -> None:
    run_experiment(Powers(), tmp_path / "out")
    with pytest.raises(FileExistsError, match=r"--resume goes on with them, --force replaces them, --out"):
        run_experiment(Powers(), tmp_path / "out")
    trained.clear()
    run_experiment(Powers(), tmp_path / "out", resume=True)
    assert trained == []
    run_experiment(Powers(), tmp_path / "out", force=True)
    assert len(trained) == 4


def test_force_touches_no_folder_that_no_experiment_has_made(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"nothing in it is replaced"):
        run_experiment(Powers(), tmp_path, force=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    run_experiment(Powers(), tmp_path / "out")
    with pytest.raises(ValueError, match=r"seeds was \[1, 2\], is \[1\]"):
        run_experiment(Powers(seeds=(1,)), tmp_path / "out", resume=True)


def test_an_interrupted_experiment_keeps_its_runs_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "interrupt_at", "base-3-seed-1")
    with pytest.raises(ExperimentInterrupted, match=r"2 of 4 runs are kept in .* --resume goes on"):
        run_experiment(Powers(), tmp_path / "out")
    monkeypatch.setitem(globals(), "interrupt_at", "")
    trained.clear()
    report = run_experiment(Powers(), tmp_path / "out", resume=True)
    assert trained == ["base-3-seed-1", "base-3-seed-2"]
    assert [result.figures["power"] for result in report.results] == [2.0, 4.0, 3.0, 9.0]


def test_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names of their own"):
        run_experiment(Powers(bases=(2.0, 2.0)), tmp_path / "out")


def test_without_matplotlib_tables_and_page_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    report = run_experiment(Powers(), tmp_path / "out")
    assert report.pictures == []
    assert (tmp_path / "out/table.csv").exists()


def test_numbers_that_json_has_not_become_none() -> None:
    value = {"a": (np.float32(1.5), math.nan, -math.inf), 3: np.array([[1, 2]])}
    assert plain(value) == {"a": [1.5, None, None], "3": [[1, 2]]}


def test_spreads_are_those_of_numpy_and_nan_where_a_run_diverged() -> None:
    values = [0.5, 0.75, 1.5]
    spread = spread_of(values)
    assert spread.mean == pytest.approx(np.mean(values), rel=1e-15)
    assert spread.deviation == pytest.approx(np.std(values, ddof=1), rel=1e-15)
    assert math.isnan(spread_of([1.0, None]).mean)
    assert spread_of([2.0]).text() == "2.00"
    assert spread_of([2e-7, 4e-7]).text(form="g") == "3e-07 ± 1.4e-07"


# Two-sided 5 % points of Student's distribution, from printed tables.
@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (10, 2.228), (60, 2.000)]
)
def test_the_quantile_of_student_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    # Three terms of the expansion beyond the normal one: 0.2 % at 3 degrees of freedom, less from there on.
    assert student_quantile(freedom) == pytest.approx(quantile, rel=5e-3)


def test_differences_within_the_spread_are_no_differences() -> None:
    assert differ([1.0, 1.1, 0.9], [2.0, 2.1, 1.9])
    assert not differ([1.0, 1.1, 0.9], [1.05, 1.15, 0.95])
    assert not differ([1.0], [2.0])
    assert not differ([1.0, math.nan], [2.0, 2.1])


def test_a_cost_counts_multiply_adds_of_all_passes() -> None:
    cost = training_cost((3, 5, 2), batch_size=7, steps=11, evaluated=13)
    forward = 2 * (3 * 5 + 5 * 2)
    backward = 2 * (3 * 5 + 5 * 2) + 2 * (5 * 2)
    assert cost.flops == 11 * 7 * (forward + backward) + 13 * forward
    assert cost.steps == 11


def test_the_pace_is_measured_and_leaves_the_random_state() -> None:
    before = generator.get_rng_state()
    pace = measure_pace(seconds=0.01)
    assert generator.get_rng_state() == before
    assert pace.seconds(Cost(10, 1e6)) > 0


def test_subsets_are_nested_disjoint_and_drawn_by_the_seed() -> None:
    few, held_out = Split(100, 50).indices(1000, seed=3)
    many, also_held_out = Split(400, 50).indices(1000, seed=3)
    assert len(few) == 100
    assert set(few) < set(many)
    assert (held_out == also_held_out).all()
    assert not set(many) & set(held_out)
    assert set(few) != set(Split(100, 50).indices(1000, seed=4)[0])
    assert len(Split(None, 50).indices(1000, seed=3)[0]) == 950


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split(951, 50), r"training images must be 1 to 950 \(50 of 1000 are held out\), got 951"),
        (Split(10, 1000), r"validation images must be 0 to 999, got 1000"),
    ],
)
def test_subsets_out_of_range_are_refused_with_the_range(split: Split, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split.indices(1000, seed=0)


def test_loaders_scale_pixels_and_cover_the_split() -> None:
    loaders = make_loaders(load_images("digits"), Split(200, 100), batch_size=32, seed=0)
    assert len(loaders.train) == 7
    assert (loaders.inputs, loaders.classes) == (64, 10)
    assert sum(len(labels) for _, labels in loaders.val) == 100
    pixels = np.concatenate([x.numpy() for x, _ in loaders.train])
    assert abs(pixels.mean()) < 0.1
    assert abs(pixels.std() - 1) < 0.1
