"""BaseMLP: what MLPClassifier and MLPRegressor have in common - parameters, checks, fit, fitted attributes."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from minidl.sklearn.convergence import Convergence
from minidl.sklearn.epochs import Epochs, Loss
from minidl.sklearn.network import Architecture, Array, Network, generator_left_alone
from minidl.sklearn.parameters import batch_size_for, check_parameters, hidden_sizes, optimizer_options
from minidl.sklearn.validation import hold_out
from minidl.training.interrupt import deferred_interrupt

FLOATS = (np.float64, np.float32)
# Where "adaptive" stops to lower the learning rate, and training ends.
LOWEST_LEARNING_RATE = 1e-6


def has_no_early_stopping(estimator: Any) -> bool:
    """Whether there is `partial_fit`: a part of the data cannot say when all of it has been learned."""
    if estimator.early_stopping:
        raise AttributeError("partial_fit does not support early_stopping=True")
    return True


class BaseMLP(BaseEstimator):  # type: ignore[misc]
    """The estimators' common part; use MLPClassifier or MLPRegressor."""

    out_activation_: str
    n_outputs_: int

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        dropout: float = 0.0,
        batch_norm: bool = False,
        device: str = "cpu",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.device = device

    # ---- what a subclass says

    def _encode(self, y: Any, is_first: bool, classes: Any) -> Array:
        """The targets as the loss takes them; the first time, sets `out_activation_` and `n_outputs_`."""
        raise NotImplementedError

    def _decide(self, outputs: Array) -> Array:
        """What the last layer's outputs mean, in the form of `_encode`."""
        raise NotImplementedError

    def _score_encoded(self, target: Array, predicted: Array, weight: Array | None) -> float:
        """The score of predictions, both in the form of `_encode`."""
        raise NotImplementedError

    def _strata(self, target: Array) -> Array | None:
        """What a split keeps the proportions of, or None."""
        return None

    # ---- training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Trains until convergence, at most `max_iter` epochs; with `warm_start` from where the last fit ended.

        Args:
            X: numbers (samples, features); float32 is computed in float32, all else in float64.
            y: the targets.
            sample_weight: a weight of at least 0 for each sample; 2 counts as the sample twice, 0 as its absence.

        Returns:
            The estimator.

        Raises:
            ValueError: parameters, data or weights that cannot be used; a training whose loss became nan or infinite.
            TypeError: sparse X, and parameters of the wrong kind.
        """
        goes_on = self.warm_start and hasattr(self, "_network")
        return self._train(X, y, sample_weight, is_first=not goes_on)

    @available_if(has_no_early_stopping)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """One epoch over the given samples, with the optimizer and the random state that the call before has left;
        arguments as in `fit`."""
        return self._train(X, y, sample_weight, not hasattr(self, "_network"), is_partial=True)

    def _train(
        self, X: Any, y: Any, sample_weight: Any, is_first: bool, is_partial: bool = False, classes: Any = None
    ) -> Any:
        check_parameters(self)
        X, y, weight, rows = self._checked(X, y, sample_weight, is_first)
        target = self._encode(y, is_first, classes)
        if is_first or not is_partial or not hasattr(self, "_random_state"):
            self._random_state = check_random_state(self.random_state)
        self._prepare_network(X, is_first)
        if not is_partial or self._network.solver != self.solver:
            self._network.start_optimizer(self.solver, optimizer_options(self))
        held_out = None
        if self.early_stopping:
            strata = self._strata(target[rows])
            rows, held_out = hold_out(rows, strata, self.validation_fraction, self._random_state)
        batch_size = batch_size_for(self, len(rows))
        loss = Loss(self.out_activation_, self.n_outputs_)
        epochs = Epochs(self._network, loss, X, target, weight, rows, self.alpha, batch_size, self.shuffle)
        validation = None
        if held_out is not None:
            validation = X[held_out], target[held_out], None if weight is None else weight[held_out]
        if not is_partial:
            self.n_iter_ = 0
        with generator_left_alone() if self.dropout else nullcontext():
            self._run(epochs, len(rows), validation, 1 if is_partial else self.max_iter, is_partial)
        self._network.finish_training()
        if not self._network.is_finite():
            raise ValueError(self._divergence("a weight became nan or infinite"))
        return self

    def _checked(self, X: Any, y: Any, sample_weight: Any, is_first: bool) -> tuple[Array, Array, Array | None, Array]:
        """X, y, weights, and the rows whose weight is not 0."""
        is_numeric = is_regressor(self)
        X, y = validate_data(
            self, X, y, dtype=FLOATS, order="C", multi_output=True, y_numeric=is_numeric, reset=is_first
        )
        if sample_weight is None:
            return X, y, None, np.arange(len(X))
        weight = _check_sample_weight(sample_weight, X, dtype=X.dtype)
        if (weight < 0).any() or not (weight > 0).any():
            raise ValueError(
                f"{type(self).__name__}: sample_weight must hold no negative numbers and not only zeros, "
                f"got {weight.min():g} to {weight.max():g}"
            )
        return X, y, weight, np.flatnonzero(weight > 0)

    def _prepare_network(self, X: Array, is_first: bool) -> None:
        sizes = (X.shape[1], *hidden_sizes(self), self.n_outputs_)
        architecture = Architecture(sizes, self.activation, bool(self.batch_norm), float(self.dropout))
        if is_first:
            self._network = Network(architecture, X.dtype, self.device)
            self._network.draw_weights(self._random_state)
            self.n_layers_ = len(sizes)
            self.n_iter_ = self.t_ = self._epochs_without = 0
            self.loss_curve_: list[float] = []
            self.best_loss_: float | None = None
            self.validation_scores_: list[float] | None = None
            self.best_validation_score_: float | None = None
        elif architecture != self._network.architecture:
            raise ValueError(
                f"{type(self).__name__}: the fitted network is {self._network.architecture} and cannot go on as "
                f"{architecture}; call fit with warm_start=False to start anew"
            )

    def _run(self, epochs: Epochs, samples: int, validation: Any, max_iter: int, is_partial: bool) -> None:
        """Epoch after epoch until convergence or Ctrl-C, which keeps what has been learned."""
        convergence = Convergence(self._network, self.tol, self.n_iter_no_change, self._best(), self.early_stopping)
        if is_partial:
            convergence.epochs_without = self._epochs_without
        with deferred_interrupt() as interrupt:
            for _ in range(max_iter):
                loss = epochs.run(self._random_state, interrupt)
                if loss is None:
                    warnings.warn("Training interrupted by user.", stacklevel=4)
                    break
                self._note_epoch(loss, samples)
                has_converged = convergence.note(-loss if validation is None else self._validate(*validation))
                self._note_best(convergence.best)
                if has_converged and self._stops(convergence):
                    break
            else:
                if not is_partial:
                    warnings.warn(
                        f"{type(self).__name__}: max_iter={max_iter} epochs are over and the training has not "
                        "converged yet; raise max_iter or tol",
                        ConvergenceWarning,
                        stacklevel=4,
                    )
        convergence.restore()
        self._epochs_without = convergence.epochs_without

    def _best(self) -> float:
        """The best figure so far, a score or the loss with its sign changed; -inf where nothing was measured yet."""
        if not self.early_stopping:
            return -math.inf if self.best_loss_ is None else -self.best_loss_
        if self.validation_scores_ is None:
            self.validation_scores_ = []
        return -math.inf if self.best_validation_score_ is None else self.best_validation_score_

    def _note_epoch(self, loss: float, samples: int) -> None:
        if not math.isfinite(loss):
            raise ValueError(self._divergence(f"the loss became {loss}"))
        self.n_iter_ += 1
        self.t_ += samples
        self.loss_ = loss
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            self._set_learning_rate(self.learning_rate_init / (self.t_ + 1) ** self.power_t)

    def _validate(self, X: Array, target: Array, weight: Array | None) -> float:
        score = self._score_encoded(target, self._decide(self._network.outputs(X)), weight)
        if self.validation_scores_ is not None:
            self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")
        return score

    def _note_best(self, best: float) -> None:
        if self.early_stopping:
            self.best_validation_score_ = best
        else:
            self.best_loss_ = -best

    def _stops(self, convergence: Convergence) -> bool:
        """Whether convergence ends the training; "adaptive" lowers the learning rate as long as it is not tiny."""
        what = "Validation score" if self.early_stopping else "Training loss"
        text = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change:g} consecutive epochs."
        rate = self._network.optimizer.param_groups[0]["lr"]
        is_adaptive = self.solver == "sgd" and self.learning_rate == "adaptive"
        stops = not is_adaptive or rate <= LOWEST_LEARNING_RATE
        if not stops:
            convergence.epochs_without = 0
            self._set_learning_rate(rate / 5)
        if self.verbose:
            print(f"{text} {'Stopping.' if stops else f'Setting learning rate to {rate / 5:f}'}")
        return stops

    def _set_learning_rate(self, rate: float) -> None:
        for group in self._network.optimizer.param_groups:
            group["lr"] = rate

    def _divergence(self, what: str) -> str:
        return (
            f"{type(self).__name__}: {what} after {self.n_iter_} epochs; scale the inputs (StandardScaler) or lower "
            f"learning_rate_init={self.learning_rate_init:g}"
        )

    # ---- what has been learned

    def _outputs(self, X: Any) -> Array:
        """The last layer's outputs before their activation, in the network's number type."""
        check_is_fitted(self)
        return self._network.outputs(validate_data(self, X, dtype=FLOATS, order="C", reset=False))

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrices (inputs, outputs) of the layers, as copies; with batch norm, what it multiplies by in
        prediction is in them."""
        return self._fitted("coefs_").coefficients()[0]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases (outputs) of the layers, as copies; with batch norm, what it adds in prediction is in them."""
        return self._fitted("intercepts_").coefficients()[1]

    def _fitted(self, attribute: str) -> Network:
        if "_network" not in self.__dict__:
            raise AttributeError(f"this {type(self).__name__} has no {attribute} before fit")
        network: Network = self._network
        return network
