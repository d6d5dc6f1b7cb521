"""Error rates of a paper's table beside ours."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from minidl.lab.bands import draw_band
from minidl.lab.experiment import Context, Experiment, Result, Run, by_variant
from minidl.lab.reproduce.recipe import Recipe
from minidl.lab.reproduce.tuning import Tuning
from minidl.lab.settings import require_common, require_whole
from minidl.lab.statistics import Spread, spread_of
from minidl.lab.table import Column, Table
from minidl.lab.words import counted, listed
from minidl.plots.style import COLOURS, finish_axes, new_figure, number_log_axis


@dataclass(frozen=True)
class PaperRow:
    """A row of a paper's table: its test error and our goal in percent, our recipe, and the changes of it that
    --tune compares."""

    name: str
    paper_percent: float
    goal_percent: float | None
    recipe: Recipe
    tries: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class ErrorRates(Experiment):
    """Trains each row's recipe on all training images and measures the test error once, at the end.

    Args:
        dataset: MNIST, or, to try the program, another; the paper's numbers are then shown but not compared.
        epochs: instead of each recipe's own, to try the program; None for those.
    """

    source: ClassVar[str]  # the paper, with what else a reader needs to know of its table
    rows: ClassVar[tuple[PaperRow, ...]]
    seeds: tuple[int, ...] = (0, 1, 2)
    dataset: str = "mnist"
    epochs: int | None = None

    def __post_init__(self) -> None:
        require_common(self.dataset, self.seeds)
        if self.epochs is not None:
            require_whole("epochs", [self.epochs], 1, 100_000)

    def settings(self) -> dict[str, Any]:
        """The fields and the recipes: results of other recipes are not mixed with these."""
        return {**super().settings(), "recipes": {row.name: self.recipe(row).text() for row in self.rows}}

    @classmethod
    def tuning(cls, **settings: Any) -> Tuning:
        """The experiment that compares recipes on held-out training images."""
        candidates = tuple((row.name, row.recipe, row.tries) for row in cls.rows)
        return Tuning(paper=cls.name, candidates=candidates, **settings)

    @property
    def is_comparable(self) -> bool:
        """Whether these settings are those of the reproduction, not of a trial."""
        return self.dataset == "mnist" and self.epochs is None

    def recipe(self, row: PaperRow) -> Recipe:
        """The row's, with the epochs of this experiment."""
        return row.recipe if self.epochs is None else replace(row.recipe, epochs=self.epochs)

    def runs(self, context: Context) -> list[Run]:
        images = context.images(self.dataset)
        return [
            Run(row.name, seed, {}, self.recipe(row).cost(images, len(images.train_labels)))
            for row, seed in itertools.product(self.rows, self.seeds)
        ]

    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        row = next(row for row in self.rows if row.name == run.variant)
        return self.recipe(row).train(context.images(self.dataset), run.seed, 0, context)

    def table(self, results: Sequence[Result]) -> Table:
        columns = [
            Column("name", "network"),
            Column("paper", "paper: test error (%)", 2),
            Column("error", "ours (%)", 2, 100),
            Column("range", "lowest - highest (%)"),
            Column("goal", "goal (%)", 2),
            Column("minutes", "minutes a seed", 1),
        ]
        rows = []
        for row, group in self._groups(results):
            spread = spread_of(result.figures["error"] for result in group)
            minutes = spread_of(result.figures.get("seconds", math.nan) / 60 for result in group).mean
            rows.append(
                {
                    "name": row.name,
                    "paper": row.paper_percent,
                    "error": spread,
                    "range": _range(spread),
                    "goal": row.goal_percent,
                    "minutes": None if math.isnan(minutes) else minutes,
                }
            )
        return Table(columns, rows)

    def _groups(self, results: Sequence[Result]) -> list[tuple[PaperRow, list[Result]]]:
        groups = by_variant(results)
        return [(row, groups[row.name]) for row in self.rows if row.name in groups]

    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        """Test errors beside the paper's, and the training loss of every epoch."""
        groups = self._groups(results)
        figure, [[errors, losses]] = new_figure(1, 2, (11, 1.6 + 1.1 * max(2, len(groups))))
        for i, (row, group) in enumerate(groups):
            percents = [100 * r.figures["error"] for r in group if r.figures["error"] is not None]
            label = "ours, each seed" if i == 0 else None
            errors.scatter(percents, [i] * len(percents), color=COLOURS[0], alpha=0.7, zorder=3, label=label)
            if len(percents) > 1:
                spread = spread_of(percents)
                label = "ours, mean ± standard deviation" if i == 0 else None
                line = {"fmt": "|", "color": COLOURS[0], "capsize": 4, "markersize": 14, "label": label}
                errors.errorbar(spread.mean, i + 0.18, xerr=spread.deviation, **line)
            label = "paper" if i == 0 else None
            errors.scatter(row.paper_percent, i, marker="D", s=60, color=COLOURS[1], zorder=3, label=label)
            curves = [r.figures["losses"] for r in group if r.figures["error"] is not None]
            if curves:
                draw_band(losses, [range(1, len(curve) + 1) for curve in curves], curves, row.name, i)
        errors.set(
            yticks=range(len(groups)),
            yticklabels=[row.name.replace(", ", ",\n") for row, _ in groups],
            ylim=(len(groups), -0.5),
        )
        finish_axes(errors, f"test error, {self.dataset} (%)")
        errors.legend(loc="lower right")
        losses.set_yscale("log")
        number_log_axis(losses.yaxis)
        losses.xaxis.get_major_locator().set_params(integer=True)
        finish_axes(losses, "epoch", "training loss")
        if losses.lines:
            losses.legend()
        return {"figure": figure}

    def page(self, results: Sequence[Result]) -> list[str]:
        groups = self._groups(results)
        seeds = len({result.run.seed for result in results})
        paragraphs = [
            self.source,
            f"Ours: {counted(seeds, 'seed')}, all {self.dataset} training images, no distortions of the images; "
            "the test images were measured once, after the last step, and nothing was chosen by them. --tune compares "
            "recipes on held-out training images.",
        ]
        if not self.is_comparable:
            what = [] if self.dataset == "mnist" else [f"on {self.dataset}"]
            what += [] if self.epochs is None else [f"of {counted(self.epochs, 'epoch')} only"]
            paragraphs.append(
                f"This was a trial {listed(what)}: its errors say nothing about the paper's, which are of MNIST and "
                "trained to the end."
            )
        recipes = [f"Recipe of {row.name}: {self.recipe(row).text()}." for row, _ in groups]
        return [*paragraphs, *(self._judged(row, group) for row, group in groups), *recipes]

    def _judged(self, row: PaperRow, group: Sequence[Result]) -> str:
        errors = [result.figures["error"] for result in group]
        steps = [f"{r.figures['diverged_at_step']:,} (seed {r.run.seed})" for r in group if r.figures["error"] is None]
        text = f"{row.name}: the paper has {row.paper_percent:.2f} %, "
        if steps:
            return text + f"ours diverged at step {listed(steps)}."
        spread = spread_of(errors)
        text += f"ours {spread.text(2, 100)} %"
        text += f" ({_range(spread)} %)." if spread.count > 1 else "."
        if not self.is_comparable:
            return text
        percents = [100 * error for error in errors]
        if max(percents) < row.paper_percent:
            text += " Every seed is below the paper's number."
        elif min(percents) > row.paper_percent:
            text += " Every seed is above the paper's number."
        else:
            text += " The paper's number lies between our seeds."
        if row.goal_percent is not None:
            is_met = 100 * spread.mean <= row.goal_percent
            text += f" The goal of at most {row.goal_percent:.2f} % on average is {'met' if is_met else 'missed'}."
        chance = 100 * math.sqrt(spread.mean * (1 - spread.mean) / 10_000)
        return text + (
            f" With 10,000 test images an error of this size is known to about {chance:.2f} points (standard error of "
            "a share), whatever the seeds."
        )


def _range(spread: Spread) -> str:
    return "" if math.isnan(spread.mean) else f"{100 * spread.lowest:.2f} - {100 * spread.highest:.2f}"
