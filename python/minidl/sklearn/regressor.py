"""MLPRegressor: regression with one or several outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d

from minidl.sklearn.estimator import BaseMLP
from minidl.sklearn.network import Array


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """A multilayer perceptron that predicts numbers, under the parameters of scikit-learn's MLPRegressor.

    The loss is half the squared error, summed over the outputs and averaged over the samples: for several outputs what
    scikit-learn's gradients belong to, and as many times the loss that it reports. Parameters and attributes are those
    of MLPClassifier, without `classes_`; the score of early stopping is R^2.

    >>> import numpy as np
    >>> from minidl.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> y = np.sin(3 * X[:, 0])
    >>> model = MLPRegressor((32,), activation="tanh", learning_rate_init=0.01, batch_size=20, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.99
    True
    """

    def _encode(self, y: Any, is_first: bool, classes: Any) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        target = y.reshape(len(y), -1).astype(np.float64)
        if is_first:
            self.out_activation_, self.n_outputs_ = "identity", target.shape[1]
        if target.shape[1] != self.n_outputs_:
            raise ValueError(f"{type(self).__name__}: y must have {self.n_outputs_} columns, got shape {y.shape}")
        return target  # type: ignore[no-any-return]

    def _decide(self, outputs: Array) -> Array:
        return outputs

    def _score_encoded(self, target: Array, predicted: Array, weight: Array | None) -> float:
        """R^2, the mean over the outputs; what does not vary counts 1 where it is predicted exactly, else 0."""
        residual = np.average((target - predicted) ** 2, axis=0, weights=weight)
        spread = np.average((target - np.average(target, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
        is_constant = spread == 0
        scores = np.where(is_constant, residual == 0, 1 - residual / np.where(is_constant, 1, spread))
        return float(scores.mean())

    def predict(self, X: Any) -> Array:
        """The predicted numbers, (samples,) or for several outputs (samples, outputs)."""
        outputs = self._outputs(X)
        return outputs.ravel() if self.n_outputs_ == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
