"""minidl reproduce: recipes against their formulas, pages on made-up numbers, small runs on the embedded digits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minidl import nn, optim
from minidl.cli import app
from minidl.cli.reproduce import PAPERS, QUICK, QUICK_TUNING
from minidl.data import load_images
from minidl.lab import Context, Result, Run, Split, make_loaders, run_experiment
from minidl.lab.cost import Cost
from minidl.lab.reproduce import REPRODUCTIONS, Ioffe2015, Recipe, Simard2003, Srivastava2014, Tuning
from minidl.training import evaluate

TINY = Recipe((8,), lr=0.1, epochs=2)


def test_the_command_knows_all_papers_without_importing_them() -> None:
    assert set(PAPERS) == set(REPRODUCTIONS) == set(QUICK) == set(QUICK_TUNING)
    for name, paper in REPRODUCTIONS.items():
        paper(**QUICK[name])
        paper.tuning(**QUICK_TUNING[name])


def test_the_networks_are_those_of_the_papers() -> None:
    simard = Simard2003.rows[0].recipe.build_model(784, 10)
    assert [tuple(layer.weight.shape) for layer in simard if isinstance(layer, nn.Linear)] == [(800, 784), (10, 800)]
    for row in Srivastava2014.rows:
        layers = list(row.recipe.build_model(784, 10))
        widths = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
        assert widths == [1024, 1024, 1024, 10]
        assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5, 0.5]
        assert isinstance(layers[0], nn.Dropout)
    assert Srivastava2014.rows[1].recipe.max_norm == 2
    ioffe = Ioffe2015()
    assert (ioffe.hidden, ioffe.batch_size, ioffe.epochs * 60_000 // ioffe.batch_size) == ((100, 100, 100), 60, 50_000)


def test_the_learning_rate_rises_then_falls_linearly_to_0() -> None:
    recipe = Recipe((8,), lr=1.0, epochs=1, warmup=0.2)
    factors = [recipe.rate_factor(step, 20) for step in range(21)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert np.diff(factors[4:]) == pytest.approx(-1 / 16)
    assert factors[20] == 0
    assert TINY.rate_factor(0, 10) == 1


def test_weight_decay_and_max_norm_are_for_matrices_only() -> None:
    recipe = Recipe((6,), lr=5.0, epochs=1, max_norm=0.5, weight_decay=0.1, momentum=0.9)
    model = recipe.build_model(4, 3)
    model[0].bias.data.fill_(3)
    optimizer = recipe.build_optimizer(model)
    assert [(group["weight_decay"], group["max_norm"]) for group in optimizer.param_groups] == [(0.1, 0.5), (0, None)]
    for parameter in model.parameters():
        parameter.grad = parameter.detach() * 0
    optimizer.step()
    for layer in (model[0], model[2]):
        assert np.linalg.norm(layer.weight.detach().numpy(), axis=1).max() <= 0.5 * (1 + 1e-6)
    assert model[0].bias.tolist() == [3] * 6


def test_adam_takes_the_same_groups() -> None:
    recipe = Recipe((6,), lr=0.01, epochs=1, optimizer="adam", max_norm=0.5)
    optimizer = recipe.build_optimizer(recipe.build_model(4, 3))
    assert isinstance(optimizer, optim.Adam)
    assert [group["max_norm"] for group in optimizer.param_groups] == [0.5, None]
    assert "Adam, lr 0.01 falling to 0" in recipe.text()


def test_every_recipe_in_use_is_among_those_that_are_compared() -> None:
    for paper in (Simard2003, Srivastava2014):
        assert all(paper.tuning().used().values())


def test_after_a_training_every_row_is_within_the_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[nn.Module] = []
    build = Recipe.build_model
    monkeypatch.setattr(Recipe, "build_model", lambda *args: built.append(build(*args)) or built[-1])
    recipe = Recipe((16,), lr=0.5, epochs=2, max_norm=0.7, momentum=0.9, dropout=0.5, input_dropout=0.2)
    figures = recipe.train(load_images("digits"), 0, 0, Context())
    norms = np.concatenate([np.linalg.norm(p.detach().numpy(), axis=1) for p in built[0].parameters() if p.dim() > 1])
    assert norms.max() <= 0.7 * (1 + 1e-6)
    assert (norms > 0.7 * (1 - 1e-5)).any()
    assert figures["error"] < 0.9


def test_the_error_is_that_of_the_test_images_or_of_the_held_out_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[nn.Module] = []
    build = Recipe.build_model
    monkeypatch.setattr(Recipe, "build_model", lambda *args: built.append(build(*args)) or built[-1])
    images = load_images("digits")
    for held_out in (0, 300):
        figures = TINY.train(images, 5, held_out, Context())
        loaders = make_loaders(images, Split(None, held_out), 128, 5, is_standardized=False)
        measured = loaders.val if held_out else loaders.test
        assert figures["error"] == pytest.approx(1 - evaluate(built[-1], measured)[1])
        assert len(figures["losses"]) == 2


def test_a_training_repeats_by_seed() -> None:
    images = load_images("digits")
    errors = [TINY.train(images, seed, 0, Context())["losses"] for seed in (1, 1, 2)]
    assert errors[0] == errors[1] != errors[2]


def test_a_training_that_diverges_says_at_which_step() -> None:
    figures = Recipe((8,), lr=1e20, epochs=2).train(load_images("digits"), 0, 0, Context())
    assert figures["error"] is None
    assert 1 <= figures["diverged_at_step"] <= 30


def test_a_trial_on_digits_shows_numbers_but_judges_none(tmp_path: Path) -> None:
    report = run_experiment(Srivastava2014(seeds=(0, 1), dataset="digits", epochs=1), tmp_path / "out")
    assert [row["paper"] for row in report.tables["table"].rows] == [1.25, 1.06]
    text = "\n".join(report.paragraphs)
    assert "This was a trial on digits and of 1 epoch only" in text
    assert "The goal" not in text
    assert "max-norm 2; SGD, momentum" in text
    assert {path.name for path in report.pictures} == {"figure.png", "figure.svg"}


def made_up(name: str, errors: list[float | None]) -> list[Result]:
    return [
        Result(
            Run(name, seed, {}, Cost()),
            {"error": error, "losses": [0.1], "diverged_at_step": None if error is not None else 1234, "seconds": 60.0},
        )
        for seed, error in enumerate(errors)
    ]


@pytest.mark.parametrize(
    ("errors", "sentences"),
    [
        ([0.014, 0.015], ["Every seed is below the paper's number.", "at most 1.70 % on average is met"]),
        ([0.015, 0.017], ["lies between our seeds.", "is met"]),
        ([0.018, 0.019], ["Every seed is above the paper's number.", "at most 1.70 % on average is missed"]),
        ([0.018, None], ["ours diverged at step 1,234 (seed 1)."]),
    ],
)
def test_the_page_sets_our_errors_beside_the_papers(errors: list[float | None], sentences: list[str]) -> None:
    text = "\n".join(Simard2003().page(made_up("784-800-10, cross-entropy", errors)))
    assert [sentence for sentence in sentences if sentence not in text] == []
    assert "trial" not in text
    if None not in errors:
        assert "known to about 0.1" in text


def test_settings_name_the_recipes_so_that_no_others_are_resumed() -> None:
    assert "SGD, momentum 0, lr" in Simard2003().settings()["recipes"]["784-800-10, cross-entropy"]


def test_tuning_ranks_all_combinations_and_leaves_the_test_images_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    monkeypatch.setattr(
        "minidl.lab.reproduce.recipe.evaluate", lambda model, data: measured.append(data) or evaluate(model, data)
    )
    tries = tuple({"lr": lr, "momentum": momentum} for lr in (0.1, 1e20) for momentum in (0.0, 0.9))
    candidates = (("small", TINY, tries),)
    tuning = Tuning(paper="a paper", candidates=candidates, seeds=(0, 1), dataset="digits", epochs=3)
    report = run_experiment(tuning, tmp_path / "out")
    words = [row["words"] for row in report.tables["table"].rows]
    assert set(words[:2]) == {"lr 0.1, momentum 0.0", "lr 0.1, momentum 0.9"}
    assert [row["is_used"] for row in report.tables["table"].rows].count("yes") == 1
    assert report.tables["table"].texts()[3][2] == "diverged"
    assert {sum(len(labels) for _, labels in data) for data in measured} == {
        len(load_images("digits").train_labels) // 6
    }
    assert "The test images were not looked at" in report.paragraphs[0]


def tuned(errors: dict[str, list[float | None]], used_lr: float) -> list[str]:
    recipe = Recipe((8,), lr=used_lr, epochs=1)
    tuning = Tuning(paper="a paper", candidates=(("net", recipe, ({"lr": 0.1}, {"lr": 0.2})),), seeds=(0, 1))
    results = [
        Result(Run(f"net, {words}", seed, {"row": "net", "words": words}, Cost()), {"error": error})
        for words, values in errors.items()
        for seed, error in enumerate(values)
    ]
    return tuning.page(results)


def test_the_page_of_a_tuning_says_whether_the_recipe_in_use_is_as_good_as_the_best() -> None:
    clear = {"lr 0.1": [0.02, 0.021], "lr 0.2": [0.05, 0.051]}
    assert "which is the recipe in use" in tuned(clear, 0.1)[1]
    assert "the recipe in use (lr 0.2) has 5.05 ± 0.07 %: worse" in tuned(clear, 0.2)[1]
    equal = {"lr 0.1": [0.02, 0.021], "lr 0.2": [0.021, 0.0205]}
    assert "no difference that these seeds show" in tuned(equal, 0.2)[1]
    assert (
        "is not among those that were compared and learnt"
        in tuned({"lr 0.1": [0.02, 0.02], "lr 0.2": [None, 0.02]}, 0.2)[1]
    )
    assert "every recipe diverged" in tuned({"lr 0.1": [None, None]}, 0.1)[1]


def test_ioffe_says_of_each_claim_whether_the_runs_show_it(tmp_path: Path) -> None:
    report = run_experiment(Ioffe2015(seeds=(0, 1), dataset="digits", epochs=4, evaluations=4), tmp_path / "out")
    last = report.paragraphs[-1]
    assert last.startswith("This was a trial, smaller than the paper's experiment.")
    assert "a higher test accuracy with batch norm" in last
    whole = Ioffe2015().page(report.results)[-1]
    assert whole.startswith("The paper prints figure 1 without numbers")
    tuning = Ioffe2015.tuning(dataset="digits")
    assert (tuning.held_out, tuning.factors) == (250, (1.0, 3.0, 10.0, 30.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"activation": "gelu"}, "activation must be among relu, tanh, got 'gelu'"),
        ({"max_norm": 0.0}, "max_norm must be above 0"),
    ],
)
def test_recipes_out_of_range_are_refused_with_the_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe((8,), **{"lr": 0.1, "epochs": 1, **options})


def test_the_command_runs_tunes_and_refuses_unknown_papers(tmp_path: Path) -> None:
    command = ["reproduce", "simard2003", "--dataset", "digits", "--epochs", "1", "--seeds", "0"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "1.60" in done.output
    done = CliRunner().invoke(app, [*command, "--tune", "--out", str(tmp_path / "tune")])
    assert done.exit_code == 0, done.output
    assert "Recipes for simard2003" in (tmp_path / "tune/page.md").read_text()
    refused = CliRunner().invoke(app, ["reproduce", "lecun1998"])
    assert refused.exit_code == 2
    assert "simard2003, srivastava2014, ioffe2015" in " ".join(refused.output.split())
