"""What `minidl train` trains: the options that define a run, their limits and their defaults."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from minidl.backends import MATMUL_PRECISIONS
from minidl.data import DATASET_NAMES

ACTIVATIONS = {
    "relu": "ReLU",
    "leaky-relu": "LeakyReLU",
    "elu": "ELU",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
}
INITS = ("default", "xavier-uniform", "xavier-normal", "kaiming-uniform", "kaiming-normal", "orthogonal")
# Name -> class in minidl.optim, learning rate where --lr is not given, further arguments.
OPTIMIZERS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "sgd": ("SGD", 0.1, {"momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", 6e-3, {}),
    "adamw": ("AdamW", 6e-3, {}),
    "adagrad": ("Adagrad", 2e-2, {}),
    "rmsprop": ("RMSprop", 1e-3, {}),
    "adadelta": ("Adadelta", 1.0, {}),
    "adamax": ("Adamax", 4e-3, {}),
    "nadam": ("NAdam", 3e-3, {}),
    "radam": ("RAdam", 1e-2, {}),
}
SCHEDULES = ("one-cycle", "cosine", "linear", "constant")
# Few, small images want small batches and many passes.
DATASET_DEFAULTS: dict[str, dict[str, Any]] = {"digits": {"epochs": 30, "batch_size": 32}}
DEFAULT_VAL_FRACTION = 0.1


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes; kept in its checkpoint."""

    dataset: str = "mnist"
    hidden: tuple[int, ...] = (256, 128)
    activation: str = "gelu"
    init: str = "default"
    dropout: float = 0.2
    batch_norm: bool = True
    optimizer: str = "adamw"
    lr: float = 6e-3
    weight_decay: float = 0.01
    schedule: str = "one-cycle"
    epochs: int = 10
    batch_size: int = 256
    val_fraction: float = 0.0
    patience: int | None = None
    seed: int = 0
    matmul_precision: str = "highest"

    def __post_init__(self) -> None:
        for option, known in (
            ("dataset", DATASET_NAMES),
            ("activation", tuple(ACTIVATIONS)),
            ("init", INITS),
            ("optimizer", tuple(OPTIMIZERS)),
            ("schedule", SCHEDULES),
            ("matmul-precision", MATMUL_PRECISIONS),
        ):
            value = getattr(self, option.replace("-", "_"))
            _require(option, value in known, f"must be one of {', '.join(known)}", value)
        _require("hidden", all(width >= 1 for width in self.hidden), "must be widths of at least 1", self.hidden)
        _require("dropout", 0 <= self.dropout < 1, "must be at least 0 and below 1", self.dropout)
        _require("lr", 0 < self.lr < float("inf"), "must be above 0", self.lr)
        _require("weight-decay", 0 <= self.weight_decay < float("inf"), "must be at least 0", self.weight_decay)
        _require("epochs", self.epochs >= 1, "must be at least 1", self.epochs)
        _require("batch-size", self.batch_size >= 1, "must be at least 1", self.batch_size)
        too_small = self.batch_norm and bool(self.hidden) and self.batch_size < 2
        _require("batch-size", not too_small, "must be at least 2 with batch norm", self.batch_size)
        _require("val-fraction", 0 <= self.val_fraction < 1, "must be at least 0 and below 1", self.val_fraction)
        _require("patience", self.patience is None or self.patience >= 1, "must be at least 1", self.patience)
        measured = self.patience is None or self.val_fraction > 0
        _require("patience", measured, "needs a --val-fraction above 0 to measure", self.patience)
        _require("seed", 0 <= self.seed < 2**63, "must be at least 0 and below 2^63", self.seed)

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> RunConfig:
        """Options as given, None where the default is wanted; defaults depend on the data set and the optimizer."""
        given = {name: value for name, value in options.items() if value is not None}
        defaults: dict[str, Any] = dict(DATASET_DEFAULTS.get(given.get("dataset", "mnist"), {}))
        if given.get("optimizer") in OPTIMIZERS:
            defaults["lr"] = OPTIMIZERS[given["optimizer"]][1]
        if "patience" in given:
            defaults["val_fraction"] = DEFAULT_VAL_FRACTION
        return cls(**{**defaults, **given})

    def with_dataset(self, dataset: str, options: dict[str, Any]) -> RunConfig:
        """The same options for another data set, with that one's defaults where none were given."""
        defaults = DATASET_DEFAULTS.get(dataset, {})
        return replace(self, dataset=dataset, **{k: v for k, v in defaults.items() if options.get(k) is None})

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> RunConfig:
        return cls(**{**fields, "hidden": tuple(fields["hidden"])})


def _require(option: str, holds: bool, wanted: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"--{option} {wanted}, got {value!r}")


def parse_hidden(text: str) -> tuple[int, ...]:
    """ "256,128" -> (256, 128); "" or "none" -> (), which is logistic regression."""
    if text.strip().lower() in ("", "none", "0"):
        return ()
    parts = [part.strip() for part in text.split(",")]
    _require("hidden", all(part.isdigit() for part in parts), "must be widths such as 256,128, or none", text)
    return tuple(int(part) for part in parts)
