"""Tells an experiment's progress bar how far a run is."""

from __future__ import annotations

import time

from minidl.lab.experiment import Context
from minidl.training import Callback, Training


class RunProgress(Callback):
    """Reports the share of the epochs that is done, ten times a second at most."""

    follows_every_step = False

    def __init__(self, context: Context) -> None:
        self.context = context
        self._reported = 0.0

    def on_batch_end(self, training: Training) -> None:
        now = time.perf_counter()
        if now - self._reported > 0.1:
            self._reported = now
            self.context.report((training.epoch + training.step / training.steps_per_epoch) / training.epochs)
