"""minidl lab landscape: the loss around a trained minimum, with and without batch norm, shallow and deep."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from minidl import nn, optim
from minidl.autograd import no_grad
from minidl.data import DataLoader
from minidl.generator import Generator, manual_seed
from minidl.lab import landscape_page, landscape_pictures
from minidl.lab.cost import Cost, training_cost
from minidl.lab.experiment import Context, Experiment, Result, Run, by_variant
from minidl.lab.images import Split, make_loaders
from minidl.lab.outcome import train
from minidl.lab.settings import require, require_common, require_positive, require_whole
from minidl.lab.statistics import spread_of
from minidl.lab.surface import concave_share, filter_normalized_direction, loss_surface, mean_on_circle
from minidl.lab.table import Column, Table
from minidl.nn import functional
from minidl.training import evaluate

QUICK = {"seeds": (0, 1), "epochs": 1, "points": 13, "subset": 1000}
# Radii of the circles on which the mean loss is told, in sizes of the weights.
RADII = (0.25, 0.5)
MEASURED = ("trained_loss", "test_accuracy", *(f"circle_{radius:g}" for radius in RADII), "concave_share")


@dataclass(frozen=True)
class Landscape(Experiment):
    """ReLU networks of some depths, each with and without batch norm, and the loss in a plane through each minimum.

    Args:
        dataset: images to learn.
        depths: numbers of hidden layers, each `width` wide.
        epochs, batch_size, lr: of the training by SGD with momentum 0.9, the rate falling to 0 along a cosine.
        points: of the plane along each side, an odd number, so that the minimum is one of them.
        reach: how far the plane goes along each direction, in sizes of the weights.
        subset: the first so many training images; the loss is theirs.

    >>> [run.variant for run in Landscape(seeds=(0,), dataset="digits", depths=(2,)).runs(Context())]
    ['2 layers', '2 layers, batch norm']
    """

    name: ClassVar[str] = "landscape"
    title: ClassVar[str] = "The loss around a minimum"
    seeds: tuple[int, ...] = (0, 1, 2)
    dataset: str = "mnist"
    depths: tuple[int, ...] = (2, 10)
    width: int = 100
    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.05
    points: int = 41
    reach: float = 1.0
    subset: int = 5000

    def __post_init__(self) -> None:
        require_common(self.dataset, self.seeds)
        require_whole("depths", self.depths, 1, 100)
        require_whole("width", [self.width], 1, 10_000)
        require_whole("epochs", [self.epochs], 1, 10_000)
        require_whole("batch_size", [self.batch_size], 2, 60_000)
        require_positive("lr", self.lr)
        require_whole("points", [self.points], 5, 501)
        require("points", self.points % 2 == 1, "be odd, so that the minimum is one of them", self.points)
        require("reach", max(RADII) <= self.reach <= 100, f"be {max(RADII):g} to 100", self.reach)
        require_whole("subset", [self.subset], 1, 60_000)

    def runs(self, context: Context) -> list[Run]:
        images = context.images(self.dataset)
        inputs, classes = int(np.prod(images.train_images.shape[1:])), len(images.classes)
        steps = self.epochs * (len(images.train_labels) // self.batch_size)
        runs = []
        for depth, is_normed, seed in itertools.product(self.depths, (False, True), self.seeds):
            widths = (inputs, *(self.width,) * depth, classes)
            cost = training_cost(widths, self.batch_size, steps, self.points**2 * self.subset)
            variant = f"{depth} layer{'s' * (depth > 1)}" + (", batch norm" if is_normed else "")
            # A point of the plane costs about as much beside its matrix products as a step does.
            runs.append(Run(variant, seed, {"depth": depth, "batch_norm": is_normed}, cost + Cost(self.points**2)))
        return runs

    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        manual_seed(run.seed)
        images = context.images(self.dataset)
        split = Split(None, 0)
        loaders = make_loaders(images, split, self.batch_size, run.seed, context.device, drop_last=True)
        model = self._build(loaders.inputs, loaders.classes, **run.settings).to(context.device)
        optimizer = optim.SGD(model.parameters(), lr=self.lr, momentum=0.9)
        scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.epochs * len(loaders.train))
        halfway = replace(context, report=lambda share: context.report(0.5 * share))
        outcome = train(halfway, model, loaders.train, epochs=self.epochs, optimizer=optimizer, scheduler=scheduler)
        if outcome.failure is not None:
            return {"diverged": outcome.failure, "surface": None, **dict.fromkeys(MEASURED)}
        x, target = next(iter(DataLoader(loaders.train.dataset, self.subset)))

        def loss() -> float:
            return functional.cross_entropy(model(x), target).item()  # type: ignore[no-any-return]

        model.eval()
        with no_grad():
            trained_loss = loss()
        parameters = list(model.parameters())
        source = Generator().manual_seed(run.seed)
        first, second = (filter_normalized_direction(parameters, source) for _ in range(2))
        steps = np.linspace(-self.reach, self.reach, self.points)
        surface = loss_surface(parameters, first, second, steps, loss, lambda share: context.report(0.5 + 0.5 * share))
        _, accuracy = evaluate(model, loaders.test)
        return {
            "diverged": None,
            "trained_loss": trained_loss,
            "test_accuracy": accuracy,
            **{f"circle_{radius:g}": mean_on_circle(surface, steps, radius) for radius in RADII},
            "concave_share": concave_share(surface),
            "surface": [[float(f"{value:.6g}") for value in row] for row in surface],
        }

    def _build(self, inputs: int, classes: int, depth: int, batch_norm: bool) -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(depth):
            # The bias would be taken off again with the mean; batch norm brings its own.
            linear = nn.Linear(inputs, self.width, bias=not batch_norm)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            layers += [linear, *([nn.BatchNorm1d(self.width)] if batch_norm else []), nn.ReLU()]
            inputs = self.width
        return nn.Sequential(*layers, nn.Linear(inputs, classes))

    def table(self, results: Sequence[Result]) -> Table:
        columns = [
            Column("variant", "network"),
            Column("trained_loss", "loss at the minimum", 4),
            Column("test_accuracy", "test accuracy (%)", 2, 100),
            *(Column(f"circle_{radius:g}", f"loss at distance {radius:g}", 3) for radius in RADII),
            Column("concave_share", "plane bends down (%)", 1, 100),
        ]
        rows = [
            {"variant": variant, **{key: spread_of(result.figures[key] for result in group) for key in MEASURED}}
            for variant, group in by_variant(results).items()
        ]
        return Table(columns, rows)

    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        return landscape_pictures.draw(results, np.linspace(-self.reach, self.reach, self.points))

    def page(self, results: Sequence[Result]) -> list[str]:
        setup = (
            f"ReLU networks {self.width} wide, {self.dataset}, {self.epochs} epoch{'s' * (self.epochs > 1)} of SGD "
            f"with momentum 0.9 and the learning rate {self.lr:g}, falling to 0; then the loss of the first "
            f"{self.subset:,} training images at {self.points} x {self.points} points of a plane through the weights"
        )
        return landscape_page.page(results, setup, RADII)
