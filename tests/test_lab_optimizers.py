"""`minidl lab optimizers`: paths against closed forms, the choice of rates, and every branch of the page."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minidl import optim
from minidl.cli import app
from minidl.lab import Report, Result, Run, run_experiment, surfaces
from minidl.lab.cost import Cost
from minidl.lab.optimizers import METHODS, Optimizers, chosen_rates

SMALL = Optimizers(
    dataset="digits",
    seeds=(0, 1),
    methods=("gd", "sgd", "batch-64", "adam"),
    train_count=200,
    width=12,
    epochs=3,
    gd_epochs=6,
    sgd_epochs=1,
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return run_experiment(SMALL, tmp_path_factory.mktemp("optimizers") / "out")


def test_every_method_makes_its_steps_and_is_measured_from_the_start_on(report: Report) -> None:
    steps = {"gd": 6, "sgd": 200, "batch-64": 3 * 4, "adam": 3 * 4}
    networks = [each for each in report.results if each.run.settings["kind"] == "network"]
    assert len(networks) == 4 * 3 * 2
    for each in networks:
        figures = each.figures
        assert figures["step_count"] == steps[each.run.settings["method"]]
        assert figures["steps"][0] == 0
        assert figures["steps"][-1] == figures["step_count"]
        assert figures["losses"][0] == pytest.approx(math.log(10), abs=0.3)
        assert figures["step_seconds"] == sorted(figures["step_seconds"])
        assert len(figures["losses"]) == len(figures["steps"]) == len(figures["step_seconds"])


def test_a_rate_is_chosen_for_every_method_by_validation_loss(report: Report) -> None:
    chosen = chosen_rates(report.results)
    assert list(chosen) == list(SMALL.methods)
    for name, lr in chosen.items():
        means = {}
        for rate in METHODS[name].rates:
            settings = {"method": name, "lr": rate}
            group = [r for r in report.results if settings.items() <= r.run.settings.items()]
            means[rate] = np.mean([each.figures["val_loss"] for each in group])
        assert lr == min(means, key=means.__getitem__)


def test_all_tables_and_pictures_are_written(report: Report) -> None:
    assert list(report.tables) == ["table", "rates", "contraction"]
    assert len(report.tables["rates"].rows) == 4 * 3
    stems = {"figure", "rates", "paths", "contraction"}
    assert {path.name for path in report.pictures} == {f"{stem}.{end}" for stem in stems for end in ("png", "svg")}


def test_descent_on_the_quadratic_contracts_as_the_closed_form_says(report: Report) -> None:
    for row in report.tables["contraction"].rows:
        assert row["predicted"] == pytest.approx(abs(1 - row["lr"] * row["curvature"]), rel=1e-15)
        # 60 steps of float64, each rounded a few times.
        assert row["measured"] == pytest.approx(row["predicted"], rel=1e-12)
    largest = {
        rate: max(row["predicted"] for row in report.tables["contraction"].rows if row["rate"] == rate)
        for rate in surfaces.RATES
    }
    assert largest["best"] < largest["crawling"] < 1 < largest["diverging"]


def test_the_path_of_momentum_is_that_of_its_recurrence() -> None:
    surface = surfaces.SURFACES["quadratic"]
    path = surfaces.walk(surface, lambda weights: optim.SGD(weights, lr=0.02, momentum=0.9), steps=30)
    point, velocity = np.array(surface.start), np.zeros(2)
    for x, y in path[1:]:
        velocity = 0.9 * velocity + np.array(surfaces.CURVATURES) * point
        point = point - 0.02 * velocity
        assert (x, y) == pytest.approx(tuple(point), rel=1e-12)


def test_a_path_that_escapes_ends() -> None:
    path = surfaces.walk(surfaces.SURFACES["rosenbrock"], lambda weights: optim.SGD(weights, lr=1.0), steps=50)
    assert len(path) < 51
    assert all(abs(x) < surfaces.ESCAPED and abs(y) < surfaces.ESCAPED for x, y in path)


@pytest.mark.parametrize("surface", surfaces.SURFACES.values(), ids=list(surfaces.SURFACES))
def test_surfaces_are_0_at_their_minimum_and_above_it_elsewhere(surface: surfaces.Surface) -> None:
    assert surface.value(*surface.minimum) == 0
    x, y = np.random.default_rng(0).uniform(-3, 3, (2, 1000))
    assert (surface.value(x, y) > 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("lbfgs",)}, r"methods must be among gd, sgd, .*, got 'lbfgs'"),
        ({"methods": ()}, r"methods must name at least one of gd"),
        ({"train_count": 0}, r"train_count must be at least 1, got 0"),
        ({"gd_epochs": 0}, r"gd_epochs must be at least 1"),
        ({"seeds": ()}, r"seeds must hold at least one number"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Optimizers(**settings)


# ---- the page, on made-up results

TWO = replace(SMALL, methods=("gd", "batch-64", "momentum"))


def network(name: str, lr: float, seed: int = 0, val_loss: float | None = 0.3, **figures: Any) -> Result:
    settings = {"kind": "network", "method": name, "lr": lr, "batch_size": 64}
    standard = {
        "steps": [0, 1, 10],
        "step_seconds": [0.0, 0.01, 0.1],
        "losses": [2.3, 1.0, 0.2 + 0.001 * seed],
        "step_count": 10,
        "val_loss": None if val_loss is None else val_loss + 0.001 * seed,
        "val_accuracy": None if val_loss is None else 1 - val_loss - 0.001 * seed,
        "test_accuracy": 0.9,
        "diverged_at": None if val_loss is not None else 4,
    }
    return Result(Run(f"{name} {lr}", seed, settings, Cost()), standard | figures)


def both(name: str, lr: float, val_loss: float | None = 0.3, **figures: Any) -> list[Result]:
    return [network(name, lr, seed, val_loss, **figures) for seed in (0, 1)]


def page(*groups: list[Result]) -> str:
    return "\n".join(TWO.page([result for group in groups for result in group]))


def test_rates_with_a_diverged_run_are_never_chosen() -> None:
    results = [*both("gd", 0.1, 0.5), network("gd", 0.3, 0, 0.1), network("gd", 0.3, 1, None), *both("gd", 1.0, None)]
    assert chosen_rates(results) == {"gd": 0.1}
    assert chosen_rates(both("gd", 1.0, None)) == {}


def test_the_page_says_where_the_best_rate_lies_in_its_grid() -> None:
    inside = page(both("gd", 0.1, 0.5), both("gd", 0.3, 0.3), both("gd", 1.0, 0.4))
    assert "No method's best learning rate lies at an end of its grid. No run diverged." in inside
    edge = page(both("gd", 0.1, 0.5), both("gd", 0.3, 0.3), both("gd", 1.0, 0.2))
    assert "The highest rate of the grid was the best one for GD (all images): beyond it may lie a better one." in edge
    low = page(both("gd", 0.1, 0.1), both("gd", 0.3, None))
    assert "The lowest rate of the grid was the best one for GD (all images)" in low
    assert "Runs diverged: GD (all images) with 0.3." in low


def test_the_page_compares_methods_by_what_the_seeds_show() -> None:
    better = page(both("batch-64", 0.1, 0.3), both("momentum", 0.03, 0.1))
    assert "The best validation accuracy, 90.0 ± 0.1 %, came from Momentum." in better
    assert "that of Momentum is lower than that of SGD (batches of 64)" in better
    worse = page(both("batch-64", 0.1, 0.1), both("momentum", 0.03, 0.3))
    assert "that of Momentum is higher than that of SGD (batches of 64)" in worse
    equal = page(both("batch-64", 0.1, 0.3), both("momentum", 0.03, 0.3))
    assert "that of Momentum shows no difference from that of SGD (batches of 64)" in equal
    assert "; Momentum show no difference from it" in equal


def test_the_page_says_who_reaches_the_loss_of_gradient_descent() -> None:
    high = {"losses": [2.3, 1.5, 1.0]}
    reached = page(both("gd", 0.3, 0.5, **high), both("batch-64", 0.1))
    assert "gradient descent came to a training loss of 1.000 in 10 steps and 0.1 s." in reached
    assert "or below, after: SGD (batches of 64) 1 steps, 0.01 s." in reached
    missed = page(both("gd", 0.3, 0.5, losses=[2.3, 1.0, 0.1]), both("batch-64", 0.1))
    assert "Not every run of SGD (batches of 64) came so low." in missed
    assert "or below, after" not in missed
    assert "gradient descent came to" not in page(both("batch-64", 0.1))


def test_the_page_compares_predicted_and_measured_contraction() -> None:
    run = Run("quadratic", 0, {"kind": "rate", "rate": "crawling", "lr": 0.01}, Cost())
    exact = Result(run, {"path": [[8.0, 1.0], [8.0 * 0.99, 0.75]]})
    assert "measured factors agree to" in page([exact])
    assert "crawling (lr 0.01) 0.990" in page([exact])
    off = Result(run, {"path": [[8.0, 1.0], [8.0 * 0.99, 0.9]]})
    assert "measured factors differ by up to 20.0%" in page([off])


def test_the_page_orders_paths_by_where_they_end() -> None:
    def path(name: str, value: float) -> Result:
        run = Run(name, 0, {"kind": "path", "method": name, "surface": "rosenbrock"}, Cost())
        return Result(run, {"path": [[0, 0]], "lr": 0.1, "value": value})

    text = page([path("gd", 0.5), path("momentum", 0.001)])
    assert "On the rosenbrock surface, from 24.2, after 200 steps: Momentum 1.0e-03, GD (all images) 5.0e-01." in text
    assert "On the quadratic surface" not in text


# ---- the command


def test_the_command_runs_and_refuses_unknown_names(tmp_path: Path) -> None:
    small = ["--dataset", "digits", "--methods", "gd, adam", "--train-count", "60", "--seeds", "0", "--width", "4"]
    done = CliRunner().invoke(app, ["lab", "optimizers", "--quick", *small, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "|1 - lr * curvature|" in (tmp_path / "out/page.md").read_text().replace("\\|", "|")
    refused = CliRunner().invoke(app, ["lab", "optimizers", "--methods", "newton", "--out", str(tmp_path / "none")])
    assert refused.exit_code == 1
    assert "methods must be among gd, sgd" in " ".join(refused.stderr.split())
