"""Pictures: functions that take data and return a matplotlib Figure, saved as PNG or SVG with `path=`.

They need matplotlib (`pip install matplotlib`), which is imported when the first picture is drawn, and no display.
"""

from minidl.plots.classification import confusion_matrix, worst_mistakes
from minidl.plots.curves import learning_curves
from minidl.plots.layers import (
    activation_histograms,
    first_layer_weights,
    gradient_histograms,
    gradient_norms_by_layer,
)
from minidl.plots.plane import contour, decision_boundary, surface, trajectories
from minidl.plots.style import save

__all__ = [
    "activation_histograms",
    "confusion_matrix",
    "contour",
    "decision_boundary",
    "first_layer_weights",
    "gradient_histograms",
    "gradient_norms_by_layer",
    "learning_curves",
    "save",
    "surface",
    "trajectories",
    "worst_mistakes",
]
