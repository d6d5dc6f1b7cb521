"""`minidl lab regularization`: what keeps a network from learning its training images by heart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import generator, nn, optim
from minidl.data import DataLoader
from minidl.lab.cost import training_cost
from minidl.lab.experiment import Context, Experiment, Result, Run, by_variant
from minidl.lab.images import EVALUATION_BATCH, Split, make_loaders
from minidl.lab.outcome import train
from minidl.lab.settings import VAL_SHARE, require, require_common, require_known, require_positive
from minidl.lab.statistics import spread_of
from minidl.lab.table import Column, Table
from minidl.training import Callback, EarlyStopping, EpochFigures, Training, evaluate, l1_penalty

MOMENTUM = 0.9
PATIENCE = 10  # early stopping waits for a tenth of the epochs, 3 at least


@dataclass(frozen=True)
class Regularizer:
    """A combination: what tables call it, and which means it takes; their strengths are the experiment's."""

    title: str
    l2: bool = False
    l1_term: bool = False
    l1_step: bool = False
    max_norm: bool = False
    dropout: float = 0.0
    early_stopping: bool = False
    batch_norm: bool = False


METHODS = {
    "none": Regularizer("none"),
    "l2": Regularizer("L2: weight decay", l2=True),
    "l1": Regularizer("L1: term of the loss", l1_term=True),
    "l1-proximal": Regularizer("L1: proximal step", l1_step=True),
    "max-norm": Regularizer("max-norm", max_norm=True),
    "dropout-0.2": Regularizer("dropout 0.2", dropout=0.2),
    "dropout-0.5": Regularizer("dropout 0.5", dropout=0.5),
    "early-stopping": Regularizer("early stopping", early_stopping=True),
    "batch-norm": Regularizer("batch norm", batch_norm=True),
    "dropout-max-norm": Regularizer("dropout 0.5 + max-norm", dropout=0.5, max_norm=True),
    "dropout-l2": Regularizer("dropout 0.2 + L2", dropout=0.2, l2=True),
    "batch-norm-dropout": Regularizer("batch norm + dropout 0.2", batch_norm=True, dropout=0.2),
}
QUICK: dict[str, Any] = {"train_counts": (1000, 5000), "steps": 200, "width": 128}


@dataclass(frozen=True)
class Regularization(Experiment):
    """Two hidden ReLU layers, SGD with momentum, as many steps for few images as for many.

    `train_counts` are numbers of images, None for all that are not held out. `l1` is the factor of sum |w| as a term of
    the loss; momentum multiplies what a term of the loss does by 1 / (1 - 0.9), a proximal step comes after it, so that
    the latter has l1 / (1 - 0.9).

    >>> Regularization(max_norm=0.0)
    Traceback (most recent call last):
    ...
    ValueError: max_norm must be above 0 and finite, got 0.0
    """

    name = "regularization"
    title = "Regularization: how far training and validation come apart"
    dataset: str = "mnist"
    seeds: tuple[int, ...] = (0, 1, 2)
    methods: tuple[str, ...] = tuple(METHODS)
    train_counts: tuple[int | None, ...] = (1000, 10000, None)
    width: int = 256
    steps: int = 2000
    batch_size: int = 100
    lr: float = 0.05
    l2: float = 1e-3
    l1: float = 2e-5
    max_norm: float = 1.0

    def __post_init__(self) -> None:
        require_common(self.dataset, self.seeds)
        require_known("methods", self.methods, METHODS)
        require("train_counts", bool(self.train_counts), "hold at least one number", self.train_counts)
        for count in self.train_counts:
            require("train_counts", count is None or count >= 2, "be at least 2, for batch norm", count)
        unique = len(set(self.train_counts)) == len(self.train_counts)
        require("train_counts", unique, "differ from one another", self.train_counts)
        require("batch_size", self.batch_size >= 2, "be at least 2, for batch norm", self.batch_size)
        for name in ("width", "steps"):
            require(name, getattr(self, name) >= 1, "be at least 1", getattr(self, name))
        for name in ("lr", "l2", "l1", "max_norm"):
            require_positive(name, getattr(self, name))

    def prepare(self, context: Context) -> None:
        available = len(context.images(self.dataset).train_labels)
        for count in self.train_counts:
            Split(count, available // VAL_SHARE).indices(available, self.seeds[0])

    def _count(self, train_count: int | None, context: Context) -> int:
        available = len(context.images(self.dataset).train_labels)
        return available - available // VAL_SHARE if train_count is None else train_count

    def epochs_of(self, count: int) -> int:
        """Passes over so many images that take about `steps` steps."""
        return max(1, round(self.steps / self._steps_per_epoch(count)))

    def _has_one_left(self, count: int) -> bool:
        """Whether the last batch would hold one image, which has no variance for batch norm to divide by."""
        return count > self.batch_size and count % self.batch_size == 1

    def _steps_per_epoch(self, count: int) -> int:
        return math.ceil(count / self.batch_size) - self._has_one_left(count)

    def runs(self, context: Context) -> list[Run]:
        images = context.images(self.dataset)
        held_out = len(images.train_labels) // VAL_SHARE
        widths = (int(np.prod(images.train_images.shape[1:])), self.width, self.width, len(images.classes))
        runs = []
        for train_count, method, seed in itertools.product(self.train_counts, self.methods, self.seeds):
            count = self._count(train_count, context)
            epochs = self.epochs_of(count)
            steps = epochs * self._steps_per_epoch(count)
            cost = training_cost(widths, self.batch_size, steps, evaluated=epochs * (held_out + count))
            settings = {"method": method, "count": count}
            runs.append(Run(f"{METHODS[method].title}, {count:,} images", seed, settings, cost))
        return runs

    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        generator.manual_seed(run.seed)
        method, count = METHODS[run.settings["method"]], run.settings["count"]
        images = context.images(self.dataset)
        split = Split(count, len(images.train_labels) // VAL_SHARE)
        loaders = make_loaders(
            images, split, self.batch_size, run.seed, context.device, drop_last=self._has_one_left(count)
        )
        model = build_model(method, loaders.inputs, self.width, loaders.classes).to(context.device)
        epochs = self.epochs_of(count)
        learnt = DataLoader(loaders.train.dataset, EVALUATION_BATCH)
        probe, stopping = _TrainingLoss(learnt), EarlyStopping(patience=max(3, epochs // PATIENCE))
        outcome = train(
            context,
            model,
            loaders.train,
            epochs=epochs,
            optimizer=self._optimizer(method, model),
            val_data=loaders.val,
            callbacks=[probe, *([stopping] if method.early_stopping else [])],
            penalty=l1_penalty(self.l1) if method.l1_term else None,
        )
        history = outcome.history.epochs
        figures: dict[str, Any] = {
            "steps_per_epoch": len(loaders.train),
            "train_losses": probe.losses,
            "val_losses": [each.val_loss for each in history],
            "val_accuracies": [each.val_accuracy for each in history],
            "best_epoch": stopping.best_epoch if method.early_stopping else None,
            "lowest_epoch": min(history, key=lambda each: each.val_loss or math.inf).epoch if history else None,
            "diverged_at": outcome.diverged_at,
            "zeros": share_of_zeros(model),
            "largest_norm": largest_row_norm(model),
        }
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy")
        figures |= dict.fromkeys(names)
        if outcome.diverged_at is None:
            measured = (evaluate(model, data) for data in (learnt, loaders.val, loaders.test))
            figures |= dict(zip(names, itertools.chain(*measured), strict=True))
        return figures

    def _optimizer(self, method: Regularizer, model: nn.Module) -> Any:
        """Biases and what belongs to batch norm are left alone."""
        matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
        group = {
            "params": matrices,
            "weight_decay": self.l2 if method.l2 else 0.0,
            "l1_decay": self.l1 / (1 - MOMENTUM) if method.l1_step else 0.0,
            "max_norm": self.max_norm if method.max_norm else None,
        }
        return optim.SGD([group, {"params": vectors}], lr=self.lr, momentum=MOMENTUM)

    def table(self, results: Sequence[Result]) -> Table:
        return Table(
            [
                Column("count", "images"),
                Column("method", "regularization"),
                Column("train_loss", "training loss", digits=4),
                Column("val_loss", "validation loss", digits=4),
                Column("gap", "gap", digits=4),
                Column("val_accuracy", "validation accuracy (%)", factor=100),
                Column("test_accuracy", "test accuracy (%)", factor=100),
                Column("best_epoch", "epoch chosen", digits=0),
                Column("zeros", "weights exactly 0 (%)", digits=1, factor=100),
                Column("largest_norm", "largest row norm"),
            ],
            [_row(group) for group in by_variant(results).values()],
        )

    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        from minidl.lab import regularization_pictures

        return regularization_pictures.draw(self, results)

    def page(self, results: Sequence[Result]) -> list[str]:
        from minidl.lab import regularization_page

        return regularization_page.paragraphs(self, results)


def build_model(method: Regularizer, inputs: int, width: int, classes: int) -> nn.Sequential:
    """Linear, batch norm if asked for, ReLU and dropout twice, then a linear layer to the classes."""
    layers: list[nn.Module] = []
    for fan_in in (inputs, width):
        layers.append(nn.Linear(fan_in, width, bias=not method.batch_norm))
        layers += [nn.BatchNorm1d(width)] if method.batch_norm else []
        layers.append(nn.ReLU())
        layers += [nn.Dropout(method.dropout)] if method.dropout else []
    return nn.Sequential(*layers, nn.Linear(width, classes))


def _matrices(model: nn.Module) -> list[Any]:
    return [parameter.detach().cpu().numpy() for parameter in model.parameters() if parameter.dim() > 1]


def share_of_zeros(model: nn.Module) -> float:
    """Of all elements of weight matrices, those that are exactly 0."""
    matrices = _matrices(model)
    zeros: int = sum(int((weight == 0).sum()) for weight in matrices)
    return zeros / sum(int(weight.size) for weight in matrices)


def largest_row_norm(model: nn.Module) -> float:
    """The largest Euclidean norm of the weights into one unit, computed in float64."""
    return max(float(np.linalg.norm(weight.astype(np.float64), axis=1).max()) for weight in _matrices(model))


def gap(result: Result) -> float:
    """Validation loss minus training loss, both without dropout; nan for a run that diverged."""
    figures = result.figures
    if figures["val_loss"] is None or figures["train_loss"] is None:
        return math.nan
    return float(figures["val_loss"] - figures["train_loss"])


class _TrainingLoss(Callback):
    """The loss on the training images after every epoch, without dropout and penalties, as validation has it."""

    def __init__(self, data: DataLoader) -> None:
        self.data = data
        self.losses: list[float] = []

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        self.losses.append(evaluate(training.model, self.data)[0])


def _row(group: Sequence[Result]) -> dict[str, Any]:
    settings = group[0].run.settings
    keys = ("train_loss", "val_loss", "val_accuracy", "test_accuracy", "zeros", "largest_norm")
    row: dict[str, Any] = {key: spread_of(each.figures[key] for each in group) for key in keys}
    chosen = [each.figures["best_epoch"] for each in group]
    return row | {
        "count": f"{settings['count']:,}",
        "method": METHODS[settings["method"]].title,
        "gap": spread_of(gap(each) for each in group),
        "best_epoch": None if None in chosen else spread_of(chosen),
    }
