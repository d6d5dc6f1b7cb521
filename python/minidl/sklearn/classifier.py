"""MLPClassifier: binary, multiclass and multilabel classification."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import column_or_1d

from minidl import ops
from minidl.sklearn.estimator import BaseMLP, has_no_early_stopping
from minidl.sklearn.network import Array


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """A multilayer perceptron that classifies, under the parameters of scikit-learn's MLPClassifier.

    Two classes, and multilabel targets (samples, labels) of zeros and ones, end in a logistic function and the binary
    cross-entropy; more classes in a softmax and the cross-entropy. A float32 X is computed in float32, about twice as
    fast; all else in float64. From the same `random_state` the weights and the order of the samples are those of
    scikit-learn, and without dropout and batch norm so are the steps, but for rounding, the place of Adam's `epsilon`
    and the momentum of a changing learning rate, which are PyTorch's.

    Args:
        hidden_layer_sizes: widths of the hidden layers; () is logistic regression.
        activation: of the hidden layers: identity, logistic, tanh, relu, or a name of nn.functional: leaky_relu, elu,
            selu, celu, gelu, silu, mish, softplus, softsign.
        solver: sgd, adam, adamw, nadam, radam, adamax, rmsprop, adagrad, adadelta; no lbfgs.
        alpha: adds alpha / (2 s) times the sum of the squared weights, biases not counted, to the loss of a batch of s
            samples (or of the weight s); adamw takes alpha / s as decoupled weight decay.
        batch_size: samples per step, "auto" for min(200, samples). With batch norm a last batch of one sample joins
            the one before.
        learning_rate: for sgd: "constant"; "invscaling" divides by (samples seen)^`power_t`; "adaptive" divides by 5
            instead of stopping, down to 1e-6.
        learning_rate_init: the learning rate, at first.
        max_iter: the most epochs; reaching it is a ConvergenceWarning.
        shuffle: a new order of the samples for every epoch.
        random_state: an int, a RandomState, or None for NumPy's global one. minidl's own generator is left alone.
        tol, n_iter_no_change: training ends after more than n_iter_no_change epochs in a row that did not improve the
            training loss, or with `early_stopping` the validation score, by tol.
        verbose: print the loss of every epoch.
        warm_start: `fit` goes on with the weights of the last call.
        momentum, nesterovs_momentum: of sgd.
        early_stopping: hold out `validation_fraction` of the samples, of every class its part where that is possible,
            and end with the weights of the epoch that scored best on them.
        beta_1, beta_2, epsilon: of the Adam family; epsilon also of the other solvers but sgd.
        dropout: the probability of leaving out a hidden unit.
        batch_norm: whether to normalize the hidden layers before their activation.
        device: "cpu" or "cuda".

    Attributes:
        classes_: the labels in order; for multilabel targets the numbers of the columns.
        loss_, best_loss_, loss_curve_: the training loss with alpha's part: of the last epoch, the least, of every one.
        validation_scores_, best_validation_score_: the accuracies of early stopping, else None.
        n_iter_: epochs of the last `fit`, or of all calls of `partial_fit`.
        t_: samples seen.
        coefs_, intercepts_: per layer (inputs, outputs) and (outputs,), batch norm multiplied in.
        n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_: as in scikit-learn.

    >>> from sklearn.datasets import load_digits
    >>> from minidl.sklearn import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(tol=0.01, random_state=0).fit(X / 16, y)
    >>> model.score(X / 16, y) > 0.95
    True
    """

    classes_: Array

    def _encode(self, y: Any, is_first: bool, classes: Any) -> Array:
        y = y.toarray() if issparse(y) else y
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if is_first:
            self._take_classes(y, classes)
        wanted = self.n_outputs_ if self._is_multilabel() else None
        if (y.shape[1] if y.ndim == 2 else None) != wanted:
            raise ValueError(
                f"{type(self).__name__}: y must have {f'{wanted} columns of labels' if wanted else 'one dimension'}, "
                f"got shape {y.shape}"
            )
        if self._is_multilabel():
            return y.astype(np.float64)  # type: ignore[no-any-return]
        positions: Array = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        is_unknown = self.classes_[positions] != y
        if is_unknown.any():
            unknown = np.unique(y[is_unknown]).tolist()
            raise ValueError(f"{type(self).__name__}: y has classes that are not in classes_: {unknown}")
        return positions if self.out_activation_ == "softmax" else positions.reshape(-1, 1).astype(np.float64)

    def _take_classes(self, y: Array, classes: Any) -> None:
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError(
                f"{type(self).__name__}: a column of y may hold two values only (multilabel), got {kind} of shape "
                f"{y.shape}; sklearn.multioutput.MultiOutputClassifier fits one model per column"
            )
        if kind == "multilabel-indicator":
            self.classes_ = np.arange(y.shape[1])
            self.out_activation_, self.n_outputs_ = "logistic", y.shape[1]
            return
        self.classes_ = np.unique(y) if classes is None else unique_labels(classes)
        # A single class has a softmax over one output: probability 1, and nothing to learn.
        is_binary = len(self.classes_) == 2
        self.out_activation_ = "logistic" if is_binary else "softmax"
        self.n_outputs_ = 1 if is_binary else len(self.classes_)

    def _is_multilabel(self) -> bool:
        return self.out_activation_ == "logistic" and self.n_outputs_ > 1

    def _strata(self, target: Array) -> Array | None:
        return None if self._is_multilabel() else target.ravel()

    def _decide(self, outputs: Array) -> Array:
        probabilities = self._probabilities(outputs)
        if self.out_activation_ == "softmax":
            return probabilities.argmax(1)  # type: ignore[no-any-return]
        return (probabilities > 0.5).astype(np.int64)

    def _score_encoded(self, target: Array, predicted: Array, weight: Array | None) -> float:
        is_right = (target == predicted).reshape(len(target), -1).all(1)
        return float(np.average(is_right, weights=weight))

    def _probabilities(self, outputs: Array) -> Array:
        logits = ops.from_numpy(outputs)
        activated = ops.softmax(logits, 1) if self.out_activation_ == "softmax" else ops.sigmoid(logits)
        return activated.numpy()

    @available_if(has_no_early_stopping)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """One epoch over the given samples, with the optimizer and the random state that the call before has left.

        Args:
            X, y, sample_weight: as in `fit`.
            classes: all classes that will ever come; needed at the first call.

        Raises:
            ValueError: classes that are missing at the first call or other ones later, labels that are none of them.
        """
        is_first = not hasattr(self, "_network")
        if is_first and classes is None:
            raise ValueError(f"{type(self).__name__}: classes must be passed on the first call to partial_fit")
        if not is_first and classes is not None and not np.array_equal(unique_labels(classes), self.classes_):
            raise ValueError(
                f"{type(self).__name__}: classes must be those of the first call to partial_fit, "
                f"{self.classes_.tolist()}, got {list(classes)}"
            )
        return self._train(X, y, sample_weight, is_first, is_partial=True, classes=classes)

    def predict(self, X: Any) -> Array:
        """The class of each sample, or for multilabel targets zeros and ones (samples, labels)."""
        decided = self._decide(self._outputs(X))
        return decided if self._is_multilabel() else self.classes_[decided.ravel()]

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (samples, classes) in the order of `classes_`; for multilabel targets that of
        each label."""
        return self._probabilities(self._of_each_class(X))

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`, computed from the network's outputs: finite where the probability is 0."""
        logits = ops.from_numpy(self._of_each_class(X))
        logarithms = ops.log_softmax(logits, 1) if self.out_activation_ == "softmax" else ops.logsigmoid(logits)
        return logarithms.numpy()

    def _of_each_class(self, X: Any) -> Array:
        """The network's outputs; of two classes, where there is one output, the other's is its opposite."""
        outputs = self._outputs(X)
        return outputs if self.out_activation_ == "softmax" or self.n_outputs_ > 1 else np.hstack([-outputs, outputs])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
