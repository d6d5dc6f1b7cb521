"""Which recipe to reproduce a paper with: several, compared on training images that are held out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from minidl.lab.experiment import Context, Experiment, Result, Run, by_variant
from minidl.lab.reproduce.recipe import Recipe
from minidl.lab.settings import require_common, require_whole
from minidl.lab.statistics import differ, spread_of
from minidl.lab.table import Column, Table
from minidl.lab.words import NO_DIFFERENCE, counted
from minidl.plots.style import COLOURS, MARKERS, finish_axes, new_figure

# A row's name, its recipe, and changes of it to compare.
Candidate = tuple[str, Recipe, tuple[dict[str, Any], ...]]


@dataclass(frozen=True)
class Tuning(Experiment):
    """Each row's recipe with some changes, one training each; the test images are not looked at.

    A sixth of the training images, drawn by the seed, is held out: 10,000 of MNIST.
    """

    name: ClassVar[str] = "tune"
    title: ClassVar[str] = "Recipes compared on held-out training images"
    paper: str = ""
    candidates: tuple[Candidate, ...] = ()
    seeds: tuple[int, ...] = (0,)
    dataset: str = "mnist"
    epochs: int | None = None

    def __post_init__(self) -> None:
        require_common(self.dataset, self.seeds)
        if self.epochs is not None:
            require_whole("epochs", [self.epochs], 1, 100_000)

    def combinations(self) -> list[tuple[str, str, Recipe]]:
        """(row, change in words, recipe) of everything that is compared."""
        length: dict[str, Any] = {} if self.epochs is None else {"epochs": self.epochs}
        return [
            (name, in_words(change), replace(recipe, **change, **length))
            for name, recipe, tries in self.candidates
            for change in tries
        ]

    def used(self) -> dict[str, str]:
        """By row, the change that leaves the recipe as it is; "" where it is not among those that are compared."""
        return {
            name: next((in_words(change) for change in tries if replace(recipe, **change) == recipe), "")
            for name, recipe, tries in self.candidates
        }

    def runs(self, context: Context) -> list[Run]:
        images = context.images(self.dataset)
        kept = len(images.train_labels) - self._held_out(context)
        return [
            Run(
                f"{name}, {words}",
                seed,
                {"row": name, "words": words, "recipe": recipe.text()},
                recipe.cost(images, kept),
            )
            for (name, words, recipe), seed in itertools.product(self.combinations(), self.seeds)
        ]

    def _held_out(self, context: Context) -> int:
        return len(context.images(self.dataset).train_labels) // 6

    def execute(self, run: Run, context: Context) -> dict[str, Any]:
        recipe = next(recipe for name, words, recipe in self.combinations() if run.variant == f"{name}, {words}")
        return recipe.train(context.images(self.dataset), run.seed, self._held_out(context), context)

    def table(self, results: Sequence[Result]) -> Table:
        """The best first; runs that diverged last."""
        columns = [
            Column("row", "network"),
            Column("words", "tried"),
            Column("error", "validation error (%)", 2, 100),
            Column("is_used", "in use"),
        ]
        used = self.used()
        rows = []
        for group in self._ranked(results):
            settings = group[0].run.settings
            row, words = settings["row"], settings["words"]
            error = spread_of(result.figures["error"] for result in group)
            rows.append({"row": row, "words": words, "error": error, "is_used": "yes" if used[row] == words else ""})
        return Table(columns, rows)

    def _ranked(self, results: Sequence[Result]) -> list[list[Result]]:
        names = [name for name, _, _ in self.candidates]

        def rank(group: list[Result]) -> tuple[int, float]:
            errors = [result.figures["error"] for result in group]
            mean = float("inf") if None in errors else spread_of(errors).mean
            return names.index(group[0].run.settings["row"]), mean

        return sorted(by_variant(results).values(), key=rank)

    def draw(self, results: Sequence[Result]) -> dict[str, Any]:
        """The error of every recipe, the best on top."""
        ranked = self._ranked(results)
        figure, [[axes]] = new_figure(size=(8, 1.2 + 0.3 * len(ranked)))
        names = [name for name, _, _ in self.candidates]
        for i, group in enumerate(ranked):
            percents = [100 * r.figures["error"] for r in group if r.figures["error"] is not None]
            j = names.index(group[0].run.settings["row"]) % len(COLOURS)
            axes.scatter(percents, [i] * len(percents), color=COLOURS[j], marker=MARKERS[j])
        labels = [group[0].run.variant for group in ranked]
        axes.set(yticks=range(len(ranked)), yticklabels=labels, ylim=(len(ranked) - 0.5, -0.5))
        finish_axes(axes, f"validation error, {self.dataset} (%)")
        return {"figure": figure}

    def page(self, results: Sequence[Result]) -> list[str]:
        paragraphs = [
            f"Recipes for {self.paper}: every one was trained on five sixths of the {self.dataset} training "
            f"images and measured on the rest, with {counted(len(self.seeds), 'seed')}. The test images were not "
            "looked at."
        ]
        for name, used in self.used().items():
            groups = [group for group in self._ranked(results) if group[0].run.settings["row"] == name]
            learnt = [group for group in groups if all(r.figures["error"] is not None for r in group)]
            if not learnt:
                paragraphs.append(f"{name}: every recipe diverged.")
                continue
            paragraphs.append(_best_of(name, learnt, used))
        return paragraphs


def _best_of(name: str, ranked: Sequence[list[Result]], used: str) -> str:
    """What is best, and whether the one in use is as good as far as the seeds show."""
    best = ranked[0]
    words, errors = best[0].run.settings["words"], [result.figures["error"] for result in best]
    text = f"{name}: the lowest validation error, {spread_of(errors).text(2, 100)} %, is that of {words}"
    if words == used:
        return text + ", which is the recipe in use."
    own = next((group for group in ranked if group[0].run.settings["words"] == used), None)
    if own is None:
        return text + "; the recipe in use is not among those that were compared and learnt."
    others = [result.figures["error"] for result in own]
    text += f"; the recipe in use ({used}) has {spread_of(others).text(2, 100)} %"
    return text + (": worse." if differ(errors, others) else f", {NO_DIFFERENCE}.")


def in_words(change: dict[str, Any]) -> str:
    """ "lr 0.1, max norm 2.0".

    >>> in_words({"lr": 0.1, "max_norm": 2.0})
    'lr 0.1, max norm 2.0'
    """
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in change.items())
