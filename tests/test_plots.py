"""The pictures: what is drawn is what the data say, files are what their suffix says, mistakes are refused."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

import minidl
from minidl import nn, plots
from minidl.plots import style
from minidl.training import EpochFigures, History, activation_statistics


def history(losses: list, val_losses: list | None = None) -> History:
    epochs = [
        EpochFigures(e, loss, 1 - loss / 10, val_losses and val_losses[e - 1], val_losses and 0.5, 0.1, 1.0, 9.0)
        for e, loss in enumerate(losses, 1)
    ]
    return History(epochs)


def lines_of(axes) -> list[list[float]]:
    return [np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()]


def texts_of(legend) -> list[str]:
    return [text.get_text() for text in legend.get_texts()]


# ---- learning curves


def test_one_run_shows_training_validation_and_test() -> None:
    figure = plots.learning_curves(history([3.0, 2.0], [4.0, 5.0]), test=(1.5, 0.25))
    loss, accuracy = figure.axes
    assert lines_of(loss) == [[3.0, 2.0], [4.0, 5.0], [1.5, 1.5]]
    assert lines_of(accuracy)[0] == pytest.approx([70.0, 80.0])
    assert lines_of(accuracy)[2] == [25.0, 25.0]
    assert texts_of(loss.get_legend()) == ["training", "validation", "test, at the end"]


def test_seeds_are_a_mean_in_a_band_also_where_one_stopped_early() -> None:
    figure = plots.learning_curves([history([3.0, 2.0, 1.0]), history([5.0, 4.0])])
    (line,) = lines_of(figure.axes[0])
    assert line == [4.0, 3.0, 1.0]
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].vertices
    for epoch, low, high in ((1, 3, 5), (2, 2, 4), (3, 1, 1)):
        at_epoch = heights[heights[:, 0] == epoch, 1]
        assert (at_epoch.min(), at_epoch.max()) == (low, high)


def test_recipes_have_colours_and_one_legend() -> None:
    figure = plots.learning_curves({"a": [history([2.0], [3.0])] * 2, "b": history([1.0], [1.5])})
    assert texts_of(figure.legends[0]) == ["a (mean of 2)", "b", "training", "validation"]
    colours = [line.get_color() for line in figure.axes[0].get_lines()]
    assert colours == [style.COLOURS[0]] * 2 + [style.COLOURS[1]] * 2


def test_regression_has_no_panel_of_accuracy() -> None:
    run = History([EpochFigures(1, 2.0, None, None, None, 0.1, 1.0, 9.0)])
    assert [axes.get_ylabel() for axes in plots.learning_curves(run).axes] == ["loss"]
    with pytest.raises(ValueError, match="at least one epoch"):
        plots.learning_curves(History())


# ---- classification


def test_confusion_matrix_counts_labels_against_predictions() -> None:
    random = np.random.default_rng(0)
    labels, said = random.integers(0, 4, 200), random.integers(0, 4, 200)
    counts = np.zeros((4, 4), int)
    for true, predicted in zip(labels, said, strict=True):
        counts[true, predicted] += 1
    for argument in ((labels, minidl.from_numpy(said)), counts):
        axes = plots.confusion_matrix(argument).axes[0]
        assert [int(text.get_text()) for text in axes.texts] == counts.ravel().tolist()
        shares = 100 * counts / counts.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(axes.get_images()[0].get_array(), shares)


def test_confusion_matrix_refuses_what_does_not_fit() -> None:
    for counts, classes, message in (
        (np.ones((2, 3)), None, "must be square"),
        (([0, 1], [0]), None, "equally many, got 2 and 1"),
        (np.ones((2, 2)), ["a"], "2 names of classes, got 1"),
        (([0, 5], [0, 1]), ["a", "b"], r"must lie in 0\.\.1, got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.confusion_matrix(counts, classes)


def test_worst_mistakes_come_in_the_order_of_the_probability_of_the_truth() -> None:
    probs = np.array([[0.4, 0.6], [0.9, 0.1], [0.05, 0.95], [0.2, 0.8]])
    images = np.arange(4)[:, None, None] * np.ones((1, 3, 3))
    figure = plots.worst_mistakes(images, [0, 0, 0, 0], probs, count=2)
    assert [axes.get_images()[0].get_array()[0, 0] for axes in figure.axes] == [2, 3]
    assert figure.axes[0].get_title() == "true 0: 5.0 %\nsaid 1: 95.0 %"
    perfect = plots.worst_mistakes(images, [1, 0, 1, 1], probs)
    assert perfect.axes[0].texts[0].get_text() == "no mistakes among 4 images"
    with pytest.raises(ValueError, match="equally many"):
        plots.worst_mistakes(images, [0], probs)
    with pytest.raises(ValueError, match="7 pixels are not 2 x 2"):
        plots.worst_mistakes(np.zeros((4, 7)), [0, 0, 0, 0], probs)


# ---- layers


def test_first_layer_weights_are_the_rows_of_the_first_matrix() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2))
    figure = plots.first_layer_weights(model, (2, 3))
    shown = [axes.get_images()[0].get_array() for axes in figure.axes if axes.get_images()]
    np.testing.assert_array_equal(np.stack(shown).reshape(3, 6), model[1].weight.detach().numpy())
    assert len(plots.first_layer_weights(np.ones((90, 4)), count=7).axes) == 7 + 1
    with pytest.raises(ValueError, match="must have a linear layer"):
        plots.first_layer_weights(nn.ReLU())


@pytest.fixture
def layers() -> list:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Tanh())
    with minidl.no_grad():
        model[0].bias.copy_(minidl.tensor([-99.0, 9.0, 9.0, 9.0, 9.0, 9.0]))
    return activation_statistics(model, minidl.randn(50, 4), minidl.zeros(50).long())


def test_histograms_have_the_density_of_the_values(layers) -> None:
    figure = plots.activation_histograms(layers)
    for axes, layer in zip(figure.axes, layers, strict=True):
        (patch,) = axes.patches
        values, edges, _ = patch.get_data()
        assert (values * np.diff(edges)).sum() == pytest.approx(1)
        np.testing.assert_array_equal(edges, layer.histogram[1])
    assert figure.axes[1].get_title() == "1 ReLU\n17 % dead"
    both = plots.gradient_histograms({"once": layers, "again": layers})
    assert texts_of(both.legends[0]) == ["once", "again"]
    assert len(both.axes[0].patches) == 2


def test_gradient_norms_stand_in_the_order_of_the_layers(layers) -> None:
    axes = plots.gradient_norms_by_layer(layers).axes[0]
    assert lines_of(axes) == [[layers[0].grad_weight_norm, layers[2].grad_weight_norm]]
    assert axes.get_yscale() == "log"
    axes = plots.gradient_norms_by_layer(layers, "grad_output_norm").axes[0]
    assert len(lines_of(axes)[0]) == 4


def test_pictures_of_layers_say_what_is_missing(layers) -> None:
    without = activation_statistics(nn.Linear(2, 2), minidl.ones(1, 2))
    with pytest.raises(ValueError, match="measure with a target"):
        plots.gradient_histograms(without)
    with pytest.raises(ValueError, match="measure with a target"):
        plots.gradient_norms_by_layer(without)
    with pytest.raises(ValueError, match="field must be one of"):
        plots.gradient_norms_by_layer(layers, "weight")
    with pytest.raises(ValueError, match="equally many layers"):
        plots.activation_histograms({"a": layers, "b": without})


# ---- the plane


@pytest.mark.parametrize("columns", [1, 2])
def test_regions_are_where_the_model_puts_the_classes(columns: int) -> None:
    """x1 > 0.25 is class 1."""
    model = nn.Sequential(nn.Linear(2, columns), nn.Dropout(0.9))
    with minidl.no_grad():
        weight = [[1.0, 0.0]] if columns == 1 else [[0.0, 0.0], [1.0, 0.0]]
        model[0].weight.copy_(minidl.tensor(weight))
        model[0].bias.copy_(minidl.tensor([-0.25] if columns == 1 else [0.25, 0.0]))
    points = minidl.tensor([[-1.0, -1.0], [1.0, 1.0], [0.5, 0.0]])
    figure = plots.decision_boundary(model, points, minidl.tensor([0, 1, 1]), ["left", "right"])
    regions = figure.axes[0].collections[0].get_array().reshape(200, 200)
    across = np.linspace(-1.201, 1.201, 200)
    np.testing.assert_array_equal(regions, np.broadcast_to(across > 0.25, (200, 200)))
    assert texts_of(figure.axes[0].get_legend()) == ["left", "right"]
    assert model.training
    assert model[1].training
    by_function = plots.decision_boundary(lambda plane: plane[:, 0] - 0.25, points, [0, 1, 1])
    np.testing.assert_array_equal(by_function.axes[0].collections[0].get_array().reshape(200, 200), regions)
    with pytest.raises(ValueError, match=r"x must be \(N, 2\)"):
        plots.decision_boundary(model, minidl.ones(3, 3), [0, 1, 1])


def test_contours_are_of_the_function_in_both_directions() -> None:
    x, y = np.linspace(0, 1, 30), np.linspace(0, 2, 20)
    z = x + 10 * y[:, None]
    axes = plots.contour(x, y, z, levels=11).axes[0]
    middle = axes.collections[0].get_paths()[5].vertices  # between 10.5 and 12.6
    values = middle[:, 0] + 10 * middle[:, 1]
    assert values.min() == pytest.approx(10.5, abs=0.01)
    assert values.max() == pytest.approx(12.6, abs=0.01)
    with pytest.raises(ValueError, match=r"\(len\(y\), len\(x\)\) = \(20, 30\), got \(30, 20\)"):
        plots.contour(x, y, z.T)
    with pytest.raises(ValueError, match="above 0 with is_log"):
        plots.contour(x, y, z - 5, is_log=True)


def test_flat_functions_and_infinite_values_can_be_drawn() -> None:
    x = np.linspace(0, 1, 5)
    plots.contour(x, x, np.zeros((5, 5)))
    z = 1 + x + x[:, None]
    z[0, 0], z[4, 4] = np.inf, np.nan
    plots.contour(x, x, z, is_log=True)


def test_trajectories_draw_the_paths_in_shared_axes() -> None:
    x = np.linspace(-1, 1, 12)
    figure, grid = style.new_figure(1, 2)
    z = x**2 + x[:, None] ** 2
    for axes, name in zip(grid[0], ("small", "large"), strict=True):
        plots.trajectories(x, x, z, {name: [[1, 1], [0.5, 0.25], [9, 9]]}, minimum=(0, 0), axes=axes)
        assert axes.get_lines()[0].get_xydata().tolist() == [[1, 1], [0.5, 0.25], [9, 9]]
        assert axes.get_xlim() == (-1, 1)
    assert figure.axes[:2] == list(grid[0])
    with pytest.raises(ValueError, match="path 'bad' must have shape"):
        plots.trajectories(x, x, z, {"bad": [1, 2, 3]})


# ---- files


def test_pictures_are_saved_as_their_suffix_says(tmp_path) -> None:
    plots.learning_curves(history([2.0, 1.0]), path=tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > 600
    x = np.linspace(0, 1, 5)
    for name in ("one.svg", "two.svg"):
        plots.surface(x, x, x + x[:, None], title="a < b & c", path=tmp_path / name)
    text = (tmp_path / "one.svg").read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg")
    with pytest.raises(ValueError, match=r"must end in .png or .svg, got"):
        plots.learning_curves(history([2.0]), path=tmp_path / "curve.jpeg")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(style.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        plots.learning_curves(history([1.0]))


def test_the_package_is_imported_without_matplotlib_and_never_imports_pyplot() -> None:
    code = """
import sys
from minidl import plots
assert "matplotlib" not in sys.modules
plots.confusion_matrix([[1, 0], [0, 1]])
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
