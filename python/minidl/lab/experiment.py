"""What an experiment is: training runs, and the table, the pictures and the page that are made from their results."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from minidl.data import ImageSet, load_images
from minidl.lab.cost import Cost
from minidl.lab.table import Table


@dataclass(frozen=True)
class Run:
    """One training run: the variant that it belongs to, as tables and legends name it, its seed, what else it depends
    on, and the work that it takes."""

    variant: str
    seed: int
    settings: dict[str, Any]
    cost: Cost

    @property
    def key(self) -> str:
        """The name of the run's file; unique within an experiment."""
        return re.sub(r"[^a-z0-9.]+", "-", f"{self.variant} seed {self.seed}".lower()).strip("-")


@dataclass(frozen=True)
class Result:
    """A finished run and what it measured: numbers, texts and lists, as JSON has them; None where nan or inf was."""

    run: Run
    figures: dict[str, Any]


@dataclass
class Context:
    """What a run is given beside its settings: where to compute, where data are, whom to tell how far it is."""

    device: str = "cpu"
    data_dir: Path | None = None
    shows_progress: bool = False
    report: Callable[[float], None] = lambda share: None
    _images: dict[str, ImageSet] = field(default_factory=dict)

    def images(self, name: str) -> ImageSet:
        """A data set, read from the disk once."""
        if name not in self._images:
            self._images[name] = load_images(name, self.data_dir, show_progress=self.shows_progress)
        return self._images[name]


class Experiment(ABC):
    """A dataclass of settings, checked when it is made, that knows its runs and what follows from their results.

    A subclass is a frozen dataclass with at least the field `seeds`; every field can be written as JSON.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    seeds: tuple[int, ...]

    def settings(self) -> dict[str, Any]:
        """The fields: a folder of results goes on only with equal ones."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    def prepare(self, context: Context) -> None:  # noqa: B027 - most have nothing to prepare
        """Before the runs are listed: whatever can fail, such as reading the data, fails here."""

    @abstractmethod
    def runs(self, context: Context) -> list[Run]:
        """All runs, in the order in which they are trained."""

    @abstractmethod
    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        """Trains, calls `context.report` with the share that is done, and returns what `Result.figures` holds."""

    @abstractmethod
    def table(self, results: Sequence[Result]) -> Table:
        """A row per variant, usually mean and spread over the seeds."""

    def more_tables(self, results: Sequence[Result]) -> dict[str, Table]:
        """Further tables by the name of their files, for what has other columns; most have none."""
        return {}

    @abstractmethod
    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        """matplotlib figures by the name of their files, the first one called "figure"."""

    @abstractmethod
    def page(self, results: Sequence[Result]) -> list[str]:
        """Paragraphs (Markdown) that read the result off the figures and claim nothing that the numbers do not bear."""


def by_variant(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each variant, in the order of the runs."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.run.variant, []).append(result)
    return groups
