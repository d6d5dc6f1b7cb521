"""What the estimators' parameters may be, and what in minidl they stand for."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from minidl import backends, nn, optim

# scikit-learn's four names, then those of nn.functional.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
}
# Name -> class, and which of the estimators' parameters it takes.
SOLVERS: dict[str, tuple[type[optim.Optimizer], tuple[str, ...]]] = {
    "sgd": (optim.SGD, ("momentum", "nesterov")),
    "adam": (optim.Adam, ("betas", "eps")),
    "adamw": (optim.AdamW, ("betas", "eps")),
    "nadam": (optim.NAdam, ("betas", "eps")),
    "radam": (optim.RAdam, ("betas", "eps")),
    "adamax": (optim.Adamax, ("betas", "eps")),
    "rmsprop": (optim.RMSprop, ("eps",)),
    "adagrad": (optim.Adagrad, ("eps",)),
    "adadelta": (optim.Adadelta, ("eps",)),
}
LEARNING_RATES = ("constant", "invscaling", "adaptive")


@dataclass(frozen=True)
class Range:
    """The numbers that a parameter may be."""

    lowest: float
    highest: float = math.inf
    has_lowest: bool = True
    has_highest: bool = False
    is_whole: bool = False

    def holds(self, value: float) -> bool:
        """Whether the number is one of them; nan never is."""
        above = self.lowest <= value if self.has_lowest else self.lowest < value
        return above and (value <= self.highest if self.has_highest else value < self.highest)

    def __str__(self) -> str:
        kind = "a whole number " if self.is_whole else ""
        above = f"{'of at least' if self.is_whole else 'at least'} {self.lowest:g}"
        parts = [above if self.has_lowest else f"above {self.lowest:g}"]
        if self.highest < math.inf:
            parts.append(f"{'at most' if self.has_highest else 'below'} {self.highest:g}")
        return kind + " and ".join(parts)


RANGES = {
    "alpha": Range(0),
    "learning_rate_init": Range(0, has_lowest=False),
    "power_t": Range(0),
    "max_iter": Range(1, is_whole=True),
    "tol": Range(0),
    "momentum": Range(0, 1, has_highest=True),
    "validation_fraction": Range(0, 1, has_lowest=False),
    "beta_1": Range(0, 1),
    "beta_2": Range(0, 1),
    "epsilon": Range(0, has_lowest=False),
    "n_iter_no_change": Range(1, is_whole=True),
    "dropout": Range(0, 1),
    "batch_size": Range(1, is_whole=True),
}


def check_parameters(estimator: Any) -> None:
    """ValueError or TypeError for a parameter that is out of its range or a name that is not known; ImportError for a
    device that cannot be used."""
    name = type(estimator).__name__
    if estimator.solver == "lbfgs":
        raise ValueError(
            f"{name}: solver='lbfgs' is not in minidl, which trains by mini-batches; use 'adam', "
            "on small data with learning_rate_init=0.01 and a larger max_iter"
        )
    for parameter, known in (
        ("activation", tuple(ACTIVATIONS)),
        ("solver", tuple(SOLVERS)),
        ("learning_rate", LEARNING_RATES),
    ):
        value = getattr(estimator, parameter)
        if value not in known:
            raise ValueError(f"{name}: {parameter} must be one of {', '.join(known)}, got {value!r}")
    for parameter, allowed in RANGES.items():
        value = getattr(estimator, parameter)
        if (parameter, value) not in (("batch_size", "auto"), ("n_iter_no_change", math.inf)):
            _require_number(name, parameter, value, allowed)
    hidden_sizes(estimator)
    backends.load(estimator.device)


def hidden_sizes(estimator: Any) -> tuple[int, ...]:
    """The widths of the hidden layers; one number means one layer."""
    sizes = estimator.hidden_layer_sizes
    sizes = tuple(sizes) if hasattr(sizes, "__iter__") and not isinstance(sizes, str) else (sizes,)
    for size in sizes:
        _require_number(type(estimator).__name__, "hidden_layer_sizes", size, Range(1, is_whole=True))
    return tuple(int(size) for size in sizes)


def batch_size_for(estimator: Any, samples: int) -> int:
    """The samples of a step; warns where `batch_size` is more than there are.

    Raises ValueError where batch norm would meet a batch of one sample.
    """
    name, wanted = type(estimator).__name__, estimator.batch_size
    if estimator.batch_norm and min(samples, 2 if wanted == "auto" else wanted) < 2:
        raise ValueError(
            f"{name}: batch_norm needs batches of at least 2 samples, got n_samples={samples}, batch_size={wanted}"
        )
    if wanted == "auto":
        return min(200, samples)
    if wanted > samples:
        warnings.warn(f"batch_size={wanted} is more than the {samples} samples, which make one batch", stacklevel=4)
    return min(int(wanted), samples)


def _require_number(estimator: str, parameter: str, value: Any, allowed: Range) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral if allowed.is_whole else Real):
        raise TypeError(f"{estimator}: {parameter} must be {allowed}, got {value!r}")
    if not allowed.holds(float(value)):
        raise ValueError(f"{estimator}: {parameter} must be {allowed}, got {value!r}")


def make_optimizer(model: nn.Module, solver: str, options: dict[str, Any]) -> optim.Optimizer:
    """The solver's optimizer; group 0 holds the weight matrices, on which alone `alpha` acts."""
    kind, taken = SOLVERS[solver]
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.0}, {"params": vectors, "weight_decay": 0.0}]
    arguments = {name: value for name, value in options.items() if name in (*taken, "lr")}
    return kind(groups, **arguments)


def optimizer_options(estimator: Any) -> dict[str, Any]:
    """The estimator's parameters under the names of `optim`."""
    return {
        "lr": float(estimator.learning_rate_init),
        "momentum": float(estimator.momentum),
        "nesterov": bool(estimator.nesterovs_momentum) and estimator.momentum > 0,
        "betas": (float(estimator.beta_1), float(estimator.beta_2)),
        "eps": float(estimator.epsilon),
    }
