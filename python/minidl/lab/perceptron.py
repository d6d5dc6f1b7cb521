"""minidl lab perceptron: one neuron, Rosenblatt's rule and small networks on data that fit into a picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from minidl import nn, ops, optim
from minidl.autograd import no_grad
from minidl.data import DataLoader, TensorDataset
from minidl.generator import Generator, manual_seed
from minidl.lab import outcome, perceptron_page, perceptron_pictures
from minidl.lab.cost import Cost, training_cost
from minidl.lab.experiment import Context, Experiment, Result, Run, by_variant
from minidl.lab.heads import HEADS, Head, gradient_gap, predict
from minidl.lab.planes import BINARY, Plane, sine, spirals
from minidl.lab.rosenblatt import learn
from minidl.lab.settings import require, require_known, require_positive, require_whole
from minidl.lab.statistics import spread_of
from minidl.lab.table import Column, Table
from minidl.lab.words import counted
from minidl.tensor import Tensor
from minidl.training import Callback, Training, evaluate

QUICK = {"seeds": (0, 1), "epochs": 60}
TEST_COUNT = 1000
SNAPSHOTS = 6
# The square that pictures show, and how many points of it are computed along each side.
REACH, GRID = 2.0, 61
# Blobs are far from one another, arms of spirals near: clouds that come close without touching.
NOISE_FACTORS = {"blobs": 2.0, "spirals": 0.5, "three spirals": 0.4}


@dataclass(frozen=True)
class Perceptron(Experiment):
    """Every model on every data set: binary ones, three spirals (softmax) and a noisy sine (regression).

    Args:
        planes: two-class data sets, of planes.BINARY.
        hidden: units of the one hidden layer (tanh); 0 is one neuron, no hidden layer.
        samples, noise: training points, and the standard deviation of each coordinate's noise, twice that for the
            blobs, half as much and less for the spirals.
        epochs, batch_size, lr: of the training by Adam; Rosenblatt's rule takes as many passes at the most.

    >>> len(Perceptron(seeds=(0,), planes=("xor",), hidden=(0, 3)).runs(Context()))
    7
    """

    name: ClassVar[str] = "perceptron"
    title: ClassVar[str] = "One neuron, and why hidden layers"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    planes: tuple[str, ...] = tuple(BINARY)
    hidden: tuple[int, ...] = (0, 3, 16)
    samples: int = 400
    noise: float = 0.1
    epochs: int = 300
    batch_size: int = 40
    lr: float = 0.02

    def __post_init__(self) -> None:
        require_whole("seeds", self.seeds, 0, 2**63 - 1)
        require_known("planes", self.planes, BINARY)
        require_whole("hidden", self.hidden, 0, 1024)
        require_whole("samples", [self.samples], 4, 100_000)
        require("noise", 0 <= self.noise <= 1, "be 0 to 1", self.noise)
        require_whole("epochs", [self.epochs], 1, 100_000)
        require_whole("batch_size", [self.batch_size], 1, self.samples)
        require_positive("lr", self.lr)

    def runs(self, context: Context) -> list[Run]:
        tasks = [(plane, "binary") for plane in self.planes]
        tasks += [("three spirals", "multi-class"), ("sine", "regression")]
        runs = []
        for (plane, task), width, seed in itertools.product(tasks, self.hidden, self.seeds):
            settings = {"plane": plane, "task": task, "model": model_name(width), "hidden": width}
            cost = training_cost(self._widths(width, task), self.batch_size, self._steps)
            runs.append(Run(f"{plane}, {model_name(width)}", seed, settings, cost))
        for plane, seed in itertools.product(self.planes, self.seeds):
            settings = {"plane": plane, "task": "binary", "model": "Rosenblatt's rule", "hidden": None}
            runs.append(Run(f"{plane}, Rosenblatt's rule", seed, settings, Cost(0.1 * self._steps)))
        return runs

    @property
    def _steps(self) -> int:
        return self.epochs * -(-self.samples // self.batch_size)

    def _widths(self, hidden: int, task: str) -> tuple[int, ...]:
        inputs, outputs = (1 if task == "regression" else 2), (3 if task == "multi-class" else 1)
        return (inputs, hidden, outputs) if hidden else (inputs, outputs)

    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        manual_seed(run.seed)
        # Points of their own seed: every model meets the same ones.
        source = Generator().manual_seed(run.seed)
        train, test = (make_points(run.settings["plane"], n, self.noise, source) for n in (self.samples, TEST_COUNT))
        if run.settings["hidden"] is None:
            return self._by_rosenblatt(train, test)
        head = HEADS[run.settings["task"]]
        widths = self._widths(run.settings["hidden"], head.task)
        model = build(widths).to(context.device)
        loaders = [
            DataLoader(_dataset(part, head, context.device), size, shuffle=is_shuffled)
            for part, size, is_shuffled in ((train, self.batch_size, True), (test, TEST_COUNT, False))
        ]
        film = _Film(head, self._steps, context.device) if run.seed == self.seeds[0] else None
        trained = outcome.train(
            context,
            model,
            loaders[0],
            epochs=self.epochs,
            optimizer=optim.Adam(model.parameters(), lr=self.lr),
            callbacks=[film] if film else [],
            loss=head.loss,
        )
        figures: dict[str, Any] = {"diverged": trained.failure, "points": _rounded(train) if film else None}
        for name, loader in zip(("train", "test"), loaders, strict=True):
            figures[f"{name}_loss"] = evaluate(model, loader, head.loss)[0]
            figures[f"{name}_accuracy"] = _accuracy(model, loader, head)
        x, target = next(iter(loaders[1]))
        with no_grad():
            output = model(x)
        figures["gradient_gap"] = gradient_gap(head, output, target)
        return figures | (film.figures() if film else {})

    def _by_rosenblatt(self, train: Plane, test: Plane) -> dict[str, Any]:
        learned = learn(train.x, train.y, self.epochs)
        figures: dict[str, Any] = {"mistakes": learned.mistakes}
        for name, part in (("train", train), ("test", test)):
            guess = part.x @ learned.weight + learned.bias > 0
            figures[f"{name}_accuracy"] = float((guess == (part.y == 1)).mean())
        return figures

    def table(self, results: Sequence[Result]) -> Table:
        columns = [
            Column("plane", "data"),
            Column("model", "model"),
            Column("output", "output"),
            Column("loss_name", "loss"),
            Column("train_accuracy", "training accuracy (%)", 1, 100),
            Column("test_accuracy", "test accuracy (%)", 1, 100),
            Column("test_loss", "test loss", 3),
        ]
        rows = []
        for group in by_variant(results).values():
            settings = group[0].run.settings
            head, is_threshold = HEADS[settings["task"]], settings["hidden"] is None
            row = {"plane": settings["plane"], "model": settings["model"]}
            row["output"] = "threshold" if is_threshold else head.activation
            row["loss_name"] = "" if is_threshold else head.loss_name
            measured = [column.key for column in columns[4:] if group[0].figures.get(column.key) is not None]
            spreads = {key: spread_of(result.figures[key] for result in group) for key in measured}
            rows.append({**row, **spreads})
        return Table(columns, rows)

    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        return perceptron_pictures.draw(results)

    def page(self, results: Sequence[Result]) -> list[str]:
        return perceptron_page.page(results, self.samples, self.noise)


def model_name(hidden: int) -> str:
    """ "no hidden layer" - one neuron, or one for each of three classes -, "3 hidden units"."""
    return "no hidden layer" if hidden == 0 else counted(hidden, "hidden unit")


def make_points(name: str, count: int, noise: float, source: Generator) -> Plane:
    """The points of a binary data set, of three spirals or of the sine."""
    noise *= NOISE_FACTORS.get(name, 1.0)
    if name == "three spirals":
        return spirals(count, noise, source, arms=3)
    return sine(count, noise, source) if name == "sine" else BINARY[name](count, noise, source)


def build(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with tanh between them."""
    layers: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
    for a, b in itertools.pairwise(widths[1:]):
        layers += [nn.Tanh(), nn.Linear(a, b)]
    return nn.Sequential(*layers)


def _dataset(part: Plane, head: Head, device: str) -> TensorDataset:
    y = part.y.astype(np.float32)[:, None] if head.task == "binary" else part.y
    return TensorDataset(ops.from_numpy(part.x).to(device), ops.from_numpy(y).to(device))


def _accuracy(model: nn.Module, loader: DataLoader, head: Head) -> float | None:
    if head.task == "regression":
        return None
    hits, count = 0.0, 0
    with no_grad():
        for x, target in loader:
            guess, wanted = predict(head, model(x)), target.cpu().numpy().reshape(-1)
            hits += float(((guess > 0.5) == (wanted > 0.5) if head.task == "binary" else guess == wanted).sum())
            count += len(wanted)
    return hits / count


def _rounded(part: Plane) -> list[list[float]]:
    """[x0, x1, class], or [x, y] of a sine, as the pictures draw them."""
    columns = np.concatenate([part.x, np.reshape(part.y, (len(part.x), 1))], 1)
    return [[round(float(value), 3) for value in row] for row in columns]


class _Film(Callback):
    """Keeps what the model answers all over the picture, at the start and after some steps up to the last."""

    def __init__(self, head: Head, steps: int, device: str) -> None:
        self.head = head
        later = np.unique(np.geomspace(min(10, steps), steps, SNAPSHOTS - 1).round().astype(int))
        self.wanted = {0, *(int(step) for step in later)}
        line = np.linspace(-1, 1, GRID, dtype=np.float32)
        square = np.stack(np.meshgrid(REACH * line, REACH * line), -1).reshape(-1, 2)
        self.grid: Tensor = ops.from_numpy(line[:, None] if head.task == "regression" else square).to(device)
        self.steps: list[int] = []
        self.answers: list[list[float]] = []

    def on_train_begin(self, training: Training) -> None:
        self._look(training, 0)

    def on_batch_end(self, training: Training) -> None:
        self._look(training, training.total_steps)

    def _look(self, training: Training, step: int) -> None:
        if step in self.wanted:
            with no_grad():
                answer = predict(self.head, training.model(self.grid))
            self.steps.append(step)
            self.answers.append([round(float(value), 5) for value in answer])

    def figures(self) -> dict[str, Any]:
        return {"snapshot_steps": self.steps, "snapshots": self.answers}
