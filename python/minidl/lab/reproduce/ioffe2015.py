"""Ioffe and Szegedy 2015, figure 1, in the paper's own size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from minidl.lab import batch_norm_page
from minidl.lab.batch_norm import BatchNorm
from minidl.lab.experiment import Result


@dataclass(frozen=True)
class Ioffe2015(BatchNorm):
    """3 x 100 sigmoid units, batches of 60, 50,000 steps, at one learning rate.

    >>> Ioffe2015().epochs * 60_000 // Ioffe2015().batch_size
    50000
    """

    name: ClassVar[str] = "ioffe2015"
    title: ClassVar[str] = "Ioffe and Szegedy 2015: figure 1"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    factors: tuple[float, ...] = (1.0,)

    @classmethod
    def tuning(cls, **settings: Any) -> BatchNorm:
        """Learning rates compared on held-out training images; the test images are not looked at."""
        held_out = 10_000 if settings.get("dataset", "mnist") != "digits" else 250
        return BatchNorm(**{"seeds": (0,), "factors": (1.0, 3.0, 10.0, 30.0), "held_out": held_out, **settings})

    def page(self, results: Sequence[Result]) -> list[str]:
        paragraphs = super().page(results)
        is_whole = self.dataset == "mnist" and (self.epochs, self.batch_size) == (50, 60)
        verdict = batch_norm_page.claims_in_words(results)
        if not is_whole:
            verdict = "This was a trial, smaller than the paper's experiment. " + verdict
        return [*paragraphs, verdict]
