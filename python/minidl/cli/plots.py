"""The learning curve as a picture."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import threading
from pathlib import Path

from minidl.training import History


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def import_beside() -> None:
    """Imports what the picture needs in a thread, for a caller that unpacks data meanwhile: 0.3 s less at the end."""

    def load() -> None:
        with contextlib.suppress(Exception):  # to be raised where the picture is drawn
            for module in ("matplotlib.backends.backend_agg", "matplotlib.figure"):
                importlib.import_module(module)

    if can_plot():
        threading.Thread(target=load, daemon=True).start()


def plot_learning_curve(history: History, path: Path, title: str, test_loss: float, test_accuracy: float) -> None:
    """Loss and accuracy over the epochs, training and validation, and the test's as a line, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6))  # no automatic layout, which draws everything twice
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title)
    epochs = [figures.epoch for figures in history.epochs]
    panels = (("loss", "", 1, test_loss), ("accuracy", " (%)", 100, test_accuracy))
    margins = {"left": 0.07, "right": 0.98, "bottom": 0.15, "top": 0.87, "wspace": 0.2}
    for axes, (name, unit, factor, measured) in zip(figure.subplots(1, 2, gridspec_kw=margins), panels, strict=True):
        for split, label in (("train", "training"), ("val", "validation")):
            values = [getattr(figures, f"{split}_{name}") for figures in history.epochs]
            if any(value is None for value in values):
                continue
            axes.plot(epochs, [factor * value for value in values], marker="o", markersize=3, label=label)
        axes.axhline(factor * measured, linestyle="--", linewidth=1, color="black", label="test, at the end")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name + unit)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    canvas.print_figure(path, format="png", dpi=120)
