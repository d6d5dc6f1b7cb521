"""minidl lab batchnorm: figure 1 of Ioffe and Szegedy 2015 - deep sigmoids with and without batch norm."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from minidl import nn, optim
from minidl.autograd import no_grad
from minidl.data import DataLoader
from minidl.generator import manual_seed
from minidl.lab import batch_norm_page, batch_norm_pictures
from minidl.lab.cost import training_cost
from minidl.lab.experiment import Context, Experiment, Result, Run, by_variant
from minidl.lab.images import Split, make_loaders
from minidl.lab.outcome import train
from minidl.lab.settings import require, require_common, require_positive, require_whole
from minidl.lab.statistics import Spread, spread_of
from minidl.lab.table import Column, Table
from minidl.nn import functional
from minidl.tensor import Tensor
from minidl.training import Callback, Training, evaluate

QUICK = {"seeds": (0, 1), "epochs": 2, "evaluations": 20}
PERCENTILES = (15, 50, 85)


@dataclass(frozen=True)
class BatchNorm(Experiment):
    """A sigmoid network with and without batch norm before each sigmoid, at several learning rates.

    Args:
        dataset: images to learn.
        epochs: passes over the training images; 50 of MNIST in batches of 60 are the paper's 50,000 steps.
        hidden: widths of the hidden layers.
        weight_std: standard deviation of the initial weights; biases start at 0.
        lr, factors: plain SGD with lr times each factor.
        evaluations: how often on the way accuracy and input distributions are measured.
        held_out: training images to measure accuracy on instead of the test images, to choose `lr` by; 0 for none.

    >>> [run.variant for run in BatchNorm(seeds=(0,), dataset="digits", factors=(1.0,)).runs(Context())]
    ['no batch norm, rate x 1', 'batch norm, rate x 1']
    """

    name: ClassVar[str] = "batchnorm"
    title: ClassVar[str] = "Batch normalization: figure 1 of Ioffe and Szegedy 2015"
    seeds: tuple[int, ...] = (0, 1, 2)
    dataset: str = "mnist"
    hidden: tuple[int, ...] = (100, 100, 100)
    batch_size: int = 60
    epochs: int = 50
    weight_std: float = 0.1
    lr: float = 0.1
    factors: tuple[float, ...] = (1.0, 5.0, 30.0)
    evaluations: int = 100
    held_out: int = 0

    def __post_init__(self) -> None:
        require_common(self.dataset, self.seeds)
        require("hidden", bool(self.hidden), "hold at least one width", self.hidden)
        for width in self.hidden:
            require_whole("hidden", [width], 1, 10_000)
        require_whole("batch_size", [self.batch_size], 2, 60_000)
        require_whole("epochs", [self.epochs], 1, 10_000)
        require_positive("weight_std", self.weight_std)
        require_positive("lr", self.lr)
        require("factors", bool(self.factors), "hold at least one number", self.factors)
        require("factors", len(set(self.factors)) == len(self.factors), "differ from one another", self.factors)
        for factor in self.factors:
            require_positive("factors", factor)
        require_whole("evaluations", [self.evaluations], 2, 1000)
        require_whole("held_out", [self.held_out], 0, 59_999)

    def runs(self, context: Context) -> list[Run]:
        images = context.images(self.dataset)
        kept, _ = Split(None, self.held_out).indices(len(images.train_labels), 0)
        steps = self.epochs * (len(kept) // self.batch_size)
        measured = self.held_out or len(images.test_labels)
        widths = (int(np.prod(images.train_images.shape[1:])), *self.hidden, len(images.classes))
        cost = training_cost(widths, self.batch_size, steps, (self.evaluations + 1) * measured)
        return [
            Run(
                f"{'batch norm' if is_normed else 'no batch norm'}, rate x {factor:g}",
                seed,
                {"factor": factor, "batch_norm": is_normed},
                cost,
            )
            for factor, is_normed, seed in itertools.product(self.factors, (False, True), self.seeds)
        ]

    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        manual_seed(run.seed)
        loaders = make_loaders(
            context.images(self.dataset),
            Split(None, self.held_out),
            self.batch_size,
            run.seed,
            context.device,
            drop_last=True,
        )
        model = self._build(loaders.inputs, loaders.classes, run.settings["batch_norm"]).to(context.device)
        measured = loaders.val if self.held_out else loaders.test
        meter = Meter(measured, self.epochs * len(loaders.train), self.evaluations)
        optimizer = optim.SGD(model.parameters(), lr=self.lr * run.settings["factor"])
        outcome = train(context, model, loaders.train, epochs=self.epochs, optimizer=optimizer, callbacks=[meter])
        return {"diverged_at_step": outcome.diverged_at, **meter.figures()}

    def _build(self, inputs: int, classes: int, is_normed: bool) -> nn.Sequential:
        layers: list[nn.Module] = []
        for width in self.hidden:
            # The bias would be taken off again with the mean; batch norm brings its own.
            layers.append(nn.Linear(inputs, width, bias=not is_normed))
            layers += [nn.BatchNorm1d(width)] if is_normed else []
            layers.append(nn.Sigmoid())
            inputs = width
        layers.append(nn.Linear(inputs, classes))
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=self.weight_std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)

    def table(self, results: Sequence[Result]) -> Table:
        columns = [
            Column("variant", "network"),
            Column("rate", "learning rate", 2),
            Column("accuracy", "accuracy (%)", 2, 100),
            Column("loss", "loss", 4),
            Column("steps_to_reach", "steps to the first row's accuracy", 0),
            Column("drift", "drift of a unit's input (widths)", 2),
        ]
        wanted = batch_norm_page.accuracy_to_reach(results)
        reference = {"factor": self.factors[0], "batch_norm": False}
        rows = []
        for variant, group in by_variant(results).items():
            row: dict[str, Any] = {"variant": variant, "rate": self.lr * group[0].run.settings["factor"]}
            row["drift"] = spread_of(result.figures["drift"] for result in group)
            row["accuracy"] = spread_of(result.figures["accuracy_curve"][-1] for result in group)
            row["loss"] = spread_of(result.figures["loss_curve"][-1] for result in group)
            if group[0].run.settings != reference and wanted >= batch_norm_page.LEARNT:
                row["steps_to_reach"] = _over_seeds([batch_norm_page.steps_to_reach(r, wanted) for r in group])
            rows.append(row)
        return Table(columns, rows)

    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        return batch_norm_pictures.draw(results, self.lr, self._measured_name)

    def page(self, results: Sequence[Result]) -> list[str]:
        layers = f"{len(self.hidden)} layers of {' - '.join(map(str, self.hidden))} sigmoid units"
        if len(set(self.hidden)) == 1:
            layers = f"{len(self.hidden)} x {self.hidden[0]} sigmoid units"
        setup = (
            f"{layers}, {self.dataset}, batches of {self.batch_size}, {self.epochs} epochs, plain SGD with the "
            f"learning rate {self.lr:g} times {', '.join(f'{factor:g}' for factor in self.factors)}, initial weights "
            f"N(0, {self.weight_std:g}^2)"
        )
        return batch_norm_page.page(results, setup, self._measured_name)

    @property
    def _measured_name(self) -> str:
        return "validation" if self.held_out else "test"


def _over_seeds(steps: Sequence[int | None]) -> Spread | str:
    """The spread, or for how many seeds there is a number."""
    numbers = [step for step in steps if step is not None]
    return spread_of(numbers) if len(numbers) == len(steps) else f"{len(numbers)} of {len(steps)} seeds"


def inputs_of_last_activation(model: nn.Sequential, x: Tensor) -> Tensor:
    """What the last but one layer of a model is given, (samples, units); running averages play no part."""
    for layer in list(model)[:-2]:
        if isinstance(layer, nn.BatchNorm1d):
            x = functional.batch_norm(x, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
        else:
            x = layer(x)
    return x


class Meter(Callback):
    """Measures loss, accuracy, and the distribution of the inputs of the last hidden layer's sigmoids, on the way.

    The inputs are those of the first evaluation batch, which batch norm normalizes by its own statistics, as it does
    while training; loss and accuracy are those of the evaluation mode, by running averages.
    """

    def __init__(self, data: DataLoader, steps: int, evaluations: int) -> None:
        self.data = data
        self.probe = next(iter(data))[0]
        self.wanted = [int(step) for step in np.unique(np.linspace(0, steps, evaluations + 1).round())]
        self.losses: list[float] = []
        self.accuracies: list[float] = []
        self.percentiles: list[Any] = []  # (3, units) each

    def on_train_begin(self, training: Training) -> None:
        self._measure(training)

    def on_batch_end(self, training: Training) -> None:
        if training.total_steps == self.wanted[min(len(self.losses), len(self.wanted) - 1)]:
            self._measure(training)

    def _measure(self, training: Training) -> None:
        loss, accuracy = evaluate(training.model, self.data)
        self.losses.append(loss)
        self.accuracies.append(accuracy or 0.0)
        with no_grad():
            inputs = inputs_of_last_activation(training.model, self.probe)
        self.percentiles.append(np.percentile(inputs.cpu().numpy().astype(np.float64), PERCENTILES, axis=0))

    def figures(self) -> dict[str, Any]:
        """Curves, None after a divergence; the percentiles of a typical unit; drift and widths, means over the units.

        A unit's width is the distance of its outer percentiles; its drift is the highest minus the lowest median on the
        way, in mean widths of its own. Typical is the unit whose drift is the middle one of all.
        """
        lost = [None] * (len(self.wanted) - len(self.losses))
        path = np.array(self.percentiles)  # (times, 3, units)
        width = path[:, 2] - path[:, 0]
        drift = (path[:, 1].max(0) - path[:, 1].min(0)) / width.mean(0)
        typical = int(np.argsort(drift)[len(drift) // 2])
        return {
            "steps": self.wanted,
            "accuracy_curve": [*self.accuracies, *lost],
            "loss_curve": [*self.losses, *lost],
            "unit": typical,
            "unit_percentiles": [[round(float(value), 4) for value in row] for row in path[:, :, typical].T],
            "drift": float(drift.mean()),
            "widths": [float(width[0].mean()), float(width[-1].mean())],
        }
