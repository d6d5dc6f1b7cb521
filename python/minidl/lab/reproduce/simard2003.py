"""Simard, Steinkraus and Platt 2003: 800 hidden units on MNIST, 1.6 % test error without distortions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from minidl.lab.reproduce.error_rates import ErrorRates, PaperRow
from minidl.lab.reproduce.recipe import Recipe


@dataclass(frozen=True)
class Simard2003(ErrorRates):
    """784-800-10 with cross-entropy.

    >>> Simard2003().rows[0].paper_percent
    1.6
    """

    name: ClassVar[str] = "simard2003"
    title: ClassVar[str] = "Simard, Steinkraus and Platt 2003: one hidden layer of 800 units"
    source: ClassVar[str] = (
        'Patrice Simard, Dave Steinkraus and John Platt 2003, "Best Practices for Convolutional Neural Networks '
        'Applied to Visual Document Analysis", table 1: a network of two layers with 800 hidden units and '
        "cross-entropy has 1.6 % test error on MNIST without distortions of the images. The paper needs neither "
        "momentum nor weight decay, nor does ours."
    )
    rows: ClassVar[tuple[PaperRow, ...]] = (
        PaperRow(
            "784-800-10, cross-entropy",
            1.6,
            1.7,
            Recipe((800,), lr=0.5, epochs=60, activation="relu", batch_size=64),
            tuple({"activation": name, "lr": lr} for name in ("relu", "tanh") for lr in (0.2, 0.5, 1.0)),
        ),
    )
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
