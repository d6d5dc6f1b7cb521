"""minidl lab landscape: surfaces against closed forms, and its page on made-up numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minidl import nn, ops
from minidl.cli import app
from minidl.data import load_images
from minidl.generator import Generator
from minidl.lab import Context, Result, Run, Split, make_loaders, run_experiment
from minidl.lab.cost import Cost
from minidl.lab.landscape import Landscape
from minidl.lab.landscape_page import page
from minidl.lab.surface import concave_share, filter_normalized_direction, loss_surface, mean_on_circle
from minidl.nn import functional
from minidl.training import evaluate

SMALL = {"dataset": "digits", "width": 12, "epochs": 2, "points": 7, "subset": 200}
STEPS = np.linspace(-1, 1, 21)


def test_rows_of_a_direction_are_as_long_as_those_of_the_weights_and_vectors_stay() -> None:
    model = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    parameters = list(model.parameters())
    direction = filter_normalized_direction(parameters, Generator().manual_seed(4))
    for parameter, step in zip(parameters, direction, strict=True):
        assert step.shape == parameter.shape
        if parameter.dim() == 1:
            assert not step.numpy().any()
        else:
            wanted = np.linalg.norm(parameter.detach().numpy(), axis=1)
            assert np.linalg.norm(step.numpy(), axis=1) == pytest.approx(wanted, rel=1e-5)
    again = filter_normalized_direction(parameters, Generator().manual_seed(4))
    assert all(ops.equal(a, b) for a, b in zip(direction, again, strict=True))
    other = filter_normalized_direction(parameters, Generator().manual_seed(5))
    assert not ops.equal(direction[0], other[0])


def test_the_surface_of_a_quadratic_is_the_quadratic() -> None:
    """loss(w) = sum k w^2 around 0 along d and e: sum k (a d + b e)^2."""
    w = ops.tensor(np.zeros(3))
    k, d, e = np.array([1.0, 2.0, 0.5]), np.array([1.0, -1.0, 2.0]), np.array([0.5, 1.0, 1.0])

    def loss() -> float:
        return float((ops.tensor(k) * w * w).sum().item())

    surface = loss_surface([w], [ops.tensor(d)], [ops.tensor(e)], STEPS, loss)
    a, b = STEPS[:, None, None], STEPS[None, :, None]
    assert surface == pytest.approx((k * (a * d + b * e) ** 2).sum(-1), rel=1e-12, abs=1e-14)
    # On the circle of radius r the mean of A a^2 + B b^2 + 2 C a b is r^2 (A + B) / 2; the grid adds h^2 / 6 (A + B).
    curvature = (k * d**2).sum() + (k * e**2).sum()
    assert mean_on_circle(surface, STEPS, 0.5) == pytest.approx(0.25 * curvature / 2, abs=0.1**2 / 4 * curvature)
    assert concave_share(surface) == 0


def test_the_middle_is_the_trained_loss_bit_by_bit_and_weights_are_as_before() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).eval()
    x, target = ops.randn(40, 6), ops.randint(3, (40,))

    def loss() -> float:
        return functional.cross_entropy(model(x), target).item()

    parameters = list(model.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    first, second = filter_normalized_direction(parameters), filter_normalized_direction(parameters)
    surface = loss_surface(parameters, first, second, STEPS, loss)
    assert surface[10, 10] == loss()
    assert surface.max() > surface[10, 10]
    assert all(ops.equal(a, b) for a, b in zip(parameters, before, strict=True))


def test_weights_are_put_back_where_the_loss_raises() -> None:
    w = ops.ones(2)

    def loss() -> float:
        raise ArithmeticError("no loss")

    with pytest.raises(ArithmeticError, match="no loss"):
        loss_surface([w], [ops.ones(2)], [ops.ones(2)], STEPS, loss)
    assert w.tolist() == [1, 1]


def test_where_the_loss_is_not_finite_the_surface_is_nan() -> None:
    w = ops.zeros(1)
    surface = loss_surface([w], [ops.ones(1)], [ops.zeros(1)], STEPS, lambda: np.inf if w.item() > 0.5 else 1.0)
    assert np.isnan(surface).sum() == 5 * 21
    assert concave_share(surface) == 0
    assert np.isnan(concave_share(np.full((5, 5), np.nan)))


def test_half_of_a_cubic_bends_down_and_all_of_a_saddle_along_the_diagonal() -> None:
    cubic = STEPS[:, None] ** 3 + 0 * STEPS
    assert concave_share(cubic) == pytest.approx(9 / 19)  # at 0 it is flat
    assert concave_share(STEPS[:, None] * STEPS) == 1


def test_a_circle_beyond_the_surface_is_refused() -> None:
    with pytest.raises(ValueError, match=r"radius must be 0 to 1, got 1\.5"):
        mean_on_circle(np.zeros((21, 21)), STEPS, 1.5)


def test_a_small_experiment_draws_every_variant_around_its_trained_loss(tmp_path: Path) -> None:
    experiment = Landscape(seeds=(0, 1), depths=(1, 3), **SMALL)
    report = run_experiment(experiment, tmp_path / "out")
    assert [row["variant"] for row in report.tables["table"].rows] == [
        *("1 layer", "1 layer, batch norm"),
        *("3 layers", "3 layers, batch norm"),
    ]
    for result in report.results:
        middle = result.figures["surface"][3][3]
        assert middle == pytest.approx(result.figures["trained_loss"], rel=1e-5)
        assert result.figures["circle_0.5"] > middle
    assert {path.stem for path in report.pictures} == {"figure", "surface", "cut"}


def test_the_loss_is_that_of_the_first_training_images_in_evaluation_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def remember(parameters: Any, first: Any, second: Any, steps: Any, loss: Any, report: Any) -> Any:
        seen["loss"], seen["model"] = loss(), loss.__closure__
        return np.zeros((len(steps), len(steps)))

    monkeypatch.setattr("minidl.lab.landscape.loss_surface", remember)
    experiment = Landscape(seeds=(0,), depths=(1,), **SMALL)
    context = Context()
    experiment.execute(experiment.runs(context)[1], context)
    model = next(cell.cell_contents for cell in seen["model"] if isinstance(cell.cell_contents, nn.Module))
    loaders = make_loaders(load_images("digits"), Split(None, 0), 200, 0)
    data = [loaders.train.dataset.get_batch(ops.arange(200))]
    assert not model.training
    assert seen["loss"] == pytest.approx(evaluate(model, data)[0], rel=1e-6)


def made_up(levels: dict[tuple[int, bool], float | None]) -> list[Result]:
    return [
        Result(
            Run(f"{depth} {is_normed}", seed, {"depth": depth, "batch_norm": is_normed}, Cost()),
            {
                "diverged": "at step 3" if level is None else None,
                "circle_0.5": None if level is None else level + 0.01 * seed,
                "concave_share": None if level is None else 0.25,
            },
        )
        for (depth, is_normed), level in levels.items()
        for seed in range(3)
    ]


def test_the_page_says_flatter_and_sharper_only_where_the_seeds_show_it() -> None:
    text = page(made_up({(2, False): 1.0, (2, True): 0.5, (8, False): 2.0, (8, True): 3.0}), "a setup", (0.25, 0.5))
    assert "0.510 ± 0.010 with and 1.010 ± 0.010 without for 2 layers (flatter with)" in text[2]
    assert "for 8 layers (sharper with)" in text[2]
    assert "from 1.010 ± 0.010 to 2.010 ± 0.010 without batch norm (sharper)" in text[3]
    assert "A plausible reason" in text[3]
    text = page(made_up({(2, False): 1.0, (2, True): 1.0, (8, False): 0.5, (8, True): 1.0}), "a setup", (0.25, 0.5))
    assert "for 2 layers (no difference that these seeds show)" in text[2]
    assert "without batch norm (flatter)" in text[3]
    assert "with batch norm (no difference that these seeds show)" in text[3]
    assert "A plausible reason" not in text[3]
    assert "at 25 % for 2 layers" in text[4]


def test_the_page_tells_of_runs_that_diverged() -> None:
    text = page(made_up({(2, False): 1.0, (2, True): 0.5, (8, False): None, (8, True): None}), "a setup", (0.25, 0.5))
    assert text[2].startswith("Diverged, and left out of what follows: 8 False, seed 0")
    assert "Depth: too many runs diverged to compare." in text
    nothing = page(made_up({(2, False): None, (2, True): None}), "a setup", (0.25, 0.5))
    assert not any(paragraph.startswith("Batch norm: at") for paragraph in nothing)
    assert nothing[-1].startswith("All runs diverged")


def test_runs_that_diverge_are_results(tmp_path: Path) -> None:
    experiment = Landscape(seeds=(0,), depths=(2,), lr=1e30, **SMALL)
    report = run_experiment(experiment, tmp_path / "out")
    assert [bool(result.figures["diverged"]) for result in report.results] == [True, True]
    assert report.tables["table"].texts()[0][1:] == ["diverged"] * 5
    assert report.pictures == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 10}, "points must be odd"),
        ({"points": 3}, "points must be 5 to 501, got 3"),
        ({"reach": 0.1}, "reach must be 0.5 to 100, got 0.1"),
        ({"depths": (0,)}, "depths must be 1 to 100, got 0"),
        ({"dataset": "imagenet"}, "dataset must be among mnist, fashion-mnist, digits"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Landscape(**options)


def test_the_command_runs(tmp_path: Path) -> None:
    command = ["lab", "landscape", "--quick", "--dataset", "digits", "--seeds", "0", "--depths", "1", "--points", "5"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "Li et al. 2018" in (tmp_path / "out/page.md").read_text()
