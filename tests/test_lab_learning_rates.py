"""`minidl lab lr-find`: sweeps on the embedded digits, verdicts, and every branch of the page."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from minidl.cli import app
from minidl.lab import Report, Result, Run, run_experiment
from minidl.lab.cost import Cost
from minidl.lab.learning_rates import FACTORS, LearningRates, verdict

SMALL = LearningRates(
    dataset="digits", seeds=(0, 1), optimizers=("momentum", "adam"), batch_sizes=(16,), width=16, train_count=300
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return run_experiment(SMALL, tmp_path_factory.mktemp("rates") / "out")


def test_every_suggestion_is_tried_with_a_tenth_and_ten_times_of_it(report: Report) -> None:
    for each in report.results:
        figures = each.figures
        assert figures["suggestion"] == min(figures["minimum"], figures["steepest"])
        rates = [trained["lr"] for trained in figures["trained"]]
        assert rates == pytest.approx([factor * figures["suggestion"] for factor in FACTORS])
        assert len(figures["smoothed"]) == len(figures["rates"])


def test_with_the_suggestion_the_network_learns_more_than_with_a_tenth(report: Report) -> None:
    for each in report.results:
        tenth, suggested = (each.figures["trained"][place]["val_loss"] for place in (0, 1))
        assert suggested < tenth


def test_the_table_has_a_row_per_variant_and_all_pictures_are_drawn(report: Report) -> None:
    assert [row["optimizer"] for row in report.tables["table"].rows] == ["Momentum", "Adam"]
    for row in report.tables["table"].rows:
        assert row["lowest"] <= row["suggestion"] <= row["highest"]
    assert {path.name for path in report.pictures} == {
        f"{stem}.{end}" for stem in ("figure", "trained") for end in ("png", "svg")
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizers": ("adamw",)}, r"optimizers must be among sgd, momentum, rmsprop, adam, got 'adamw'"),
        ({"batch_sizes": (16, 16)}, r"batch_sizes must differ from one another"),
        ({"sweep_steps": 1}, r"sweep_steps must be at least 2, got 1"),
        ({"train_count": 0}, r"train_count must be at least 1"),
        ({"epochs": 0}, r"epochs must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearningRates(**settings)


# ---- verdicts and page, on made-up results

ONE = replace(SMALL, optimizers=("adam",))


def made_up(seed: int, losses: tuple[float | None, ...] | None, suggestion: float | None = 0.01) -> Result:
    trained = [
        {"val_loss": loss if loss is None else loss + 0.001 * seed, "val_accuracy": 0.9} for loss in losses or ()
    ]
    run = Run("Adam with batches of 16", seed, {"optimizer": "adam", "batch_size": 16}, Cost())
    return Result(run, {"suggestion": suggestion, "trained": trained})


def both(*losses: float | None) -> list[Result]:
    return [made_up(seed, losses) for seed in (0, 1)]


def page(results: list[Result]) -> str:
    return "\n".join(ONE.page(results))


def test_verdicts_need_a_difference_that_the_seeds_show() -> None:
    group = both(0.9, 0.3, None)
    assert (verdict(group, 0), verdict(group, 2)) == ("better", "diverged")
    group = both(0.3, 0.3, 0.1)
    assert (verdict(group, 0), verdict(group, 2)) == ("equal", "worse")
    assert verdict(both(0.9, None, 0.5), 0) == "unknown"
    assert verdict([made_up(0, (0.9, 0.3, 0.9))], 0) == "unknown"


def test_the_page_says_whether_the_suggestion_was_good() -> None:
    good = page(both(0.9, 0.3, 0.8))
    assert "The suggestion was good in 1 of 1 cases" in good
    assert "It was better than both with Adam with batches of 16." in good
    same = page(both(0.3, 0.3, 0.3))
    assert "The suggestion was good in 1 of 1 cases" in same
    assert "It was better than both" not in same
    small = page(both(0.1, 0.3, 0.8))
    assert "A tenth of it was better with Adam with batches of 16." in small
    assert "was good" not in small
    assert "Ten times as much was better with Adam" in page(both(0.9, 0.3, 0.1))
    assert "a run diverged with Adam with batches of 16." in page(both(0.9, 0.3, None))


def test_the_page_says_where_nothing_can_be_said() -> None:
    missing = page([made_up(0, (0.9, 0.3, 0.8)), made_up(1, None, suggestion=None)])
    assert "No rate was suggested in some runs of Adam with batches of 16" in missing
    assert "Nothing can be said of Adam with batches of 16" in missing
    assert "Nothing can be said of Adam with batches of 16" in page([made_up(0, (0.9, 0.3, 0.8))])


def test_the_page_gives_the_spread_of_suggestions() -> None:
    wide = page([made_up(0, (0.9, 0.3, 0.8), 0.01), made_up(1, (0.9, 0.3, 0.8), 0.03)])
    assert "Suggested over the seeds: Adam with batches of 16 0.01 to 0.03." in wide
    assert "differ by a factor of up to 3 (Adam with batches of 16)" in wide
    assert "From seed to seed" not in page([made_up(0, (0.9, 0.3, 0.8))])


def test_a_row_without_suggestion_says_so() -> None:
    table = ONE.table([made_up(0, None, suggestion=None), made_up(1, (0.9, 0.3, 0.8))])
    assert table.texts()[0][-1] == "missing: the loss never fell"


# ---- the command


def test_the_command_runs_and_refuses_what_is_out_of_range(tmp_path: Path) -> None:
    small = [
        "--dataset",
        "digits",
        "--optimizers",
        "adam",
        "--batch-sizes",
        "32",
        "--train-count",
        "200",
        "--seeds",
        "0",
    ]
    done = CliRunner().invoke(app, ["lab", "lr-find", "--quick", *small, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "Suggested over the seeds: Adam with batches of 32" in " ".join(done.stdout.split())
    refused = CliRunner().invoke(app, ["lab", "lr-find", "--batch-sizes", "0", "--out", str(tmp_path / "none")])
    assert refused.exit_code == 1
    assert "batch_sizes must be at least 1, got 0" in " ".join(refused.stderr.split())
