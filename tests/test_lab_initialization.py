"""`minidl lab init`: its invariants on the embedded digits, and every branch of its page on made-up results."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minidl import generator, nn, ops
from minidl.cli import app
from minidl.data import PixelDataset
from minidl.lab import Report, Result, Run, run_experiment
from minidl.lab.cost import Cost
from minidl.lab.initialization import (
    ACTIVATIONS,
    INITS,
    Initialization,
    build_model,
    gradient_ratio,
    layer_figures,
    loss_of_frequencies,
)
from minidl.training.inspection import activation_statistics

SMALL = Initialization(
    dataset="digits",
    seeds=(0, 1),
    inits=("zeros", "kaiming-normal", "too-large"),
    depths=(2, 4),
    width=16,
    train_count=400,
    epochs=2,
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return run_experiment(SMALL, tmp_path_factory.mktemp("init") / "out")


def with_init(report: Report, init: str) -> list[Result]:
    return [result for result in report.results if result.run.settings["init"] == init]


def test_zeros_keep_all_units_of_a_layer_equal(report: Report) -> None:
    group = with_init(report, "zeros")
    assert len(group) == 12
    assert all(result.figures["row_difference"] == 0 for result in group)
    others = with_init(report, "kaiming-normal")
    assert all(result.figures["row_difference"] > 0 for result in others)


def test_with_zeros_nothing_but_the_last_bias_moves_unless_the_activation_of_0_is_not_0(report: Report) -> None:
    for result in with_init(report, "zeros"):
        is_silent = result.figures["largest_but_last_bias"] == 0
        assert is_silent == (result.run.settings["activation"] != "sigmoid")


def test_with_zeros_the_loss_stays_between_that_of_the_frequencies_and_that_of_guessing(report: Report) -> None:
    for result in with_init(report, "zeros"):
        figures = result.figures
        assert figures["losses"][0] == pytest.approx(math.log(10), abs=2e-3)
        assert figures["loss_of_frequencies"] < figures["final_loss"] < math.log(10) + 1e-3


def test_all_pictures_are_drawn_and_the_table_has_a_row_per_variant(report: Report) -> None:
    names = {path.name for path in report.pictures}
    stems = {"figure", "layers", "histograms-tanh", "histograms-sigmoid", "histograms-relu"}
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")}
    rows = list(csv.DictReader((report.folder / "table.csv").read_text().splitlines()))
    assert len(rows) == 3 * 3 * 2
    assert {float(row["row_difference"]) for row in rows if row["init"] == "zeros"} == {0.0}


def test_the_seed_decides_all_figures(report: Report, tmp_path: Path) -> None:
    one = run_experiment(replace(SMALL, seeds=(1,), inits=("kaiming-normal",), activations=("relu",)), tmp_path / "out")
    alike = [result for result in with_init(report, "kaiming-normal") if result.run.seed == 1]
    expected = {result.run.key: result.figures["losses"] for result in alike}
    assert all(result.figures["losses"] == expected[result.run.key] for result in one.results)


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        ("too-small", 0.01 / 300),
        ("normal", 1 / 300),
        ("xavier-normal", 2 / 500),
        ("xavier-uniform", 2 / 500),
        ("kaiming-normal", 2 / 300),
        ("kaiming-uniform", 2 / 300),
        ("too-large", 100 / 300),
    ],
)
def test_weights_have_the_variance_that_the_name_says(init: str, variance: float) -> None:
    generator.manual_seed(0)
    weight = nn.Linear(300, 200).weight
    INITS[init][1](weight)
    values = weight.detach().numpy().astype(np.float64)
    # 60,000 draws: the variance of a normal sample is off by sqrt(2 / 60000) = 0.6 % of itself, one sigma.
    assert values.var() == pytest.approx(variance, rel=0.03)
    assert abs(values.mean()) < 4 * math.sqrt(variance / values.size)


def test_figures_by_layer_are_those_of_numpy() -> None:
    generator.manual_seed(0)
    model = build_model((6, 5, 5, 3), ACTIVATIONS["relu"], INITS["kaiming-normal"][1])
    x, target = ops.randn(20, 6), ops.randint(3, (20,))
    figures = layer_figures(activation_statistics(model, x, target), with_histograms=True)
    w1, b1, w2, b2, w3, b3 = (p.detach().numpy().astype(np.float64) for p in model.parameters())
    h1 = np.maximum(x.numpy() @ w1.T + b1, 0)
    h2 = np.maximum(h1 @ w2.T + b2, 0)
    logits = h2 @ w3.T + b3
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    grad = (probs - np.eye(3)[target.numpy()]) / 20
    grad2 = (grad @ w3) * (h2 > 0)
    grad1 = (grad2 @ w2) * (h1 > 0)
    assert figures["output_std"] == pytest.approx([h1.std(), h2.std()], rel=1e-5)
    assert figures["sum_gradient"] == pytest.approx([np.linalg.norm(grad1), np.linalg.norm(grad2)], rel=1e-5)
    weights = [np.linalg.norm(grad1.T @ x.numpy()), np.linalg.norm(grad2.T @ h1)]
    assert figures["weight_gradient"] == pytest.approx(weights, rel=1e-5)
    assert figures["inactive"] == [(h == 0).all(axis=0).mean() for h in (h1, h2)]
    assert sum(figures["output_histograms"][0][0]) == 100
    ratio = np.linalg.norm(grad1) / np.linalg.norm(grad2)
    assert gradient_ratio({"layers": [figures]}) == pytest.approx(ratio, rel=1e-5)


def test_the_loss_of_frequencies_is_their_entropy() -> None:
    labels = ops.tensor([0, 0, 0, 1])
    data = PixelDataset(ops.from_numpy(np.zeros((4, 1), np.uint8)), labels)
    assert loss_of_frequencies(data) == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depths": (2, 11)}, r"depths must be 2 to 10, got 11"),
        ({"depths": ()}, r"depths must hold at least one number of 2 to 10"),
        ({"inits": ("he",)}, r"inits must be among zeros, too-small, .*, got 'he'"),
        ({"activations": ("gelu",)}, r"activations must be among tanh, sigmoid, relu, got 'gelu'"),
        ({"seeds": (1, 1)}, r"seeds must differ from one another"),
        ({"dataset": "cifar"}, r"dataset must be among"),
        ({"lr": math.inf}, r"lr must be above 0 and finite, got inf"),
        ({"width": 1}, r"width must be at least 2"),
        ({"epochs": 0}, r"epochs must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Initialization(**settings)


# ---- the page, on made-up results

TWO = Initialization(seeds=(0, 1), inits=("zeros", "kaiming-normal"), activations=("relu",), depths=(2, 10))


def made_up(init: str, seed: int = 0, depth: int = 10, **figures: Any) -> Result:
    layers = {"sum_gradient": [0.02, 0.1], "weight_gradient": [1.0, 1.0], "inactive": [0.0, 0.1], "output_std": [1, 1]}
    standard = {
        "diverged_at": None,
        "final_loss": 0.2,
        "val_accuracy": 0.95 + 0.001 * seed,
        "row_difference": 0.5,
        "largest_but_last_bias": 0.7,
        "chance_loss": math.log(10),
        "loss_of_frequencies": 2.301,
        "layers": [layers],
    }
    run = Run(f"{init} {depth}", seed, {"init": init, "activation": "relu", "depth": depth}, Cost())
    return Result(run, standard | figures)


SILENT = {"row_difference": 0.0, "largest_but_last_bias": 0.0, "final_loss": 2.3012, "val_accuracy": 0.11}


def page(*results: Result, experiment: Initialization = TWO) -> str:
    return "\n".join(experiment.page(results))


def test_the_page_says_that_zeros_stayed_equal_only_where_they_did() -> None:
    equal = page(made_up("zeros", **SILENT), made_up("zeros", 1, **SILENT))
    assert "was exactly 0 in every run" in equal
    assert "With relu everything but the last bias stayed exactly 0" in equal
    assert "2.3012 to 2.3012: guessing gives ln 10 = 2.3026" in equal
    unequal = page(made_up("zeros", **SILENT), made_up("zeros", 1, **(SILENT | {"row_difference": 0.25})))
    assert "did not stay equal in every run: two rows of a hidden weight matrix differed by up to 0.25" in unequal
    moved = page(made_up("zeros", **(SILENT | {"largest_but_last_bias": 0.1, "val_accuracy": 0.15})))
    assert "With relu weights did move; the best validation accuracy was 15.0%" in moved


def test_the_page_names_the_best_and_those_that_show_no_difference() -> None:
    good = [made_up("kaiming-normal", seed) for seed in (0, 1)]
    bad = [made_up("zeros", seed, **SILENT) for seed in (0, 1)]
    text = page(*good, *bad)
    assert "Kaiming N(0, 2/n) reached the best validation accuracy, 95.0 ± 0.1 %." in text
    assert "The training loss stayed within 1 % of guessing, or above, with zeros." in text
    close = [made_up("zeros", seed, val_accuracy=0.95 - 0.001 * seed) for seed in (0, 1)]
    assert "%; zeros show no difference from it over these seeds." in page(*good, *close)


def test_the_page_says_where_nothing_was_learnt_and_where_runs_diverged() -> None:
    stuck = page(*(made_up(init, seed, **SILENT) for init in TWO.inits for seed in (0, 1)))
    assert "With relu and 10 hidden layers no network learnt" in stuck
    end = {"final_loss": None, "val_accuracy": None}
    diverged = page(
        made_up("kaiming-normal"),
        made_up("kaiming-normal", 1),
        made_up("zeros", diverged_at=3, **end),
        made_up("zeros", 1, diverged_at=7, **end),
    )
    assert "Runs diverged with zeros, between step 3 and 7." in diverged
    all_of_them = page(*(made_up(init, seed, diverged_at=3, **end) for init in TWO.inits for seed in (0, 1)))
    assert "every kind of initial weights had a run that diverged" in all_of_them


def test_the_page_compares_gradients_and_dead_units() -> None:
    vanishing = {"sum_gradient": [1e-6, 0.1], "weight_gradient": [1, 1], "inactive": [0.4, 0.6], "output_std": [1, 1]}
    small = replace(TWO, inits=("too-small", "kaiming-normal"))
    results = [made_up("too-small", layers=[vanishing]), made_up("kaiming-normal")]
    text = page(*results, experiment=small)
    assert "1e-05 (too small N(0, 0.01/n)) to 0.2 (Kaiming N(0, 2/n)); nearest to 1 came Kaiming N(0, 2/n)" in text
    assert "more than 10 % of the units were dead for every image with too small N(0, 0.01/n): 50%" in text
    assert "no more than 10 % of the units were dead" in page(made_up("kaiming-normal"), experiment=small)


def test_the_page_compares_depths_by_what_the_seeds_show() -> None:
    one = replace(TWO, inits=("kaiming-normal",))

    def text(deep: float, shallow: float) -> str:
        results = [made_up("kaiming-normal", seed, 10, val_accuracy=deep + 0.001 * seed) for seed in (0, 1)]
        results += [made_up("kaiming-normal", seed, 2, val_accuracy=shallow + 0.001 * seed) for seed in (0, 1)]
        return page(*results, experiment=one)

    assert "validation accuracy fell with Kaiming N(0, 2/n)." in text(0.8, 0.95)
    assert "validation accuracy rose with Kaiming N(0, 2/n)." in text(0.95, 0.8)
    assert "validation accuracy shows no difference with any of them." in text(0.95, 0.95)


# ---- the command


def test_the_command_runs_and_refuses_what_is_out_of_range(tmp_path: Path) -> None:
    small = ["--dataset", "digits", "--inits", "zeros", "--activations", "relu", "--width", "8", "--train-count", "200"]
    done = CliRunner().invoke(
        app, ["lab", "init", "--quick", *small, "--depths", "2", "--seeds", "3", "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert "was exactly 0 in every run" in " ".join(done.stdout.split())
    assert (tmp_path / "out/page.md").exists()
    for options, message in (
        (["--depths", "1"], "depths must be 2 to 10, got 1"),
        (["--depths", "two"], "--depths must be whole numbers"),
        (["--inits", "magic"], "inits must be among zeros"),
    ):
        refused = CliRunner().invoke(app, ["lab", "init", *options, "--out", str(tmp_path / "none")])
        assert refused.exit_code == 1
        assert message in " ".join(refused.stderr.split())
    assert not (tmp_path / "none").exists()
