"""What ends a run before its last epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from minidl.training.callbacks.best_epoch import BestEpoch, Mode
from minidl.training.callbacks.callback import Callback
from minidl.training.evaluation import Evaluator
from minidl.training.history import EpochFigures

if TYPE_CHECKING:
    from minidl.training.loop import Training


class EarlyStopping(BestEpoch):
    """Ends the run when a figure has not improved for `patience` epochs, and puts the best weights back.

    Args:
        monitor: train_loss, train_accuracy, val_loss, val_accuracy, or the name of one of `fit`'s metrics.
        patience: epochs without improvement that are waited for.
        min_delta: an improvement is more than this.
        restore_best: whether the weights and buffers of the best epoch are put back at the end.
        mode: "min" or "max", whether the figure is to fall or to rise; needed for a metric only.

    Raises ValueError, before the first step, for a figure that the run does not measure.

    >>> from minidl import training
    >>> stopping = training.EarlyStopping("val_accuracy", patience=5)
    >>> stopping.patience, stopping.best_epoch
    (5, 0)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: Mode | None = None,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be at least 1, got {patience}")
        self.patience = patience
        self.restore_best = restore_best
        self.best_model: dict[str, Any] | None = None

    def on_train_begin(self, training: Training) -> None:
        self.require_measured(training)

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        if self.is_best(figures):
            if self.restore_best:
                self.best_model = {key: tensor.clone() for key, tensor in training.model.state_dict().items()}
        elif figures.epoch - self.best_epoch >= self.patience:
            training.should_stop = True

    def on_train_end(self, training: Training) -> None:
        if self.best_model is not None:
            training.model.load_state_dict(self.best_model)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best_model": self.best_model}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.best_model = state.get("best_model")


class StopAtAccuracy(Callback):
    """Ends the run after the epoch with which the accuracy on `data` reaches `accuracy`: to time how long that takes.

    What `data` has decided on, it cannot judge any more: figures of such a run say nothing about new data. `measured`
    is the loss and the accuracy after the last epoch, None before the first.

    >>> from minidl import training
    >>> training.StopAtAccuracy([], 98)
    Traceback (most recent call last):
    ValueError: StopAtAccuracy: accuracy must be above 0 and at most 1, got 98
    """

    measured: tuple[float, float] | None = None

    def __init__(self, data: Iterable[Any], accuracy: float) -> None:
        if not 0 < accuracy <= 1:
            raise ValueError(f"StopAtAccuracy: accuracy must be above 0 and at most 1, got {accuracy}")
        self.data = data
        self.accuracy = accuracy

    def on_train_begin(self, training: Training) -> None:
        self._evaluator = Evaluator(training.model, self.data, training.loss)

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        measured = self._evaluator.measure()
        if measured.accuracy is None:
            raise ValueError("StopAtAccuracy: these targets are not class labels, so there is no accuracy")
        self.measured = measured.loss, measured.accuracy
        if measured.accuracy >= self.accuracy:
            training.should_stop = True
