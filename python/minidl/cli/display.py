"""Pictures and bars for the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from minidl.cli.predict import Prediction
    from minidl.selftest import Result

SHADES = " ░▒▓█"
BAR_WIDTH = 30


def draw_image(image: npt.NDArray[Any], has_colour: bool) -> Text:
    """An image with values in [0, 1], two rows of pixels to a line: grey half blocks, or shades without colours."""
    pixels = np.clip(np.asarray(image, np.float64), 0, 1)
    if len(pixels) < 16:
        pixels = pixels.repeat(2, axis=0).repeat(2, axis=1)
    if len(pixels) % 2:
        pixels = np.vstack([pixels, np.zeros_like(pixels[:1])])
    picture = Text()
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for top, bottom in zip(upper, lower, strict=True):
            if has_colour:
                picture.append("▀", f"{_grey(top)} on {_grey(bottom)}")
            else:
                picture.append(SHADES[min(len(SHADES) - 1, int((top + bottom) / 2 * len(SHADES)))])
        picture.append("\n")
    picture.right_crop(1)
    return picture


def draw_bars(probs: npt.NDArray[Any], classes: Sequence[str]) -> Table:
    """One bar per class; the most probable class in bold."""
    table = Table.grid(padding=(0, 1))
    best = int(np.argmax(probs))
    for i, (name, prob) in enumerate(zip(classes, probs, strict=True)):
        bar = "█" * round(float(prob) * BAR_WIDTH)
        table.add_row(name, bar or "▏", f"{prob:.2%}", style="bold" if i == best else None)
    table.columns[2].justify = "right"
    return table


def _grey(value: float) -> str:
    level = round(255 * value)
    return f"rgb({level},{level},{level})"


def print_prediction(prediction: Prediction, classes: Sequence[str], console: Console) -> None:
    """Title, picture and bars of one prediction."""
    best = int(np.argmax(prediction.probs))
    verdict = f"[bold]{classes[best]}[/] with {prediction.probs[best]:.2%}"
    if prediction.label is not None:
        is_right = prediction.label == best
        verdict += ", [green]right[/]" if is_right else f", [red]wrong: it is {classes[prediction.label]}[/]"
    console.print(f"{escape(prediction.title)}: {verdict}", highlight=False, soft_wrap=True)
    has_colour = console.is_terminal and console.color_system in ("truecolor", "256")
    grid = Table.grid(padding=(0, 3))
    grid.add_row(draw_image(prediction.image, has_colour), draw_bars(prediction.probs, classes))
    console.print(grid)
    console.print()


def print_selftest(results: Iterable[Result], console: Console) -> bool:
    """One table row per kernel: its worst error in float32 and float64 per instruction set; True if none failed."""
    by_kernel: dict[str, list[Result]] = {}
    failures = []
    started = time.perf_counter()
    for result in results:
        by_kernel.setdefault(result.kernel, []).append(result)
        failures += [result] if result.failure else []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("kernel", no_wrap=True)
    for isa in dict.fromkeys(result.isa for row in by_kernel.values() for result in row):
        table.add_column(f"{isa}\nf32  f64", justify="right")
    for kernel, row in by_kernel.items():
        shares = [f"[red]{r.worst:4.0%}[/]" if r.failure else f"{r.worst:4.0%}" for r in row]
        table.add_row(kernel, *(" ".join(pair) for pair in zip(shares[::2], shares[1::2], strict=True)))
    console.print(table)
    console.print("The worst error of each kernel, in percent of what its rounding allows.")
    for result in failures:
        console.print(f"[red]{result.kernel}[/] ({result.isa}, {result.dtype}): {result.failure}", soft_wrap=True)
    count = sum(len(row) for row in by_kernel.values())
    verdict = f"[red]{len(failures)} of {count} failed[/]" if failures else f"[green]all {count} checks passed[/]"
    console.print(f"{len(by_kernel)} kernels, {verdict}, {time.perf_counter() - started:.1f} s", highlight=False)
    return not failures
