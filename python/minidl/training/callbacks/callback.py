"""Callback: the places at which fit calls what is hooked into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minidl.training.history import EpochFigures

if TYPE_CHECKING:
    from minidl.training.loop import Training


class Callback:
    """Called by `fit` at fixed places; a subclass overrides what it needs.

    `training` gives `model`, `optimizer`, `history`, `epoch` (finished ones), `step` (in this epoch), `total_steps`,
    `epoch_loss`, `epoch_accuracy`; setting `training.should_stop` ends the run after the epoch. A step is one batch, or
    the `accumulate` batches of which `fit` sums the gradients.

    >>> import minidl
    >>> from minidl import nn, optim, training
    >>> class Announce(training.Callback):
    ...     def on_epoch_end(self, training, figures):
    ...         print(f"epoch {figures.epoch} of {training.epochs}")
    >>> model = nn.Linear(2, 1)
    >>> batches = [(minidl.ones(4, 2), minidl.zeros(4, 1))]
    >>> history = training.fit(
    ...     model, batches, epochs=2, optimizer=optim.SGD(model.parameters(), lr=0.1),
    ...     loss=nn.functional.mse_loss, callbacks=[Announce()],
    ... )
    epoch 1 of 2
    epoch 2 of 2
    """

    @property
    def follows_every_step(self) -> bool:
        """Whether `on_batch_begin` and `on_batch_end` are to be called for every step, as they are where a subclass
        overrides one of them. If no callback wants that, several steps are taken between two calls."""
        names = ("on_batch_begin", "on_batch_end")
        return any(getattr(getattr(self, name), "__func__", None) is not getattr(Callback, name) for name in names)

    def on_train_begin(self, training: Training) -> None:
        """Before the first step, after a checkpoint was loaded."""

    def on_epoch_begin(self, training: Training) -> None:
        """Before the first step of an epoch."""

    def on_batch_begin(self, training: Training) -> None:
        """Before every step, with the learning rate that it will use."""

    def on_before_optimizer_step(self, training: Training) -> None:
        """Within every step: the gradients are there, the weights are still the old ones.

        This is part of the captured step. Its kernels run in every step; Python, only in the two steps in which each
        shape of batches is recorded. So it may change gradients by operations of minidl, and must not count, print, or
        compute by NumPy (a step in which NumPy computes is run by Python every time). Numbers stay what they were.
        """

    def on_batch_end(self, training: Training) -> None:
        """After every step."""

    def on_epoch_end(self, training: Training, figures: EpochFigures) -> None:
        """After the last step of an epoch and its validation."""

    def on_train_end(self, training: Training) -> None:
        """After the last epoch."""

    def on_interrupt(self, training: Training) -> None:
        """After Ctrl-C, between two steps."""

    def on_exit(self, training: Training) -> None:
        """Last of all, however the run ended."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes `state_dict` back."""
