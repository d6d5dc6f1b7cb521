"""`minidl lab regularization`: what each means guarantees, on the embedded digits, and every branch of its page."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minidl import nn, ops
from minidl.cli import app
from minidl.lab import Report, Result, Run, run_experiment
from minidl.lab.cost import Cost
from minidl.lab.regularization import METHODS, Regularization, largest_row_norm, share_of_zeros

# Strong enough to be seen after a few steps.
SMALL = Regularization(
    dataset="digits",
    seeds=(0, 1),
    train_counts=(101, 400),
    width=24,
    steps=120,
    batch_size=20,
    l1=2e-3,
    max_norm=0.8,
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return run_experiment(SMALL, tmp_path_factory.mktemp("regularization") / "out")


def figures_of(report: Report, method: str, count: int | None = None) -> list[dict[str, Any]]:
    chosen = [each for each in report.results if each.run.settings["method"] == method]
    return [each.figures for each in chosen if count in (None, each.run.settings["count"])]


def test_early_stopping_puts_the_weights_of_the_lowest_validation_loss_back_bit_by_bit(report: Report) -> None:
    for figures in figures_of(report, "early-stopping"):
        losses = figures["val_losses"]
        assert figures["best_epoch"] == 1 + int(np.argmin(losses))
        assert figures["val_loss"] == min(losses)
        assert figures["val_accuracy"] == figures["val_accuracies"][figures["best_epoch"] - 1]
        assert figures["train_loss"] == figures["train_losses"][figures["best_epoch"] - 1]


def test_until_it_stops_early_stopping_changes_nothing(report: Report) -> None:
    for stopped, free in zip(figures_of(report, "early-stopping"), figures_of(report, "none"), strict=True):
        length = len(stopped["val_losses"])
        assert stopped["val_losses"] == free["val_losses"][:length]
    # With few images it does stop before the end.
    pairs = zip(figures_of(report, "early-stopping", 101), figures_of(report, "none", 101), strict=True)
    assert any(len(stopped["val_losses"]) < len(free["val_losses"]) for stopped, free in pairs)


def test_rows_are_as_short_as_max_norm_says_and_longer_without_it(report: Report) -> None:
    for method in ("max-norm", "dropout-max-norm"):
        assert all(figures["largest_norm"] <= SMALL.max_norm for figures in figures_of(report, method))
    assert all(figures["largest_norm"] > SMALL.max_norm for figures in figures_of(report, "none"))


def test_only_the_proximal_step_makes_weights_exactly_0(report: Report) -> None:
    for method in METHODS:
        zeros = [figures["zeros"] for figures in figures_of(report, method)]
        if method == "l1-proximal":
            assert min(zeros) > 0.05
        else:
            assert max(zeros) == 0, method


def test_all_runs_make_about_as_many_steps(report: Report) -> None:
    for figures in figures_of(report, "none"):
        steps = figures["steps_per_epoch"] * len(figures["val_losses"])
        assert abs(steps - SMALL.steps) <= figures["steps_per_epoch"]


def test_the_table_has_gap_and_chosen_epoch_and_all_pictures_are_drawn(report: Report) -> None:
    rows = list(csv.DictReader((report.folder / "table.csv").read_text().splitlines()))
    assert len(rows) == 2 * len(METHODS)
    for row in rows:
        gap = float(row["val_loss_mean"]) - float(row["train_loss_mean"])
        assert float(row["gap_mean"]) == pytest.approx(gap, abs=1e-12)
        assert bool(row["best_epoch_mean"]) == (row["method"] == "early stopping")
    stems = {"figure", "end", "early-stopping"}
    assert {path.name for path in report.pictures} == {f"{stem}.{end}" for stem in stems for end in ("png", "svg")}


def test_zeros_and_norms_are_counted_over_matrices_only() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].weight.data.copy_(ops.tensor([[3.0, 4.0], [0.0, 1.0]]))
    model[1].weight.data.copy_(ops.tensor([[0.0, -2.0]]))
    for layer in model:
        layer.bias.data.zero_()
    assert share_of_zeros(model) == 2 / 6
    assert largest_row_norm(model) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("l3",)}, r"methods must be among none, l2, .*, got 'l3'"),
        ({"train_counts": ()}, r"train_counts must hold at least one number"),
        ({"train_counts": (1,)}, r"train_counts must be at least 2, for batch norm, got 1"),
        ({"train_counts": (5, 5)}, r"train_counts must differ from one another"),
        ({"l2": 0.0}, r"l2 must be above 0"),
        ({"batch_size": 1}, r"batch_size must be at least 2, for batch norm, got 1"),
        ({"steps": 0}, r"steps must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Regularization(**settings)


def test_more_images_than_there_are_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training images must be 1 to \d+ .*, got 5000"):
        run_experiment(replace(SMALL, train_counts=(5000,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- the page, on made-up results

TWO = replace(SMALL, methods=("none", "l2"), train_counts=(101,), max_norm=1.0)


def made_up(method: str, seed: int = 0, count: int = 101, val_loss: float | None = 0.5, **figures: Any) -> Result:
    loss = None if val_loss is None else val_loss + 0.001 * seed
    standard = {
        "train_loss": None if loss is None else 0.1,
        "val_loss": loss,
        "val_losses": [0.9, 0.5, 0.6, 0.7],
        "best_epoch": 2,
        "diverged_at": None if loss is not None else 3,
        "zeros": 0.0,
        "largest_norm": 1.5,
    }
    run = Run(f"{method} {count}", seed, {"method": method, "count": count}, Cost())
    return Result(run, standard | figures)


def both(method: str, count: int = 101, val_loss: float | None = 0.5, **figures: Any) -> list[Result]:
    return [made_up(method, seed, count, val_loss, **figures) for seed in (0, 1)]


def page(experiment: Regularization, *groups: list[Result]) -> str:
    return "\n".join(experiment.page([result for group in groups for result in group]))


def test_the_page_says_better_or_worse_only_where_the_seeds_show_it() -> None:
    better = page(TWO, both("none"), both("l2", val_loss=0.2))
    assert "the network without regularization ended with a gap of 0.401 ± 0.001" in better
    assert "A lower validation loss came from L2: weight decay." in better
    assert "L2: weight decay had the lowest mean validation loss, 0.2005 ± 0.0007." in better
    worse = page(TWO, both("none"), both("l2", val_loss=0.9))
    assert "A higher validation loss came from L2: weight decay." in worse
    equal = page(TWO, both("none"), both("l2"))
    assert "No difference that these seeds show: L2: weight decay." in equal
    assert ", of which L2: weight decay show no difference." in equal
    assert "A lower" not in equal
    assert "the network without regularization diverged in a run" in page(TWO, both("none", val_loss=None), both("l2"))


def test_the_page_compares_few_and_many_images() -> None:
    few = both("none", 101, 0.5)
    assert "gap without regularization shrank (0.401 ± 0.001 and 0.101" in page(TWO, few, both("none", 400, 0.2))
    assert "the same image is seen less often" in page(TWO, few, both("none", 400, 0.2))
    grown = page(TWO, few, both("none", 400, 0.9))
    assert "gap without regularization grew" in grown
    assert "the same image is seen less often" not in grown
    assert "gap without regularization shows no difference" in page(TWO, few, both("none", 400, 0.5))


def test_the_page_names_the_epochs_that_early_stopping_chose() -> None:
    stopping = replace(TWO, methods=("early-stopping",))
    assert "with 101 images epoch 2 (trained: 4)" in page(stopping, both("early-stopping"))
    apart = [made_up("early-stopping"), made_up("early-stopping", 1, best_epoch=3, val_losses=[1.0] * 6)]
    assert "with 101 images epochs 2 to 3 (trained: 4 to 6)" in page(stopping, apart)


def test_the_page_counts_zeros_and_says_where_there_are_none() -> None:
    sparse = replace(TWO, methods=("none", "l1-proximal"))
    some = page(sparse, both("none"), both("l1-proximal", zeros=0.25))
    assert "Weights that are exactly 0: none 0.0% to 0.0%; L1: proximal step 25.0% to 25.0%." in some
    assert "brought no weight that far" not in some
    assert "In these runs it brought no weight that far." in page(sparse, both("none"), both("l1-proximal"))
    assert "exactly 0" not in page(TWO, both("none"))


def test_the_page_says_whether_max_norm_held_and_bound() -> None:
    limited = replace(TWO, methods=("none", "max-norm"))
    held = page(limited, both("none"), both("max-norm", largest_norm=1.0))
    assert "With max-norm no row of a weight matrix was longer than 1 at the end" in held
    assert "without regularization the longest had 1.50 to 1.50." in held
    loose = page(limited, both("none", largest_norm=0.7), both("max-norm", largest_norm=0.7))
    assert "so that the limit did not bind in every run." in loose
    broken = page(limited, both("none"), both("max-norm", largest_norm=1.25))
    assert "the longest row had a norm of 1.250000, above the limit of 1" in broken


# ---- the command


def test_the_command_runs_and_reads_numbers_of_images(tmp_path: Path) -> None:
    small = ["--dataset", "digits", "--methods", "none,max-norm", "--train-counts", "50,all", "--steps", "20"]
    options = [*small, "--seeds", "0", "--width", "8", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["lab", "regularization", "--quick", *options])
    assert done.exit_code == 0, done.output
    assert "50 images" in " ".join(done.stdout.split())
    refused = CliRunner().invoke(app, ["lab", "regularization", "--train-counts", "few", "--out", str(tmp_path / "no")])
    assert refused.exit_code == 1
    assert "--train-counts must be whole numbers or all" in " ".join(refused.stderr.split())
