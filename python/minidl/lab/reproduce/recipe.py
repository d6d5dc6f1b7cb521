"""A recipe: everything but data and seed that decides what a network of a paper becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minidl import nn, optim
from minidl.data import ImageSet
from minidl.generator import manual_seed
from minidl.lab.cost import Cost, training_cost
from minidl.lab.experiment import Context
from minidl.lab.images import Split, make_loaders
from minidl.lab.outcome import train
from minidl.lab.settings import require, require_known, require_positive, require_whole
from minidl.training import evaluate

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Recipe:
    """A multilayer perceptron with dropout, trained on pixels in [0, 1]; the learning rate falls linearly to 0.

    Args:
        hidden: widths of the hidden layers.
        activation: "relu" (Kaiming's initial weights) or "tanh" (Xavier's).
        input_dropout, dropout: the probability of leaving out an input, or a hidden unit.
        max_norm: the largest norm of the weights that enter a unit; None for any.
        optimizer: "sgd" (with `momentum`) or "adam".
        lr, weight_decay: of the optimizer; weight decay acts on matrices only.
        warmup: the share of all steps in which the learning rate first rises to `lr`, linearly.

    >>> Recipe((800,), lr=0.1, epochs=20).text()
    'ReLU; SGD, momentum 0, lr 0.1 falling to 0, batches of 128, 20 epochs'
    """

    hidden: tuple[int, ...]
    lr: float
    epochs: int
    optimizer: str = "sgd"
    activation: str = "relu"
    input_dropout: float = 0.0
    dropout: float = 0.0
    max_norm: float | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 128
    warmup: float = 0.0

    def __post_init__(self) -> None:
        for width in self.hidden:
            require_whole("hidden", [width], 1, 100_000)
        require_known("activation", [self.activation], ACTIVATIONS)
        require_known("optimizer", [self.optimizer], OPTIMIZERS)
        require_positive("lr", self.lr)
        require_whole("epochs", [self.epochs], 1, 100_000)
        for name in ("input_dropout", "dropout", "momentum", "warmup"):
            require(name, 0 <= getattr(self, name) < 1, "be at least 0 and below 1", getattr(self, name))
        if self.max_norm is not None:
            require_positive("max_norm", self.max_norm)
        require("weight_decay", 0 <= self.weight_decay <= 1, "be 0 to 1", self.weight_decay)
        require_whole("batch_size", [self.batch_size], 1, 60_000)

    def text(self) -> str:
        """The recipe on one line; what is not used is not named."""
        parts = ["ReLU" if self.activation == "relu" else self.activation]
        if self.input_dropout or self.dropout:
            parts.append(f"dropout {self.input_dropout:g} of inputs, {self.dropout:g} of hidden units")
        if self.max_norm is not None:
            parts.append(f"max-norm {self.max_norm:g}")
        name = f"SGD, momentum {self.momentum:g}" if self.optimizer == "sgd" else "Adam"
        training = f"{name}, lr {self.lr:g} falling to 0"
        if self.warmup:
            training += f" after rising for {100 * self.warmup:g} % of the steps"
        if self.weight_decay:
            training += f", weight decay {self.weight_decay:g}"
        return "; ".join([*parts, f"{training}, batches of {self.batch_size}, {self.epochs} epochs"])

    def build_model(self, inputs: int, classes: int) -> nn.Sequential:
        """Linear, activation and dropout per hidden layer, dropout of the inputs first."""
        layers: list[nn.Module] = [nn.Dropout(self.input_dropout)] if self.input_dropout else []
        for width in self.hidden:
            layers += [nn.Linear(inputs, width), ACTIVATIONS[self.activation]()]
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
            inputs = width
        layers.append(nn.Linear(inputs, classes))
        for layer in layers:
            if isinstance(layer, nn.Linear):
                if self.activation == "relu":
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                else:
                    nn.init.xavier_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)

    def build_optimizer(self, model: nn.Module) -> optim.SGD | optim.Adam:
        """Weight decay and max-norm act on matrices only."""
        matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
        of_matrices = {"params": matrices, "weight_decay": self.weight_decay, "max_norm": self.max_norm}
        groups = [of_matrices, {"params": vectors}]
        if self.optimizer == "adam":
            return optim.Adam(groups, lr=self.lr)
        return optim.SGD(groups, lr=self.lr, momentum=self.momentum)

    def rate_factor(self, step: int, steps: int) -> float:
        """What the learning rate is times in a step, from 0 on: up to 1 in the warm-up, then down to 0, linearly."""
        rising = round(self.warmup * steps)
        if step < rising:
            return (step + 1) / (rising + 1)
        return max(0.0, (steps - step) / (steps - rising))

    def cost(self, images: ImageSet, count: int) -> Cost:
        """Of a training on `count` images."""
        inputs = images.train_images[0].size
        widths = (inputs, *self.hidden, len(images.classes))
        return training_cost(widths, self.batch_size, self.epochs * -(-count // self.batch_size))

    def train(self, images: ImageSet, seed: int, held_out: int, context: Context) -> dict[str, Any]:
        """Trains once and measures the error (a share, None for a run that diverged) once, at the end.

        It is the error of the test images, or, where `held_out` training images were held out, the one of these; the
        test images are then not looked at.
        """
        manual_seed(seed)
        split = Split(None, held_out)
        loaders = make_loaders(images, split, self.batch_size, seed, context.device, is_standardized=False)
        model = self.build_model(loaders.inputs, loaders.classes).to(context.device)
        optimizer = self.build_optimizer(model)
        steps = self.epochs * len(loaders.train)
        scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate_factor(step, steps))
        outcome = train(context, model, loaders.train, epochs=self.epochs, optimizer=optimizer, scheduler=scheduler)
        losses = [figures.train_loss for figures in outcome.history.epochs]
        if outcome.diverged_at is not None:
            return {"diverged_at_step": outcome.diverged_at, "error": None, "losses": losses}
        _, accuracy = evaluate(model, loaders.val if held_out else loaders.test)
        return {"diverged_at_step": None, "error": 1 - (accuracy or 0.0), "losses": losses}
