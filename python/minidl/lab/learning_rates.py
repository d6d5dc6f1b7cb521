"""`minidl lab lr-find`: the learning-rate range test, and whether what it suggests is any good."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from minidl import generator, nn, optim
from minidl.lab.cost import training_cost
from minidl.lab.experiment import Context, Experiment, Result, Run, by_variant
from minidl.lab.images import Loaders, Split, make_loaders
from minidl.lab.outcome import train
from minidl.lab.settings import VAL_SHARE, require, require_common, require_known, require_whole
from minidl.lab.statistics import spread_of
from minidl.lab.table import Column, Table
from minidl.lab.words import compare
from minidl.training import evaluate, lr_find

# Name -> what tables call it, its class in `optim`, arguments.
OPTIMIZERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "sgd": ("SGD", "SGD", {}),
    "momentum": ("Momentum", "SGD", {"momentum": 0.9}),
    "rmsprop": ("RMSProp", "RMSprop", {}),
    "adam": ("Adam", "Adam", {}),
}
FACTORS = (0.1, 1.0, 10.0)  # times the suggestion: what is trained with
SUGGESTED = FACTORS.index(1.0)
LOWEST, HIGHEST = 1e-6, 10.0
QUICK: dict[str, Any] = {"seeds": (0, 1, 2), "batch_sizes": (32, 256), "train_count": 8000}


@dataclass(frozen=True)
class LearningRates(Experiment):
    """A sweep for every optimizer, batch size and seed; then training from the same initial weights with a tenth of the
    suggestion, with it, and with ten times as much.

    >>> LearningRates(batch_sizes=(0,))
    Traceback (most recent call last):
    ...
    ValueError: batch_sizes must be at least 1, got 0
    """

    name = "lr-find"
    title = "Learning-rate range test: what it suggests, and what comes of it"
    dataset: str = "mnist"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)
    batch_sizes: tuple[int, ...] = (32, 128, 512)
    train_count: int | None = None  # all that are not held out
    width: int = 256
    sweep_steps: int = 100
    epochs: int = 1

    def __post_init__(self) -> None:
        require_common(self.dataset, self.seeds)
        require_known("optimizers", self.optimizers, OPTIMIZERS)
        require_whole("batch_sizes", self.batch_sizes, 1)
        at_least_one = self.train_count is None or self.train_count >= 1
        require("train_count", at_least_one, "be at least 1", self.train_count)
        require("sweep_steps", self.sweep_steps >= 2, "be at least 2", self.sweep_steps)
        for name in ("width", "epochs"):
            require(name, getattr(self, name) >= 1, "be at least 1", getattr(self, name))

    def prepare(self, context: Context) -> None:
        images = context.images(self.dataset)
        self._split(context).indices(len(images.train_labels), self.seeds[0])

    def _split(self, context: Context) -> Split:
        available = len(context.images(self.dataset).train_labels)
        return Split(self.train_count, available // VAL_SHARE)

    def _widths(self, inputs: int, classes: int) -> tuple[int, ...]:
        return (inputs, self.width, max(1, self.width // 2), classes)

    def runs(self, context: Context) -> list[Run]:
        images, split = context.images(self.dataset), self._split(context)
        count = split.train_count or len(images.train_labels) - split.val_count
        widths = self._widths(int(np.prod(images.train_images.shape[1:])), len(images.classes))
        runs = []
        for optimizer, size, seed in itertools.product(self.optimizers, self.batch_sizes, self.seeds):
            steps = self.sweep_steps + len(FACTORS) * self.epochs * math.ceil(count / size)
            cost = training_cost(widths, size, steps, evaluated=len(FACTORS) * split.val_count)
            settings = {"optimizer": optimizer, "batch_size": size}
            runs.append(Run(f"{OPTIMIZERS[optimizer][0]} with batches of {size}", seed, settings, cost))
        return runs

    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        images = context.images(self.dataset)
        loaders = make_loaders(images, self._split(context), run.settings["batch_size"], run.seed, context.device)
        model, optimizer = self._start(run, loaders, context, lr=LOWEST)
        sweep = lr_find(model, loaders.train, optimizer, lowest=LOWEST, highest=HIGHEST, steps=self.sweep_steps)
        figures: dict[str, Any] = {
            "rates": sweep.rates,
            "losses": sweep.losses,
            "smoothed": sweep.smoothed,
            "stopped": sweep.stopped,
            "suggestion": sweep.suggestion,
            "minimum": sweep.suggestion_minimum,
            "steepest": sweep.suggestion_steepest,
            "trained": [],
        }
        for factor in FACTORS if sweep.suggestion is not None else ():
            figures["trained"].append(self._train(run, loaders, context, lr=factor * (sweep.suggestion or 0.0)))
            context.report(len(figures["trained"]) / len(FACTORS))
        return figures

    def _start(self, run: Run, loaders: Loaders, context: Context, lr: float) -> tuple[nn.Sequential, Any]:
        """The same network and random state for every learning rate."""
        generator.manual_seed(run.seed)
        first, second = self._widths(loaders.inputs, loaders.classes)[1:3]
        model = nn.Sequential(
            nn.Linear(loaders.inputs, first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, loaders.classes),
        ).to(context.device)
        _, name, arguments = OPTIMIZERS[run.settings["optimizer"]]
        return model, getattr(optim, name)(model.parameters(), lr=lr, **arguments)

    def _train(self, run: Run, loaders: Loaders, context: Context, lr: float) -> dict[str, Any]:
        model, optimizer = self._start(run, loaders, context, lr)
        outcome = train(Context(), model, loaders.train, epochs=self.epochs, optimizer=optimizer)
        measured: tuple[float | None, float | None] = (None, None)
        if outcome.diverged_at is None:
            measured = evaluate(model, loaders.val)
        return {"lr": lr, "val_loss": measured[0], "val_accuracy": measured[1], "diverged_at": outcome.diverged_at}

    def table(self, results: Sequence[Result]) -> Table:
        tenths = ("a tenth of it", "it", "ten times it")
        return Table(
            [
                Column("optimizer", "optimizer"),
                Column("batch_size", "batch"),
                Column("suggestion", "suggestion", form="g"),
                Column("lowest", "lowest", form="g"),
                Column("highest", "highest", form="g"),
                *(Column(f"val_loss_{i}", f"validation loss with {name}", digits=3) for i, name in enumerate(tenths)),
                Column("val_accuracy", "validation accuracy with it (%)", factor=100),
                Column("verdict", "the suggestion is"),
            ],
            [_row(group) for group in by_variant(results).values()],
        )

    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        from minidl.lab import learning_rates_pictures

        return learning_rates_pictures.draw(self, results)

    def page(self, results: Sequence[Result]) -> list[str]:
        from minidl.lab import learning_rates_page

        return learning_rates_page.paragraphs(self, results)


def losses_with(group: Sequence[Result], place: int) -> list[float]:
    """The validation losses with FACTORS[place] times the suggestion, one per seed; nan where training diverged, or no
    rate was suggested."""
    trained = [each.figures["trained"] for each in group]
    values = [each[place]["val_loss"] if each else None for each in trained]
    return [math.nan if value is None else value for value in values]


Verdict = Literal["better", "worse", "equal", "diverged", "unknown"]
WORDS: dict[Verdict, str] = {
    "better": "better than",
    "worse": "worse than",
    "equal": "no different from",
    "diverged": "better than the diverging",
    "unknown": "not comparable with",
}


def verdict(group: Sequence[Result], place: int) -> Verdict:
    """How the suggestion compares with FACTORS[place] times it; "diverged": a run with the latter did; "unknown": a run
    with the suggestion did, or nothing was suggested, or there is but one seed."""
    own, other = losses_with(group, SUGGESTED), losses_with(group, place)
    if any(math.isnan(value) for value in own):
        return "unknown"
    if any(math.isnan(value) for value in other):
        return "diverged"
    if len(group) < 2:
        return "unknown"
    found: dict[str, Verdict] = {"lower": "better", "higher": "worse", "equal": "equal"}
    return found[compare(own, other)]


def _row(group: Sequence[Result]) -> dict[str, Any]:
    settings = group[0].run.settings
    suggestions = [each.figures["suggestion"] for each in group]
    row: dict[str, Any] = {
        "optimizer": OPTIMIZERS[settings["optimizer"]][0],
        "batch_size": settings["batch_size"],
        "verdict": f"{WORDS[verdict(group, 0)]} a tenth, {WORDS[verdict(group, 2)]} ten times",
    }
    if None in suggestions:
        return row | {"verdict": "missing: the loss never fell"}
    row |= {"suggestion": math.exp(float(np.mean(np.log(suggestions))))}  # of rates, the geometric mean
    row |= {"lowest": min(suggestions), "highest": max(suggestions)}
    row |= {f"val_loss_{i}": spread_of(losses_with(group, i)) for i in range(len(FACTORS))}
    accuracies = [each.figures["trained"][SUGGESTED]["val_accuracy"] for each in group]
    return row | {"val_accuracy": spread_of(accuracies)}
