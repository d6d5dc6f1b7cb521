"""`minidl lab optimizers`: one network, many ways to descend; and their paths on surfaces over two weights."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from minidl import generator, nn, optim
from minidl.data import DataLoader
from minidl.lab import surfaces
from minidl.lab.cost import Cost, training_cost
from minidl.lab.experiment import Context, Experiment, Result, Run
from minidl.lab.images import Split, make_loaders
from minidl.lab.outcome import train
from minidl.lab.settings import VAL_SHARE, require, require_common, require_known
from minidl.lab.statistics import spread_of
from minidl.lab.table import Column, Table
from minidl.lab.words import best_of
from minidl.training import Callback, Training, evaluate

PROBES = 40  # times that the training loss is measured, at steps that grow geometrically
PROBED = 1000  # training images on which it is measured
PATH_STEPS = 200
RATE_STEPS = 60
PATH_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
PATH_METHODS = ("gd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")


@dataclass(frozen=True)
class Method:
    """A way to descend: what tables call it, its class in `optim` with arguments, learning rates to choose from, images
    in a batch (None: all)."""

    title: str
    optimizer: str
    rates: tuple[float, ...]
    batch_size: int | None
    arguments: dict[str, Any] = field(default_factory=dict)

    def make(self, parameters: Any, lr: float) -> Any:
        """The optimizer of some parameters."""
        return getattr(optim, self.optimizer)(parameters, lr=lr, **self.arguments)


METHODS = {
    "gd": Method("GD (all images)", "SGD", (0.1, 0.3, 1.0), None),
    "sgd": Method("SGD (one image)", "SGD", (0.001, 0.003, 0.01), 1),
    "batch-16": Method("SGD (batches of 16)", "SGD", (0.01, 0.03, 0.1), 16),
    "batch-64": Method("SGD (batches of 64)", "SGD", (0.03, 0.1, 0.3), 64),
    "batch-256": Method("SGD (batches of 256)", "SGD", (0.1, 0.3, 1.0), 256),
    "momentum": Method("Momentum", "SGD", (0.01, 0.03, 0.1), 64, {"momentum": 0.9}),
    "nesterov": Method("Nesterov", "SGD", (0.01, 0.03, 0.1), 64, {"momentum": 0.9, "nesterov": True}),
    "adagrad": Method("Adagrad", "Adagrad", (0.003, 0.01, 0.03), 64),
    "rmsprop": Method("RMSProp", "RMSprop", (3e-4, 1e-3, 3e-3), 64),
    "adam": Method("Adam", "Adam", (1e-3, 3e-3, 1e-2), 64),
    "adamw": Method("AdamW", "AdamW", (1e-3, 3e-3, 1e-2), 64),
}
BATCHES = ("gd", "sgd", "batch-16", "batch-64", "batch-256")  # plain descent, told apart by its batches
QUICK: dict[str, Any] = {"seeds": (0, 1, 2), "train_count": 2000, "epochs": 3, "gd_epochs": 30, "sgd_epochs": 1}


@dataclass(frozen=True)
class Optimizers(Experiment):
    """A network of one hidden ReLU layer for every method, learning rate and seed; then paths on two surfaces.

    >>> Optimizers(methods=("newton",))
    Traceback (most recent call last):
    ...
    ValueError: methods must be among gd, sgd, batch-16, ..., adam, adamw, got 'newton'
    """

    name = "optimizers"
    title = "Optimizers: loss against steps and against seconds, and paths on a surface"
    dataset: str = "mnist"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    methods: tuple[str, ...] = tuple(METHODS)
    train_count: int = 20000
    width: int = 100
    epochs: int = 10
    gd_epochs: int = 100  # a pass is one step of gradient descent
    sgd_epochs: int = 2  # a pass is as many steps as images

    def __post_init__(self) -> None:
        require_common(self.dataset, self.seeds)
        require_known("methods", self.methods, METHODS)
        for name in ("train_count", "width", "epochs", "gd_epochs", "sgd_epochs"):
            value = getattr(self, name)
            require(name, value >= 1, "be at least 1", value)

    def prepare(self, context: Context) -> None:
        images = context.images(self.dataset)
        self._split(context).indices(len(images.train_labels), self.seeds[0])

    def _split(self, context: Context) -> Split:
        available = len(context.images(self.dataset).train_labels)
        held_out = available // VAL_SHARE
        return Split(min(self.train_count, available - held_out), held_out)

    def _epochs(self, method: str) -> int:
        return {"gd": self.gd_epochs, "sgd": self.sgd_epochs}.get(method, self.epochs)

    def runs(self, context: Context) -> list[Run]:
        images, split = context.images(self.dataset), self._split(context)
        count = split.train_count or 0
        widths = (int(np.prod(images.train_images.shape[1:])), self.width, len(images.classes))
        runs = []
        for name in self.methods:
            method = METHODS[name]
            size = min(method.batch_size or count, count)
            steps = self._epochs(name) * math.ceil(count / size)
            evaluated = PROBES * PROBED + split.val_count + len(images.test_labels)
            cost = training_cost(widths, size, steps, evaluated)
            for lr, seed in itertools.product(method.rates, self.seeds):
                settings = {"kind": "network", "method": name, "lr": lr, "batch_size": size}
                runs.append(Run(f"{method.title}, lr {lr:g}", seed, settings, cost))
        seed = self.seeds[0]
        for surface, name in itertools.product(surfaces.SURFACES, PATH_METHODS):
            if name in self.methods:
                settings = {"kind": "path", "method": name, "surface": surface}
                title = f"{METHODS[name].title} on the {surface} surface"
                runs.append(Run(title, seed, settings, Cost(PATH_STEPS * len(PATH_RATES))))
        for rate, lr in surfaces.RATES.items():
            settings = {"kind": "rate", "rate": rate, "lr": lr}
            runs.append(Run(f"quadratic, {rate}", seed, settings, Cost(RATE_STEPS)))
        return runs

    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        kind = run.settings["kind"]
        if kind == "path":
            return _best_path(run.settings["method"], run.settings["surface"], context)
        if kind == "rate":
            lr = run.settings["lr"]
            path = surfaces.walk(surfaces.SURFACES["quadratic"], lambda weights: optim.SGD(weights, lr=lr), RATE_STEPS)
            return {"path": path}
        return self._train(run, context)

    def _train(self, run: Run, context: Context) -> dict[str, Any]:
        generator.manual_seed(run.seed)
        method = METHODS[run.settings["method"]]
        images = context.images(self.dataset)
        loaders = make_loaders(images, self._split(context), run.settings["batch_size"], run.seed, context.device)
        model = nn.Sequential(
            nn.Linear(loaders.inputs, self.width), nn.ReLU(), nn.Linear(self.width, loaders.classes)
        ).to(context.device)
        epochs = self._epochs(run.settings["method"])
        probe = _Probe(next(iter(DataLoader(loaders.train.dataset, PROBED))), epochs * len(loaders.train))
        optimizer = method.make(model.parameters(), run.settings["lr"])
        outcome = train(context, model, loaders.train, epochs=epochs, optimizer=optimizer, callbacks=[probe])
        figures = {"steps": probe.steps, "step_seconds": probe.seconds, "losses": probe.losses}
        figures |= {"diverged_at": outcome.diverged_at, "step_count": len(outcome.history.losses)}
        figures |= {"val_loss": None, "val_accuracy": None, "test_accuracy": None}
        if outcome.diverged_at is None:
            figures["val_loss"], figures["val_accuracy"] = evaluate(model, loaders.val)
            figures["test_accuracy"] = evaluate(model, loaders.test)[1]
        return figures

    def table(self, results: Sequence[Result]) -> Table:
        rows = []
        for name, lr in chosen_rates(results).items():
            figures = [each.figures for each in of_method(results, name, lr)]
            row: dict[str, Any] = {"method": METHODS[name].title, "lr": lr, "steps": figures[0]["step_count"]}
            row["loss"] = spread_of(each["losses"][-1] for each in figures)
            row["seconds"] = spread_of(each["step_seconds"][-1] for each in figures)
            row["microseconds"] = spread_of(each["step_seconds"][-1] / each["step_count"] for each in figures)
            row |= {key: spread_of(each[key] for each in figures) for key in ("val_loss", "val_accuracy")}
            rows.append(row | {"test_accuracy": spread_of(each["test_accuracy"] for each in figures)})
        return Table(
            [
                Column("method", "method"),
                Column("lr", "learning rate, chosen", form="g"),
                Column("steps", "steps"),
                Column("seconds", "seconds of steps", digits=2),
                Column("microseconds", "per step (us)", digits=0, factor=1e6),
                Column("loss", "training loss", digits=3),
                Column("val_loss", "validation loss", digits=3),
                Column("val_accuracy", "validation accuracy (%)", factor=100),
                Column("test_accuracy", "test accuracy (%)", factor=100),
            ],
            rows,
        )

    def more_tables(self, results: Sequence[Result]) -> dict[str, Table]:
        return {"rates": _table_of_rates(results), "contraction": _table_of_contraction(results)}

    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        from minidl.lab import optimizers_pictures

        return optimizers_pictures.draw(self, results)

    def page(self, results: Sequence[Result]) -> list[str]:
        from minidl.lab import optimizers_page

        return optimizers_page.paragraphs(self, results)


class _Probe(Callback):
    """The loss on some training images at the start and after some steps, with the clock stopped meanwhile."""

    def __init__(self, batch: Any, steps: int) -> None:
        self.batch = batch
        self.marks = sorted({round(step) for step in np.geomspace(1, steps, PROBES)})
        self.steps: list[int] = []
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self._elapsed = 0.0
        self._resumed = 0.0

    def on_train_begin(self, training: Training) -> None:
        self._measure(training, 0)

    def on_batch_end(self, training: Training) -> None:
        step = training.epoch * training.steps_per_epoch + training.step
        if self.marks and step == self.marks[0]:
            self._elapsed += time.perf_counter() - self._resumed
            self.marks.pop(0)
            self._measure(training, step)

    def _measure(self, training: Training, step: int) -> None:
        self.steps.append(step)
        self.seconds.append(self._elapsed)
        self.losses.append(evaluate(training.model, [self.batch])[0])
        self._resumed = time.perf_counter()


def _best_path(name: str, surface_name: str, context: Context) -> dict[str, Any]:
    """The path that ends lowest, over the learning rates."""
    method, surface = METHODS[name], surfaces.SURFACES[surface_name]
    found: list[tuple[float, float, surfaces.Path]] = []
    for i, lr in enumerate(PATH_RATES):
        path = surfaces.walk(surface, partial(method.make, lr=lr), PATH_STEPS)
        value = float(surface.value(*path[-1])) if len(path) > PATH_STEPS else math.inf
        found.append((value, lr, path))
        context.report((i + 1) / len(PATH_RATES))
    value, lr, path = min(found, key=lambda each: each[0])
    return {"path": path, "lr": lr, "value": value}


def of_kind(results: Sequence[Result], kind: str) -> list[Result]:
    """The results of networks ("network"), of paths ("path") or of learning rates on the quadratic ("rate")."""
    return [each for each in results if each.run.settings["kind"] == kind]


def of_method(results: Sequence[Result], name: str, lr: float) -> list[Result]:
    """The networks of a method with a learning rate, a result per seed."""
    networks = of_kind(results, "network")
    return [each for each in networks if (each.run.settings["method"], each.run.settings["lr"]) == (name, lr)]


def rates_of(results: Sequence[Result], name: str) -> list[float]:
    """The learning rates that a method was run with."""
    networks = of_kind(results, "network")
    return sorted({each.run.settings["lr"] for each in networks if each.run.settings["method"] == name})


def chosen_rates(results: Sequence[Result]) -> dict[str, float]:
    """The learning rate of each method with the lowest mean validation loss; methods that always diverged have none."""
    chosen = {}
    for name in dict.fromkeys(each.run.settings["method"] for each in of_kind(results, "network")):
        losses = {
            repr(lr): [_number(each.figures["val_loss"]) for each in of_method(results, name, lr)]
            for lr in rates_of(results, name)
        }
        best = best_of(losses, is_highest=False)
        if best is not None:
            chosen[name] = float(best[0])
    return chosen


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _table_of_rates(results: Sequence[Result]) -> Table:
    rows = []
    for name in dict.fromkeys(each.run.settings["method"] for each in of_kind(results, "network")):
        for lr in rates_of(results, name):
            group = of_method(results, name, lr)
            ends = [str(each.figures["diverged_at"]) for each in group if each.figures["diverged_at"]]
            rows.append(
                {
                    "method": METHODS[name].title,
                    "lr": lr,
                    "val_loss": spread_of(each.figures["val_loss"] for each in group),
                    "diverged": ", ".join(ends) or None,
                }
            )
    columns = [
        Column("method", "method"),
        Column("lr", "learning rate", form="g"),
        Column("val_loss", "validation loss", digits=3),
        Column("diverged", "diverged at step"),
    ]
    return Table(columns, rows)


def _table_of_contraction(results: Sequence[Result]) -> Table:
    rows = []
    for each in of_kind(results, "rate"):
        predicted = surfaces.predicted_contraction(each.run.settings["lr"])
        measured = surfaces.measured_contraction(each.figures["path"])
        for axis, curvature in enumerate(surfaces.CURVATURES):
            rows.append(
                {
                    "rate": each.run.settings["rate"],
                    "lr": each.run.settings["lr"],
                    "curvature": curvature,
                    "predicted": predicted[axis],
                    "measured": measured[axis],
                }
            )
    columns = [
        Column("rate", "GD on the quadratic"),
        Column("lr", "learning rate", digits=4),
        Column("curvature", "curvature", digits=0),
        Column("predicted", "|1 - lr * curvature|", digits=6),
        Column("measured", "measured contraction per step", digits=6),
    ]
    return Table(columns, rows)
