"""BestEpoch: what follows a figure from epoch to epoch and knows which one was the best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from minidl.training.callbacks.callback import Callback
from minidl.training.history import EpochFigures

if TYPE_CHECKING:
    from minidl.training.loop import Training

FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
Mode = Literal["min", "max"]


class BestEpoch(Callback):
    """The base of callbacks that act on the best epoch by a figure: `best` is its value, `best_epoch` its number.

    Args:
        monitor: train_loss, train_accuracy, val_loss, val_accuracy, or the name of one of `fit`'s metrics.
        mode: "min" or "max", whether the figure is to fall or to rise; a metric needs it, losses fall and accuracies
            rise without.
        min_delta: an improvement is more than this.
    """

    def __init__(self, monitor: str, mode: Mode | None, min_delta: float) -> None:
        if mode not in (None, "min", "max"):
            raise ValueError(f"{type(self).__name__}: mode must be 'min' or 'max', got {mode!r}")
        self.monitor = monitor
        self.mode = mode
        self.min_delta = min_delta
        self.best: float | None = None
        self.best_epoch = 0

    def require_measured(self, training: Training) -> None:
        """ValueError where a run will not measure the figure, or nobody says which way is better."""
        name, known = type(self).__name__, (*FIGURES, *training.metrics)
        if self.monitor not in known:
            raise ValueError(f"{name}: monitor must be one of {', '.join(known)}, got {self.monitor!r}")
        if self.monitor.startswith("val_") and training.val_data is None:
            raise ValueError(f"{name}: {self.monitor} is not measured in this run; pass val_data to fit")
        if self.monitor in training.metrics and self.mode is None:
            raise ValueError(f"{name}: say mode='min' or mode='max' for the metric {self.monitor!r}")

    def is_best(self, figures: EpochFigures) -> bool:
        """Whether this epoch is better than all before it; it is the best from then on."""
        value = figures.as_row()[self.monitor]
        if value is None:
            raise ValueError(f"{type(self).__name__}: {self.monitor} is not measured: targets are not class labels")
        rises = self.mode == "max" or (self.mode is None and "accuracy" in self.monitor)
        gain = 0.0 if self.best is None else value - self.best if rises else self.best - value
        if self.best is not None and not gain > self.min_delta:
            return False
        self.best, self.best_epoch = value, figures.epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.best, self.best_epoch = state["best"], state["best_epoch"]
