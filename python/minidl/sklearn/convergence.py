"""When a training has converged: scikit-learn's rule, on the training loss or on a held-out score."""

from __future__ import annotations

import math
from typing import Any

from minidl.sklearn.network import Network, best_of


class Convergence:
    """Counts the epochs that were no better than the best one by at least `tol`, and keeps the best one's weights.

    A rising figure is followed: a score, or the loss with its sign changed. More than `patience` such epochs one after
    the other are convergence.
    """

    def __init__(self, network: Network, tol: float, patience: float, best: float, keeps_weights: bool) -> None:
        self.network = network
        self.tol = tol
        self.patience = patience
        self.best = best
        self.keeps_weights = keeps_weights
        self.best_model: dict[str, Any] | None = best_of(network.model) if keeps_weights and best > -math.inf else None
        self.epochs_without = 0

    def note(self, figure: float) -> bool:
        """Takes the figure of an epoch; whether the training has converged with it."""
        self.epochs_without = 0 if figure >= self.best + self.tol else self.epochs_without + 1
        if figure > self.best:
            self.best = figure
            if self.keeps_weights:
                self.best_model = best_of(self.network.model)
        return self.epochs_without > self.patience

    def restore(self) -> None:
        """Puts the weights and running statistics of the best epoch back, bit by bit."""
        if self.best_model is not None:
            self.network.model.load_state_dict(self.best_model)
