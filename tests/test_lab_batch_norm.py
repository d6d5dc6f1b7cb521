"""minidl lab batchnorm: what it measures against NumPy, its page on made-up numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minidl import nn, ops
from minidl.cli import app
from minidl.lab import Context, Result, Run, run_experiment
from minidl.lab.batch_norm import BatchNorm, inputs_of_last_activation
from minidl.lab.batch_norm_page import claims, claims_in_words, page
from minidl.lab.cost import Cost

SMALL = {"dataset": "digits", "hidden": (20, 20), "epochs": 2, "evaluations": 4}


def test_a_small_experiment_measures_curves_and_draws_them(tmp_path: Path) -> None:
    report = run_experiment(BatchNorm(seeds=(0, 1), factors=(1.0, 5.0), **SMALL), tmp_path / "out")
    assert len(report.results) == 8
    for result in report.results:
        figures = result.figures
        assert len(figures["steps"]) == len(figures["accuracy_curve"]) == len(figures["unit_percentiles"][0]) == 5
        low, middle, high = np.array(figures["unit_percentiles"])
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert figures["loss_curve"][-1] < figures["loss_curve"][0] + 0.2
    assert [row["rate"] for row in report.tables["table"].rows] == pytest.approx([0.1, 0.1, 0.5, 0.5])
    assert {path.name for path in report.pictures} == {"figure.png", "figure.svg", "rates.png", "rates.svg"}


def test_inputs_of_the_last_sigmoid_are_normalized_by_their_own_statistics() -> None:
    model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.Sigmoid(), nn.Linear(4, 3))
    x = ops.randn(30, 5)
    before = model[1].running_mean.clone()
    inputs = inputs_of_last_activation(model, x).detach().numpy()
    product = x.numpy().astype(np.float64) @ model[0].weight.detach().numpy().T
    wanted = (product - product.mean(0)) / np.sqrt(product.var(0) + 1e-5)
    assert inputs == pytest.approx(wanted, abs=1e-5)
    assert ops.equal(model[1].running_mean, before)
    plain = nn.Sequential(model[0], nn.Sigmoid(), model[3])
    assert inputs_of_last_activation(plain, x).detach().numpy() == pytest.approx(product, abs=1e-5)


def test_a_run_that_diverges_is_a_result(tmp_path: Path) -> None:
    experiment = BatchNorm(seeds=(0,), lr=1e38, factors=(1.0,), **SMALL)
    report = run_experiment(experiment, tmp_path / "out")
    plain = report.results[0].figures
    assert plain["diverged_at_step"] is not None
    assert plain["accuracy_curve"][-1] is None
    assert "diverged" in report.tables["table"].texts()[0]
    assert "diverged" in report.paragraphs[1]


def test_held_out_images_measure_instead_of_the_test_images() -> None:
    experiment = BatchNorm(seeds=(0,), factors=(1.0,), held_out=500, **SMALL)
    context = Context()
    run = experiment.runs(context)[0]
    steps = experiment.execute(run, context)["steps"]
    images = context.images("digits")
    assert steps[-1] == 2 * ((len(images.train_labels) - 500) // 60)


def made_up(
    plain: list[float | None], normed: list[float | None], drift: tuple[float, float], factor: float = 1.0
) -> Any:
    """Two measurements a run: at step 0 a tenth is right, at step 100 what is given."""
    return [
        Result(
            Run(f"{is_normed} {factor}", seed, {"factor": factor, "batch_norm": is_normed}, Cost()),
            {
                "steps": [0, 50, 100],
                "accuracy_curve": [0.1, None if value is None else value - 0.01, value],
                "drift": drift[is_normed] + 0.001 * seed,
                "widths": [1.0, 2.0],
            },
        )
        for is_normed, values in ((False, plain), (True, normed))
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("plain", "normed", "drift", "sentences"),
    [
        ([0.9, 0.91], [0.97, 0.98], (2.0, 0.5), ["higher with batch norm.", "2.0 times as fast", "as the paper says"]),
        (
            [0.97, 0.98],
            [0.9, 0.91],
            (0.5, 2.0),
            ["lower with batch norm.", "for 0 of 2 seeds", "against what"],
        ),
        (
            [0.97, 0.98],
            [0.97, 0.98],
            (1.0, 1.0),
            ["no difference that these seeds show.", "do not show that one"],
        ),
        ([None, 0.98], [0.97, 0.98], (1.0, 1.0), ["98.00 % (1 of 2 seeds diverged) without"]),
    ],
)
def test_the_page_says_which_is_better_only_where_the_seeds_show_it(
    plain: list[float | None], normed: list[float | None], drift: tuple[float, float], sentences: list[str]
) -> None:
    text = "\n".join(page(made_up(plain, normed, drift), "a setup", "test"))
    assert [sentence for sentence in sentences if sentence not in text] == []


def test_no_speed_is_claimed_over_a_network_that_does_not_learn() -> None:
    text = "\n".join(page(made_up([0.11, 0.12], [0.97, 0.98], (1.0, 1.0)), "a setup", "validation"))
    assert "times as fast" not in text
    assert "The test images were not looked at" in text


@pytest.mark.parametrize(
    ("plain", "normed", "sentence"),
    [
        ([0.1, None], [0.97, 0.98], "only the network with batch norm learns for every seed"),
        ([0.97, 0.98], [0.1, 0.98], "only the network without batch norm learns for every seed"),
        ([0.1, 0.1], [None, None], "diverged with and 10.00 ± 0.00 % without - neither learns"),
        ([0.9, 0.91], [0.97, 0.98], "- higher with"),
        ([0.97, 0.98], [0.9, 0.91], "- higher without"),
        ([0.97, 0.98], [0.97, 0.98], "- no difference that these seeds show"),
    ],
)
def test_the_page_says_what_higher_rates_do(plain: list[Any], normed: list[Any], sentence: str) -> None:
    results = made_up([0.9, 0.9], [0.9, 0.9], (1, 1)) + made_up(plain, normed, (1, 1), factor=5.0)
    assert sentence in page(results, "a setup", "test")[3]


def test_claims_of_the_paper_are_judged_by_the_seeds() -> None:
    assert [verdict for _, verdict in claims(made_up([0.9, 0.91], [0.97, 0.98], (2.0, 0.5)))] == [True, True, True]
    against = made_up([0.97, 0.98], [0.9, 0.91], (0.5, 2.0))
    assert [verdict for _, verdict in claims(against)] == [False, False, False]
    assert claims_in_words(against).count("They contradict") == 1
    neither = claims_in_words(made_up([0.97, 0.98], [0.97, 0.981], (1.0, 1.0)))
    assert "No difference is shown for: a higher test accuracy" in neither


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "cifar"}, "dataset must be among mnist, fashion-mnist, digits, got 'cifar'"),
        ({"batch_size": 1}, "batch_size must be 2 to 60000, got 1"),
        ({"factors": ()}, "factors must hold at least one number"),
        ({"weight_std": 0.0}, "weight_std must be above 0"),
        ({"epochs": 0}, "epochs must be 1 to 10000, got 0"),
        ({"hidden": (0,)}, "hidden must be 1 to 10000, got 0"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchNorm(**options)


def test_the_command_runs(tmp_path: Path) -> None:
    command = ["lab", "batchnorm", "--quick", "--dataset", "digits", "--epochs", "1", "--seeds", "0"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "Ioffe and Szegedy 2015" in (tmp_path / "out/page.md").read_text()
