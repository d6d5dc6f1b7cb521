"""minidl lab perceptron: its data against their formulas, its rules against arguments, its page on made-up numbers."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minidl import ops
from minidl.cli import app
from minidl.generator import Generator
from minidl.lab import Result, Run, run_experiment
from minidl.lab.cost import Cost
from minidl.lab.heads import HEADS, gradient_gap
from minidl.lab.perceptron import Perceptron
from minidl.lab.perceptron_page import page
from minidl.lab.planes import BINARY, Plane, blobs, sine, spirals
from minidl.lab.rosenblatt import best_line, learn


def points_of(name: str, count: int = 200) -> Plane:
    return BINARY[name](count, 0.0, Generator().manual_seed(3))


@pytest.mark.parametrize("name", BINARY)
def test_planes_are_balanced_repeat_by_seed_and_spread_by_noise(name: str) -> None:
    plane = points_of(name)
    assert (plane.x.shape, plane.x.dtype, plane.y.dtype) == ((200, 2), np.float32, np.int64)
    assert np.bincount(plane.y).tolist() == [100, 100]
    assert (points_of(name).x == plane.x).all()
    moved = BINARY[name](200, 0.3, Generator().manual_seed(3)).x - plane.x
    assert np.std(moved) == pytest.approx(0.3, rel=0.2)


def test_moons_lie_on_two_half_circles() -> None:
    plane = points_of("moons")
    x, y = plane.x[:, 0] + 0.5, plane.x[:, 1] + 0.25
    upper, lower = plane.y == 0, plane.y == 1
    assert np.hypot(x, y)[upper] == pytest.approx(1, abs=1e-6)
    assert (y[upper] >= 0).all()
    assert np.hypot(x - 1, y - 0.5)[lower] == pytest.approx(1, abs=1e-6)
    assert (y[lower] <= 0.5).all()


def test_circles_have_the_radii_1_and_a_half() -> None:
    plane = points_of("circles")
    assert np.hypot(*plane.x.T) == pytest.approx(np.where(plane.y == 0, 1, 0.5), abs=1e-6)


def test_the_class_of_a_corner_of_xor_is_whether_its_signs_differ() -> None:
    plane = points_of("xor")
    assert ((plane.x[:, 0] * plane.x[:, 1] < 0) == (plane.y == 1)).all()
    assert len(np.unique(plane.x, axis=0)) == 4


@pytest.mark.parametrize("arms", [2, 3])
def test_the_angle_of_a_spiral_grows_with_its_radius(arms: int) -> None:
    plane = spirals(300, 0.0, Generator().manual_seed(1), arms)
    radius, angle = np.hypot(*plane.x.T), np.arctan2(plane.x[:, 1], plane.x[:, 0])
    turns = (angle / (2 * math.pi) - radius - plane.y / arms) % 1
    assert np.minimum(turns, 1 - turns) == pytest.approx(0, abs=1e-5)


def test_blobs_have_their_centres_on_the_circle_and_the_sine_is_one() -> None:
    plane = blobs(8, 0.0, Generator(), classes=4)
    assert plane.x[:4] == pytest.approx(np.array([[1, 0], [0, 1], [-1, 0], [0, -1]]), abs=1e-6)
    wave = sine(50, 0.0, Generator().manual_seed(0))
    assert wave.y == pytest.approx(np.sin(np.pi * wave.x.astype(np.float64)), abs=1e-6)


def test_rosenblatts_rule_stops_on_separable_points_within_the_bound_of_novikoff() -> None:
    plane = BINARY["blobs"](200, 0.2, Generator().manual_seed(0))
    learned = learn(plane.x, plane.y, passes=50)
    assert learned.mistakes[-1] == 0
    assert ((plane.x @ learned.weight + learned.bias > 0) == (plane.y == 1)).all()
    points = np.concatenate([plane.x, np.ones((200, 1))], 1)
    # (-1, 0) parts the blobs, so its own margin bounds the best one from below.
    margin = (np.where(plane.y == 1, 1, -1) * -plane.x[:, 0]).min()
    assert sum(learned.mistakes) <= (np.linalg.norm(points, axis=1).max() / margin) ** 2


def test_rosenblatts_rule_never_stops_on_xor() -> None:
    plane = points_of("xor")
    learned = learn(plane.x, plane.y, passes=40)
    assert len(learned.mistakes) == 40
    assert min(learned.mistakes) > 0


def test_no_line_gets_more_than_three_corners_of_xor_and_14_of_16_labellings_are_separable() -> None:
    corners = np.array([[-1, -1], [1, 1], [-1, 1], [1, -1]], dtype=float)
    best = {labels: best_line(corners, np.array(labels))[2] for labels in itertools.product((0, 1), repeat=4)}
    assert {labels for labels, accuracy in best.items() if accuracy < 1} == {(0, 0, 1, 1), (1, 1, 0, 0)}
    assert best[0, 0, 1, 1] == 0.75


def test_the_best_line_is_as_good_as_the_best_of_many_random_ones() -> None:
    numbers = np.random.default_rng(0)
    for count in (3, 6, 9):
        x, y = numbers.normal(size=(count, 2)), numbers.integers(0, 2, count)
        weight, bias, accuracy = best_line(x, y)
        assert ((x @ weight + bias > 0) == (y == 1)).mean() == accuracy
        tried = numbers.normal(size=(20000, 3))
        assert accuracy == ((tried[:, :2] @ x.T + tried[:, 2:] > 0) == (y == 1)).mean(1).max()


@pytest.mark.parametrize("task", HEADS)
def test_the_gradient_at_the_output_is_prediction_minus_target(task: str) -> None:
    outputs = 4 if task == "multi-class" else 1
    output = 3 * ops.randn(6, outputs)
    targets = {
        "binary": ops.tensor([[0.0], [1.0], [1.0], [0.0], [1.0], [0.0]]),
        "multi-class": ops.tensor([0, 3, 1, 2, 2, 0]),
        "regression": ops.randn(6, 1),
    }
    assert gradient_gap(HEADS[task], output, targets[task]) < 1e-6


def test_a_small_experiment_shows_that_xor_needs_a_hidden_layer(tmp_path: Path) -> None:
    experiment = Perceptron(seeds=(0, 1), planes=("blobs", "xor"), hidden=(0, 8), samples=80, epochs=60, batch_size=20)
    report = run_experiment(experiment, tmp_path / "out")
    accuracy = {(row["plane"], row["model"]): row.get("test_accuracy") for row in report.tables["table"].rows}
    assert accuracy["xor", "no hidden layer"].highest < 0.8
    assert accuracy["xor", "8 hidden units"].lowest > 0.95
    assert accuracy["blobs", "Rosenblatt's rule"].mean == 1
    assert accuracy["sine", "8 hidden units"] is None
    assert {path.name for path in report.pictures} >= {"figure.png", "boundary.svg", "heads.png", "rosenblatt.png"}
    first = report.results[0].figures
    assert first["snapshot_steps"][0] == 0
    assert first["snapshot_steps"][-1] == 60 * 4
    assert max(result.figures.get("gradient_gap", 0) for result in report.results) < 1e-5


def result(plane: str, hidden: int | None, seed: int, **figures: Any) -> Result:
    task = {"sine": "regression"}.get(plane, "binary")
    model = "Rosenblatt's rule" if hidden is None else f"{hidden} hidden units" if hidden else "no hidden layer"
    return Result(
        Run(f"{plane} {model}", seed, {"plane": plane, "task": task, "model": model, "hidden": hidden}, Cost()), figures
    )


def test_the_page_says_where_hidden_units_help_hurt_or_make_no_difference() -> None:
    made_up = {"xor": (0.5, 0.99), "moons": (0.9, 0.8), "blobs": (0.9, 0.9)}
    results = [
        result(plane, hidden, seed, test_accuracy=value + 0.001 * seed)
        for plane, values in made_up.items()
        for hidden, value in zip((0, 16), values, strict=True)
        for seed in range(3)
    ]
    text = "\n".join(page(results, 100, 0.1))
    assert "more test points are right on xor (50.1 to 99.1 %)" in text
    assert "Fewer are right on moons (90.1 to 80.1 %)" in text
    assert "No difference that these seeds show on blobs" in text


def test_the_page_says_for_which_data_rosenblatts_rule_found_a_line() -> None:
    passes = {"blobs": ([3, 0], [0]), "moons": ([5, 0], [5, 5]), "xor": ([9, 9], [9, 8])}
    results = [
        result(plane, None, seed, mistakes=mistakes)
        for plane, runs in passes.items()
        for seed, mistakes in enumerate(runs)
    ]
    text = "\n".join(page(results, 100, 0.1))
    assert "for every seed on blobs (after 2 passes at the most)" in text
    assert "For some seeds only on moons (1 of 2 seeds)" in text
    assert "On xor it was still correcting in its last pass" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"planes": ("moon",)}, "planes must be among blobs, xor, moons, circles, spirals, got 'moon'"),
        ({"hidden": (0, 2000)}, "hidden must be 0 to 1024, got 2000"),
        ({"hidden": (3, 3)}, "hidden must differ"),
        ({"epochs": 0}, "epochs must be 1 to 100000, got 0"),
        ({"samples": 10, "batch_size": 11}, "batch_size must be 1 to 10, got 11"),
        ({"seeds": (-1,)}, "seeds must be 0 to 9223372036854775807, got -1"),
        ({"lr": 0.0}, "lr must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Perceptron(**options)


def test_the_command_runs_resumes_and_refuses(tmp_path: Path) -> None:
    command = ["lab", "perceptron", "--planes", "xor", "--hidden", "0,2", "--epochs", "2", "--seeds", "0"]
    command += ["--samples", "40", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "why hidden layers" in done.output
    assert CliRunner().invoke(app, command).exit_code == 1
    assert "7 of 7 runs are finished already" in CliRunner().invoke(app, [*command, "--resume"]).output
    refused = CliRunner().invoke(app, ["lab", "perceptron", "--hidden", "two"])
    assert refused.exit_code == 1
    assert "--hidden must be whole numbers" in refused.output
