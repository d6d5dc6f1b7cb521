"""The pictures of `minidl train`: the learning curve, and what the trained network confuses and has learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minidl import ops, plots
from minidl.autograd import no_grad
from minidl.cli.outputs import Outputs
from minidl.data import ImageSet
from minidl.training import History


def plot_learning_curve(history: History, path: Path, title: str, test_loss: float, test_accuracy: float) -> None:
    """Loss and accuracy over the epochs, training and validation, and the test's as a line."""
    plots.learning_curves(history, test=(test_loss, test_accuracy), title=title, path=path)


def plot_network(model: Any, test_data: Any, images: ImageSet, outputs: Outputs) -> dict[str, str]:
    """Confusion matrix, worst mistakes and first-layer weights beside the learning curve; returns their paths."""
    model.eval()
    with no_grad():
        probs = ops.cat([ops.softmax(model(x), 1) for x, _ in test_data]).cpu().numpy()
    labels, shape = images.test_labels, images.test_images.shape[1:]
    mistakes = int((probs.argmax(axis=1) != labels).sum())
    title = f"{images.name}: {mistakes:,} of {len(labels):,} test images wrong"
    confusion, worst, weights = map(outputs.picture, ("confusion-matrix", "worst-mistakes", "first-layer-weights"))
    plots.confusion_matrix((labels, probs.argmax(axis=1)), images.classes, title=title, path=confusion)
    plots.worst_mistakes(images.test_images, labels, probs, images.classes, title=title, path=worst)
    plots.first_layer_weights(model, (shape[0], shape[1]), title="Weights of the first layer's units", path=weights)
    return {"confusion": str(confusion), "mistakes": str(worst), "weights": str(weights)}
