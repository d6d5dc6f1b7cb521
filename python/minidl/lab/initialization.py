"""`minidl lab init`: deep networks that differ only in how their weights are drawn before training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import generator, nn, optim
from minidl.lab.cost import Cost, training_cost
from minidl.lab.experiment import Context, Experiment, Result, Run, by_variant
from minidl.lab.images import Split, make_loaders
from minidl.lab.outcome import thinned, train
from minidl.lab.settings import VAL_SHARE, require, require_common, require_known, require_positive, require_whole
from minidl.lab.statistics import spread_of
from minidl.lab.table import Column, Table
from minidl.training import Callback, EpochFigures, Training, evaluate
from minidl.training.inspection import LayerStatistics, activation_statistics

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU}
CURVE_POINTS = 60
BINS = 40
INSPECTED = 250  # validation images on which layers are measured


def _scaled(deviation: float) -> Callable[[Any], Any]:
    """Fills a weight matrix from N(0, deviation^2 / n), n = fan in."""
    return lambda weight: nn.init.normal_(weight, 0.0, deviation / math.sqrt(weight.shape[1]))


# Name -> what tables call it, and what fills a weight matrix; n is the number of inputs, m that of outputs.
INITS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "zeros": ("zeros", nn.init.zeros_),
    "too-small": ("too small N(0, 0.01/n)", _scaled(0.1)),
    "normal": ("N(0, 1/n)", _scaled(1.0)),
    "xavier-normal": ("Xavier N(0, 2/(n+m))", nn.init.xavier_normal_),
    "xavier-uniform": ("Xavier (uniform)", nn.init.xavier_uniform_),
    "kaiming-normal": ("Kaiming N(0, 2/n)", lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu")),
    "kaiming-uniform": ("Kaiming (uniform)", lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu")),
    "too-large": ("too large N(0, 100/n)", _scaled(10.0)),
}
QUICK: dict[str, Any] = {
    "seeds": (0, 1, 2),
    "inits": ("zeros", "too-small", "normal", "xavier-normal", "kaiming-normal", "too-large"),
    "depths": (2, 10),
    "train_count": 2000,
    "epochs": 2,
}


@dataclass(frozen=True)
class Initialization(Experiment):
    """Networks of `depth` hidden layers of `width` units, biases 0, trained by plain SGD with one learning rate.

    >>> Initialization(depths=(1,))
    Traceback (most recent call last):
    ...
    ValueError: depths must be 2 to 10, got 1
    """

    name = "init"
    title = "Initial weights: which networks learn at all"
    dataset: str = "mnist"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    inits: tuple[str, ...] = tuple(INITS)
    activations: tuple[str, ...] = tuple(ACTIVATIONS)
    depths: tuple[int, ...] = (2, 5, 10)
    width: int = 100
    train_count: int = 20000
    epochs: int = 4
    batch_size: int = 50
    lr: float = 0.05

    def __post_init__(self) -> None:
        require_common(self.dataset, self.seeds)
        require_known("inits", self.inits, INITS)
        require_known("activations", self.activations, ACTIVATIONS)
        require_whole("depths", self.depths, 2, 10)
        require("width", self.width >= 2, "be at least 2, to compare units", self.width)
        require("train_count", self.train_count >= 1, "be at least 1", self.train_count)
        require("epochs", self.epochs >= 1, "be at least 1", self.epochs)
        require("batch_size", self.batch_size >= 1, "be at least 1", self.batch_size)
        require_positive("lr", self.lr)

    @property
    def shown_depth(self) -> int:
        """The depth of which histograms are kept and drawn: the middle one."""
        return sorted(self.depths)[len(self.depths) // 2]

    def prepare(self, context: Context) -> None:
        images = context.images(self.dataset)
        self._split(context).indices(len(images.train_labels), self.seeds[0])

    def _split(self, context: Context) -> Split:
        available = len(context.images(self.dataset).train_labels)
        most = available - available // VAL_SHARE
        return Split(min(self.train_count, most), available // VAL_SHARE)

    def runs(self, context: Context) -> list[Run]:
        images = context.images(self.dataset)
        inputs, classes, split = int(np.prod(images.train_images.shape[1:])), len(images.classes), self._split(context)
        count = split.train_count or 0
        runs = []
        for activation, depth, init, seed in itertools.product(self.activations, self.depths, self.inits, self.seeds):
            widths = (inputs, *[self.width] * depth, classes)
            steps = self.epochs * math.ceil(count / self.batch_size)
            evaluated = self.epochs * split.val_count + len(images.test_labels)
            # What a step takes beside its products grows with the layers; the pace is that of two.
            more_layers = Cost(steps * (depth - 1) / 2)
            cost = training_cost(widths, self.batch_size, steps, evaluated) + more_layers
            settings = {"init": init, "activation": activation, "depth": depth}
            runs.append(Run(f"{INITS[init][0]}, {activation}, {depth} layers", seed, settings, cost))
        return runs

    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        generator.manual_seed(run.seed)
        split = self._split(context)
        loaders = make_loaders(context.images(self.dataset), split, self.batch_size, run.seed, context.device)
        depth, is_shown = run.settings["depth"], run.settings["depth"] == self.shown_depth
        model = build_model(
            (loaders.inputs, *[self.width] * depth, loaders.classes),
            ACTIVATIONS[run.settings["activation"]],
            INITS[run.settings["init"]][1],
        ).to(context.device)
        inspected = [part[:INSPECTED] for part in next(iter(loaders.val))]
        inspection = _Inspection(inspected, with_histograms=is_shown and run.seed == self.seeds[0])
        inspection.inspect(model)
        start_difference = row_difference(model)
        outcome = train(
            context,
            model,
            loaders.train,
            epochs=self.epochs,
            optimizer=optim.SGD(model.parameters(), lr=self.lr),
            val_data=loaders.val,
            callbacks=[inspection],
        )
        steps, losses = thinned(outcome.history.losses, max(1, self.epochs * len(loaders.train) // CURVE_POINTS))
        last = outcome.history.epochs[-1] if outcome.diverged_at is None else None
        return {
            "steps": steps,
            "losses": losses,
            "diverged_at": outcome.diverged_at,
            "final_loss": None if last is None else last.train_loss,
            "val_loss": None if last is None else last.val_loss,
            "val_accuracy": None if last is None else last.val_accuracy,
            "test_accuracy": None if last is None else evaluate(model, loaders.test)[1],
            "row_difference_before": start_difference,
            "row_difference": row_difference(model),
            "largest_but_last_bias": largest_but_last_bias(model),
            "loss_of_frequencies": loss_of_frequencies(loaders.train.dataset),
            "chance_loss": math.log(loaders.classes),
            "layers": inspection.found,
        }

    def table(self, results: Sequence[Result]) -> Table:
        return Table(
            [
                Column("init", "initial weights"),
                Column("activation", "activation"),
                Column("depth", "hidden layers"),
                Column("final_loss", "training loss, last epoch", digits=3),
                Column("val_accuracy", "validation accuracy (%)", factor=100),
                Column("test_accuracy", "test accuracy (%)", factor=100),
                Column("gradient_ratio", "gradient, first / last hidden layer", form="g"),
                Column("inactive", "dead or saturated at the start (%)", digits=1, factor=100),
                Column("row_difference", "largest difference between units", form="g"),
                Column("diverged", "diverged at step"),
            ],
            [_row(group) for group in by_variant(results).values()],
        )

    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        from minidl.lab import initialization_pictures

        return initialization_pictures.draw(self, results)

    def page(self, results: Sequence[Result]) -> list[str]:
        from minidl.lab import initialization_page

        return initialization_page.paragraphs(self, results)


def build_model(widths: Sequence[int], activation: type[nn.Module], fill: Callable[[Any], Any]) -> nn.Sequential:
    """Linear layers with the activation between them; weights filled, biases 0.

    >>> build_model((4, 3, 2), nn.Tanh, nn.init.zeros_)
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): Tanh()
      (2): Linear(in_features=3, out_features=2, bias=True)
    )
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layer = nn.Linear(inputs, outputs)
        for parameter in layer.parameters():
            (fill if parameter.dim() > 1 else nn.init.zeros_)(parameter)
        layers += [layer, activation()]
    return nn.Sequential(*layers[:-1])


def row_difference(model: nn.Module) -> float:
    """The largest difference between two rows of one hidden weight matrix, element by element: 0 where all units of
    every hidden layer are equal."""
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    weights = [layer.weight.detach().cpu().numpy() for layer in linears[:-1]]
    with np.errstate(invalid="ignore"):  # inf - inf, where training diverged
        return max(float(np.max(weight.max(axis=0) - weight.min(axis=0))) for weight in weights)


def largest_but_last_bias(model: nn.Module) -> float:
    """The largest absolute value of all parameters but the last layer's bias."""
    parameters = list(model.parameters())
    return max(float(np.abs(parameter.detach().cpu().numpy()).max()) for parameter in parameters[:-1])


def loss_of_frequencies(dataset: Any) -> float:
    """The cross-entropy of a network that knows nothing but how frequent each class is: their entropy."""
    _, counts = np.unique(dataset.labels.cpu().numpy(), return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


class _Inspection(Callback):
    """Measures all layers on one batch, before training and after the first epoch."""

    def __init__(self, batch: Any, with_histograms: bool) -> None:
        self.batch = batch
        self.with_histograms = with_histograms
        self.found: list[dict[str, Any]] = []

    def inspect(self, model: Any) -> None:
        x, target = self.batch
        statistics = activation_statistics(model, x, target, bins=BINS)
        self.found.append(layer_figures(statistics, self.with_histograms))

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        if figures.epoch == 1:
            self.inspect(training.model)


def layer_figures(statistics: Iterable[LayerStatistics], with_histograms: bool) -> dict[str, Any]:
    """Lists with a number per hidden layer, first to last.

    `sum_gradient`: norm of the loss's gradient by the layer's sums, before the activation; `weight_gradient`: by its
    weights; `inactive`: share of dead units (ReLU) or of saturated outputs; histograms of outputs and `sum_gradient`.
    """
    layers = list(statistics)
    linears, hidden = layers[0:-1:2], layers[1::2]
    figures: dict[str, Any] = {
        "sum_gradient": [layer.grad_output_norm for layer in linears],
        "weight_gradient": [layer.grad_weight_norm for layer in linears],
        "output_std": [layer.output_std for layer in hidden],
        "inactive": [
            layer.saturated_fraction if layer.dead_fraction is None else layer.dead_fraction for layer in hidden
        ],
    }
    if with_histograms:
        figures["output_histograms"] = [layer.histogram for layer in hidden]
        figures["gradient_histograms"] = [layer.grad_histogram for layer in linears]
    return figures


def gradient_ratio(figures: dict[str, Any]) -> float | None:
    """Norm of the gradient by the sums of the first hidden layer over that of the last, before training; None where the
    last is 0 or one of them is too large for float32."""
    first, last = figures["layers"][0]["sum_gradient"][0], figures["layers"][0]["sum_gradient"][-1]
    return None if first is None or not last else first / last


def _row(group: Sequence[Result]) -> dict[str, Any]:
    settings = group[0].run.settings
    figures = [result.figures for result in group]
    differences = [each["row_difference"] for each in figures if each["row_difference"] is not None]
    ratios = [gradient_ratio(each) for each in figures]
    diverged = [each["diverged_at"] for each in figures if each["diverged_at"] is not None]
    row = {key: spread_of(each[key] for each in figures) for key in ("final_loss", "val_accuracy", "test_accuracy")}
    return row | {
        "init": INITS[settings["init"]][0],
        "activation": settings["activation"],
        "depth": settings["depth"],
        "gradient_ratio": None if None in ratios else spread_of(ratios),
        "inactive": spread_of(float(np.mean(each["layers"][0]["inactive"])) for each in figures),
        "row_difference": max(differences, default=None),
        "diverged": ", ".join(map(str, diverged)) or None,
    }
