"""minidl.sklearn: scikit-learn's own checks, the training against NumPy and scikit-learn's MLP, pickles, labels."""

import copy
import functools
import itertools
import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl

pytest.importorskip("sklearn", "1.6", exc_type=ImportError)

import joblib
import safetensors.numpy
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, make_classification, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from minidl import backends
from minidl.backends import Backend
from minidl.sklearn import MLPClassifier, MLPRegressor
from minidl.sklearn.convergence import Convergence
from minidl.sklearn.epochs import Epochs
from minidl.sklearn.parameters import ACTIVATIONS, SOLVERS
from minidl.sklearn.validation import hold_out

PACKAGE_ROOT = Path(minidl.__file__).parents[1]
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"batch_norm": True, "dropout": 0.1},
    {"early_stopping": True, "validation_fraction": 0.3},
)
# scikit-learn's own MLP fails it with early stopping, too.
NOT_EQUIVALENT = {
    "batch_norm": "dropout's masks and the statistics of a batch take rows, not weights, as they come",
    "early_stopping": "the held-out samples are drawn by rows: other ones where rows are repeated",
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def expected_failures(estimator: Any) -> dict[str, str]:
    name = "check_sample_weight_equivalence_on_dense_data"
    return {name: reason for parameter, reason in NOT_EQUIVALENT.items() if getattr(estimator, parameter)}  # noqa: B035


def checks_of_scikit_learn() -> Iterator[Any]:
    for kind, variant in itertools.product((MLPClassifier, MLPRegressor), VARIANTS):
        estimator = kind(**variant)
        expected = expected_failures(estimator)
        yield from estimator_checks_generator(estimator, expected_failed_checks=expected, mark="xfail")


def name_of(part: Any) -> str:
    """Of an estimator with what differs from the defaults, or of a check with its arguments."""
    if not isinstance(part, functools.partial):
        return repr(part)
    arguments = ", ".join(f"{name}={value}" for name, value in part.keywords.items())
    return part.func.__name__ + (f"({arguments})" if arguments else "")


@pytest.mark.parametrize(("estimator", "check"), list(checks_of_scikit_learn()), ids=name_of)
def test_estimators_pass_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def blobs(samples: int = 60, features: int = 5, classes: int = 3, seed: int = 0) -> tuple[Any, Any]:
    return make_classification(  # type: ignore[no-any-return]
        samples, features, n_informative=features, n_redundant=0, n_classes=classes, random_state=seed
    )


def states(estimator: Any) -> dict[str, Any]:
    """Copies of every weight and running statistic."""
    state = estimator._network.model.state_dict()
    return {name: tensor.detach().numpy().copy() for name, tensor in state.items()}


def assert_same_bits(first: Any, second: Any) -> None:
    one, other = states(first), states(second)
    assert list(one) == list(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        assert array.tobytes() == other[name].tobytes(), name


# ---- the training, against an independent one


def numpy_descent(X: Any, target: Any, seed: int, hidden: int, alpha: float, rate: float, steps: int) -> Any:
    """Full-batch gradient descent of a tanh layer and a softmax in float64: weights, biases, losses."""
    random = np.random.RandomState(seed)
    weights, biases, losses = [], [], []
    for inputs, outputs in itertools.pairwise((X.shape[1], hidden, target.shape[1])):
        bound = np.sqrt(6 / (inputs + outputs))
        weights.append(random.uniform(-bound, bound, (inputs, outputs)))
        biases.append(random.uniform(-bound, bound, outputs))
    n = len(X)
    for _ in range(steps):
        units = np.tanh(X @ weights[0] + biases[0])
        logits = units @ weights[1] + biases[1]
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        penalty = alpha / (2 * n) * sum((weight**2).sum() for weight in weights)
        losses.append(-np.log((probabilities * target).sum(1)).mean() + penalty)
        grad_logits = (probabilities - target) / n
        grad_units = grad_logits @ weights[1].T * (1 - units**2)
        grads = X.T @ grad_units + alpha / n * weights[0], units.T @ grad_logits + alpha / n * weights[1]
        biases = [biases[0] - rate * grad_units.sum(0), biases[1] - rate * grad_logits.sum(0)]
        weights = [weight - rate * grad for weight, grad in zip(weights, grads, strict=True)]
    return weights, biases, losses


@pytest.mark.parametrize("alpha", [0.0, 0.5, 20.0])
def test_full_batch_descent_equals_numpy(alpha: float) -> None:
    X, y = blobs()
    weights, biases, losses = numpy_descent(X, np.eye(3)[y], 7, 4, alpha, 0.3, 25)
    model = MLPClassifier(
        (4,), "tanh", solver="sgd", momentum=0, learning_rate_init=0.3, alpha=alpha, max_iter=25, random_state=7
    ).fit(X, y)
    for ours, wanted in zip((*model.coefs_, *model.intercepts_), (*weights, *biases), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-12)


def regression_data(outputs: int, seed: int = 3) -> tuple[Any, Any]:
    random = np.random.RandomState(seed)
    X = random.randn(90, 4)
    return X, np.squeeze(np.sin(X[:, :outputs]) + 0.1 * random.randn(90, outputs))


CASES: dict[str, tuple[Any, Any, Any]] = {
    "two classes": (MLPClassifier, neural_network.MLPClassifier, blobs(90, classes=2)),
    "three classes": (MLPClassifier, neural_network.MLPClassifier, blobs(90)),
    "multilabel": (
        MLPClassifier,
        neural_network.MLPClassifier,
        make_multilabel_classification(90, 6, n_classes=4, random_state=0),
    ),
    "regression": (MLPRegressor, neural_network.MLPRegressor, regression_data(1)),
    "three outputs": (MLPRegressor, neural_network.MLPRegressor, regression_data(3)),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "without momentum": {"solver": "sgd", "momentum": 0.0, "learning_rate": "invscaling", "learning_rate_init": 0.5},
    "logistic": {"solver": "sgd", "activation": "logistic", "nesterovs_momentum": False},
    "in order": {"solver": "sgd", "shuffle": False, "alpha": 3.0},
    "adam": {"solver": "adam", "epsilon": 1e-14},
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("case", CASES)
def test_training_is_that_of_scikit_learn(case: str, setting: str) -> None:
    """The same seed gives the same weights, order, batches - the last of 10 samples - and steps."""
    ours, theirs, (X, y) = CASES[case]
    X = StandardScaler().fit_transform(X)
    options = {"hidden_layer_sizes": (7, 5), "batch_size": 20, "max_iter": 8, "random_state": 5} | SETTINGS[setting]
    own, other = ours(**options).fit(X, y), theirs(**options).fit(X, y)
    atol = 1e-7 if setting == "adam" else 1e-10  # a slope near 0 has a direction that rounding and epsilon decide
    for mine, wanted in zip((*own.coefs_, *own.intercepts_), (*other.coefs_, *other.intercepts_), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-8, atol=atol)
    outputs = 3 if case == "three outputs" else 1  # scikit-learn reports the mean over outputs, its steps take the sum
    if outputs == 1:
        np.testing.assert_allclose(own.loss_curve_, other.loss_curve_, rtol=1e-7)
        assert own.best_loss_ == min(own.loss_curve_)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "t_", "n_features_in_"):
        assert getattr(own, name) == getattr(other, name), name
    np.testing.assert_array_equal(own.predict(X).shape, other.predict(X).shape)
    np.testing.assert_allclose(own.score(X, y), other.score(X, y), rtol=1e-6)


def test_training_stops_where_scikit_learn_does() -> None:
    X, y = blobs(120)
    options: dict[str, Any] = {
        "hidden_layer_sizes": (8,),
        "solver": "sgd",
        "learning_rate_init": 0.1,
        "tol": 5e-3,
        "n_iter_no_change": 3,
        "random_state": 1,
    }
    own, other = MLPClassifier(**options).fit(X, y), neural_network.MLPClassifier(**options).fit(X, y)
    assert own.n_iter_ == other.n_iter_ < 200
    adaptive = {**options, "learning_rate": "adaptive", "momentum": 0.0}
    own, other = MLPClassifier(**adaptive).fit(X, y), neural_network.MLPClassifier(**adaptive).fit(X, y)
    assert own.n_iter_ == other.n_iter_ < 200
    assert own._network.optimizer.param_groups[0]["lr"] <= 1e-6


def test_early_stopping_takes_the_steps_and_scores_of_scikit_learn() -> None:
    X, y = blobs(200, classes=2)
    options: dict[str, Any] = {"early_stopping": True, "solver": "sgd", "n_iter_no_change": 4, "random_state": 2}
    own, other = MLPClassifier(**options).fit(X, y), neural_network.MLPClassifier(**options).fit(X, y)
    assert own.validation_scores_ == other.validation_scores_
    assert own.best_validation_score_ == max(own.validation_scores_)
    assert own.best_loss_ is None
    np.testing.assert_allclose(own.coefs_[0], other.coefs_[0], rtol=1e-8, atol=1e-10)


# ---- sample weights


@pytest.mark.parametrize("case", CASES)
def test_whole_weights_equal_repetition_in_full_batches(case: str) -> None:
    kind, _, (X, y) = CASES[case]
    counts = np.random.RandomState(0).randint(0, 4, len(X))
    options = {"hidden_layer_sizes": (6,), "batch_size": 1000, "max_iter": 40, "alpha": 0.3, "random_state": 3}
    with pytest.warns(UserWarning, match="batch_size=1000 is more than"):
        weighted = kind(**options).fit(X, y, counts)
    with pytest.warns(UserWarning, match="batch_size=1000 is more than"):
        repeated = kind(**options).fit(X.repeat(counts, 0), y.repeat(counts, 0))
    parameters = (*weighted.coefs_, *weighted.intercepts_), (*repeated.coefs_, *repeated.intercepts_)
    for one, other in zip(*parameters, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_equal_weights_change_nothing_but_the_share_of_alpha(case: str) -> None:
    kind, _, (X, y) = CASES[case]
    options = {"hidden_layer_sizes": (6,), "batch_size": 20, "max_iter": 4, "random_state": 3}
    plain = kind(**options, alpha=0.5).fit(X, y)
    weighted = kind(**options, alpha=1.5).fit(X, y, np.full(len(X), 3.0))
    np.testing.assert_allclose(weighted.coefs_[0], plain.coefs_[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weighted.loss_curve_, plain.loss_curve_, rtol=1e-10)


def test_weights_move_the_decision() -> None:
    X = np.zeros((40, 1))
    y = np.arange(40) % 2
    model = MLPClassifier((3,), learning_rate_init=0.05, max_iter=300, n_iter_no_change=np.inf, alpha=0)
    model.fit(X, y, np.where(y == 1, 3.0, 1.0))
    np.testing.assert_allclose(model.predict_proba([[0.0]]), [[0.25, 0.75]], atol=1e-3)


@pytest.mark.parametrize("weight", [-1.0, 0.0])
def test_weights_that_are_negative_or_all_zero_are_refused(weight: float) -> None:
    X, y = blobs()
    with pytest.raises(ValueError, match=r"no negative numbers and not only zeros|at least one non-zero"):
        MLPClassifier().fit(X, y, np.full(len(X), weight))


# ---- early stopping, going on, stopping


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_early_stopping_restores_the_best_epoch_bit_by_bit(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs(150)
    seen: list[dict[str, Any]] = []
    note = Convergence.note

    def note_and_keep(self: Convergence, figure: float) -> bool:
        state = self.network.model.state_dict()
        seen.append({name: tensor.detach().numpy().copy() for name, tensor in state.items()})
        return note(self, figure)

    monkeypatch.setattr(Convergence, "note", note_and_keep)
    model = kind(
        (20,),
        learning_rate_init=0.02,
        early_stopping=True,
        batch_norm=True,
        dropout=0.3,
        n_iter_no_change=5,
        validation_fraction=0.3,
        random_state=0,
    ).fit(X, y)
    best = int(np.argmax(model.validation_scores_))
    assert len(seen) == len(model.validation_scores_) == model.n_iter_ < 200
    assert best < model.n_iter_ - 1
    for name, array in states(model).items():
        assert array.tobytes() == seen[best][name].tobytes()
    last = seen[-1]
    assert any(array.tobytes() != last[name].tobytes() for name, array in states(model).items())


def test_held_out_samples_keep_the_share_of_every_class() -> None:
    strata = np.repeat([0, 1, 2], [10, 30, 60])
    learned, held_out = hold_out(np.arange(100), strata, 0.1, np.random.RandomState(0))
    assert np.bincount(strata[held_out]).tolist() == [1, 3, 6]
    assert sorted([*learned, *held_out]) == list(range(100))


def test_classes_too_rare_to_be_in_both_parts_are_split_at_random() -> None:
    learned, held_out = hold_out(np.arange(20), np.array([0] * 19 + [1]), 0.2, np.random.RandomState(0))
    assert (len(learned), len(held_out)) == (16, 4)
    with pytest.raises(ValueError, match="early_stopping needs at least 2 samples to validate, got 1"):
        hold_out(np.arange(5), None, 0.2, np.random.RandomState(0))


def test_validation_score_of_the_regressor_is_scikit_learns_r2() -> None:
    random = np.random.RandomState(0)
    target, predicted, weight = random.randn(30, 3), random.randn(30, 3), random.rand(30)
    target[:, 1] = 2.0
    predicted[:, 2] = target[:, 2]
    score = MLPRegressor()._score_encoded(target, predicted, weight)
    np.testing.assert_allclose(score, r2_score(target, predicted, sample_weight=weight))


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3, "batch_norm": True}, {"solver": "sgd"}])
def test_calls_of_partial_fit_equal_one_fit(options: dict[str, Any]) -> None:
    X, y = blobs()
    common: dict[str, Any] = {
        "hidden_layer_sizes": (9,),
        "batch_size": 16,
        "shuffle": False,
        "random_state": 4,
    } | options
    fitted = MLPClassifier(**common, max_iter=6, n_iter_no_change=np.inf).fit(X, y)
    partial = MLPClassifier(**common).partial_fit(X, y, classes=[0, 1, 2])
    for _ in range(5):
        partial.partial_fit(X, y)
    assert_same_bits(fitted, partial)
    assert partial.loss_curve_ == fitted.loss_curve_
    assert (partial.n_iter_, partial.t_) == (6, 360)


def test_partial_fit_lowers_an_adaptive_rate_as_fit_does() -> None:
    X, y = blobs()
    common: dict[str, Any] = {"solver": "sgd", "learning_rate": "adaptive", "tol": 10, "n_iter_no_change": 2}
    common["shuffle"] = False
    fitted = MLPClassifier(**common, random_state=0, max_iter=7).fit(X, y)
    partial = MLPClassifier(**common, random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    for _ in range(6):
        partial.partial_fit(X, y)
    assert partial._network.optimizer.param_groups[0]["lr"] == fitted._network.optimizer.param_groups[0]["lr"] < 1e-3
    assert_same_bits(fitted, partial)


def test_partial_fit_wants_all_classes_at_first_and_no_others_later() -> None:
    X, y = blobs()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(X, y)
    model = MLPClassifier().partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (60, 3)
    with pytest.raises(ValueError, match=r"classes must be those of the first call to partial_fit, \[0, 1, 2\]"):
        model.partial_fit(X, y, classes=[0, 1])
    for other in (7, "1"):
        with pytest.raises(ValueError, match=rf"y has classes that are not in classes_: \[{other!r}\]"):
            model.partial_fit(X, np.full(60, other))
    assert not hasattr(MLPClassifier(early_stopping=True), "partial_fit")


def test_warm_start_goes_on_from_the_weights() -> None:
    X, y = blobs()
    model = MLPClassifier((8,), max_iter=20, tol=0, warm_start=True, random_state=0).fit(X, y)
    before, curve = states(model), list(model.loss_curve_)
    model.set_params(learning_rate_init=1e-12).fit(X, y)
    for name, array in states(model).items():
        np.testing.assert_allclose(array, before[name], atol=1e-9)
    assert model.loss_curve_[:20] == curve
    assert len(model.loss_curve_) == 20 + model.n_iter_
    with pytest.raises(ValueError, match=r"the fitted network is 5-8-3, relu and cannot go on as 5-9-3, relu"):
        model.set_params(hidden_layer_sizes=(9,)).fit(X, y)
    assert len(model.set_params(warm_start=False, max_iter=3).fit(X, y).loss_curve_) == 3


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_reaching_max_iter_is_a_warning() -> None:
    X, y = blobs()
    with pytest.warns(ConvergenceWarning, match="MLPClassifier: max_iter=3 epochs are over"):
        MLPClassifier(max_iter=3).fit(X, y)
    MLPClassifier(tol=1.0, max_iter=12).fit(X, y)


def test_verbose_prints_every_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = blobs()
    options: dict[str, Any] = {"verbose": True, "random_state": 0, "tol": 1.0, "n_iter_no_change": 2}
    model = MLPClassifier(**options).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Iteration 1, loss = {model.loss_curve_[0]:.8f}"
    assert lines[-1] == "Training loss did not improve more than tol=1.000000 for 2 consecutive epochs. Stopping."
    MLPClassifier(early_stopping=True, **options).fit(X, y)
    assert "Validation score: " in capsys.readouterr().out
    MLPClassifier(solver="sgd", learning_rate="adaptive", max_iter=4, **options).fit(X, y)
    assert "Setting learning rate to 0.000200" in capsys.readouterr().out


def test_ctrl_c_keeps_what_has_been_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs()
    run = Epochs.run

    def run_and_press(self: Epochs, *arguments: Any) -> Any:
        if len(model.loss_curve_) == 3:
            signal.raise_signal(signal.SIGINT)
        return run(self, *arguments)

    monkeypatch.setattr(Epochs, "run", run_and_press)
    model = MLPClassifier(random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    assert len(model.loss_curve_) == 3
    assert model.predict(X).shape == y.shape


def test_training_that_diverges_is_an_error() -> None:
    X, y = regression_data(1)
    with pytest.raises(ValueError, match=r"scale the inputs \(StandardScaler\) or lower learning_rate_init=1"):
        MLPRegressor(solver="sgd", learning_rate_init=100.0, activation="identity").fit(1e3 * X, y)


# ---- reproducible, and quiet towards everything else


def test_random_state_alone_decides_and_minidls_generator_is_left_alone() -> None:
    X, y = blobs()
    options: dict[str, Any] = {"max_iter": 3, "dropout": 0.5, "batch_norm": True}
    minidl.manual_seed(11)
    minidl.rand(3)
    before, numpys = minidl.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = MLPClassifier(**options, random_state=0).fit(X, y)
    assert minidl.get_rng_state() == before
    minidl.manual_seed(99)
    assert_same_bits(first, MLPClassifier(**options, random_state=0).fit(X, y))
    assert_same_bits(first, MLPClassifier(**options, random_state=np.random.RandomState(0)).fit(X, y))
    assert np.random.get_state()[1].tolist() == numpys  # noqa: NPY002
    other = MLPClassifier(**options, random_state=1).fit(X, y)
    assert states(first)["0.weight"].tobytes() != states(other)["0.weight"].tobytes()
    copy.deepcopy(first)
    assert minidl.get_rng_state() == minidl.manual_seed(99).get_state()


def test_random_state_none_takes_numpys_global_one() -> None:
    X, y = blobs()
    models = []
    for seed in (5, 5, 6):
        np.random.seed(seed)  # noqa: NPY002
        models.append(MLPClassifier(max_iter=2).fit(X, y))
    assert_same_bits(models[0], models[1])
    assert models[0].loss_curve_ != models[2].loss_curve_


def test_estimators_work_inside_no_grad() -> None:
    X, y = blobs()
    with minidl.no_grad():
        assert len(set(MLPClassifier(max_iter=3).fit(X, y).loss_curve_)) == 3


def test_fits_in_threads_equal_fits_one_after_the_other() -> None:
    X, y = blobs()
    models = [MLPClassifier((9,), dropout=0.3, max_iter=5, random_state=seed) for seed in range(4)]
    in_threads = joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(clone(model).fit)(X, y) for model in models
    )
    for model, threaded in zip(models, in_threads, strict=True):
        assert_same_bits(model.fit(X, y), threaded)


def test_threads_may_predict_at_once() -> None:
    X, y = blobs()
    model = MLPClassifier((9,), dropout=0.5, batch_norm=True, max_iter=3).fit(X, y)
    wanted = model.predict_proba(X)
    answers = joblib.Parallel(n_jobs=4, backend="threading")(joblib.delayed(model.predict_proba)(X) for _ in range(50))
    for answer in answers:
        np.testing.assert_array_equal(answer, wanted)


# ---- data


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_number_type_of_the_data_is_kept(kind: Any, dtype: Any) -> None:
    X, y = blobs()
    model = kind(max_iter=2).fit(X.astype(dtype), y, np.ones(60))
    assert {array.dtype for array in (*model.coefs_, *model.intercepts_)} == {np.dtype(dtype)}
    outputs = model.predict_proba(X) if kind is MLPClassifier else model.predict(X)
    assert outputs.dtype == dtype
    assert model._network.optimizer.state[next(model._network.model.parameters())]["exp_avg"].numpy().dtype == dtype


def test_whole_numbers_are_computed_in_float64() -> None:
    model = MLPClassifier(max_iter=2).fit(np.arange(20).reshape(10, 2), np.arange(10) % 2)
    assert model.coefs_[0].dtype == np.float64


@pytest.mark.parametrize(
    "labels",
    [
        ["no", "yes"],
        ["a", "b", "c"],
        np.array(["x", "y"], object),
        [-1, 1],
        [10, 20, 30],
        [False, True],
        [0.0, 1.0, 2.0],
    ],
    ids=str,
)
def test_labels_of_any_kind_come_back(labels: list[Any]) -> None:
    X, y = blobs(90, classes=len(labels))
    named = np.array(labels)[y]
    model = MLPClassifier(learning_rate_init=0.01, random_state=0).fit(X, named)
    assert model.classes_.tolist() == list(labels)
    assert set(model.predict(X)) == set(labels)
    assert model.score(X, named) > 0.8
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (90, len(labels))
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(model.classes_[probabilities.argmax(1)], model.predict(X))
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(probabilities), rtol=1e-10, atol=1e-14)


def test_single_class_is_predicted_with_certainty() -> None:
    X, _ = blobs()
    model = MLPClassifier(tol=1.0, max_iter=20).fit(X, np.full(60, "only"))
    assert set(model.predict(X)) == {"only"}
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((60, 1)))


def test_multilabel_targets_are_predicted_label_by_label() -> None:
    X, y = make_multilabel_classification(300, 8, n_classes=4, random_state=0)
    model = make_pipeline(StandardScaler(), MLPClassifier((50,), learning_rate_init=0.01, random_state=0)).fit(X, y)
    assert model[-1].out_activation_ == "logistic"
    assert model.predict(X).shape == model.predict_proba(X).shape == (300, 4)
    np.testing.assert_array_equal(model.predict(X), model.predict_proba(X) > 0.5)
    assert (model.predict(X) == y).mean() > 0.9


def test_logarithms_of_vanishing_probabilities_are_finite() -> None:
    X, y = blobs(classes=2)
    model = MLPClassifier((), learning_rate_init=0.1, random_state=0).fit(X, y)
    far = 1e4 * X[:5]
    assert (model.predict_proba(far).min(1) == 0).all()
    assert np.isfinite(model.predict_log_proba(far)).all()


def test_sparse_data_and_two_answers_per_sample_are_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    X, y = blobs()
    with pytest.raises(TypeError, match="dense data is required"):
        MLPClassifier().fit(sparse.csr_array(X), y)
    with pytest.raises(ValueError, match="a column of y may hold two values only"):
        MLPClassifier().fit(X, np.stack([y, y], 1))
    model = MLPClassifier(warm_start=True, max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="y must have one dimension"):
        model.fit(X, np.eye(3)[y])
    regressor = MLPRegressor(warm_start=True, max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="y must have 1 columns"):
        regressor.fit(X, np.eye(3)[y])


def test_nothing_is_predicted_before_fit() -> None:
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(np.zeros((1, 2)))
    assert not hasattr(MLPRegressor(), "coefs_")


# ---- the network


@pytest.mark.parametrize("name", [*ACTIVATIONS, *SOLVERS])
def test_every_activation_and_solver_learns_in_a_captured_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Epochs] = []
    start = Epochs.__init__
    monkeypatch.setattr(Epochs, "__init__", lambda self, *given: (start(self, *given), made.append(self))[0])
    X, y = blobs()
    X = StandardScaler().fit_transform(X)
    rate = 1.0 if name == "adadelta" else 0.02
    parameter = {"activation": name} if name in ACTIVATIONS else {"solver": name}
    model = MLPClassifier((8,), batch_size=16, max_iter=20, dropout=0.1, learning_rate_init=rate, **parameter)
    model.set_params(random_state=0).fit(X, y, np.linspace(0.5, 1.5, 60))
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    (epochs,) = made
    assert epochs.step.failure == ""
    assert {record.is_complete for record in epochs.step.records.values()} == {True}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_coefficients_compute_the_predictions(batch_norm: bool) -> None:
    X, y = regression_data(3)
    model = MLPRegressor((6, 5), "tanh", batch_norm=batch_norm, batch_size=16, max_iter=5, dropout=0.2).fit(X, y)
    out = X
    for i, (weight, intercept) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        out = out @ weight + intercept
        out = np.tanh(out) if i < 2 else out
    np.testing.assert_allclose(out, model.predict(X), rtol=1e-12, atol=1e-13)


def test_last_batch_of_one_sample_joins_the_one_before_under_batch_norm() -> None:
    X, y = blobs(61)
    model = MLPClassifier((4,), batch_norm=True, batch_size=20, max_iter=5).fit(X, y)
    tracked = states(model)["1.num_batches_tracked"]
    assert int(tracked) == 5 * 3
    assert model.t_ == 5 * 61
    with pytest.raises(ValueError, match="batch_norm needs batches of at least 2 samples"):
        MLPClassifier(batch_norm=True, batch_size=1).fit(X, y)


def test_adamw_takes_alpha_as_decoupled_decay() -> None:
    """Where the loss has no slope, only the decay moves the weights: by 1 - rate * alpha / n a step."""
    X, y = np.zeros((10, 2)), np.zeros(10)
    options: dict[str, Any] = {"solver": "adamw", "learning_rate_init": 0.1, "max_iter": 5, "random_state": 0}
    start = np.random.RandomState(0).uniform(-np.sqrt(2), np.sqrt(2), (2, 1))
    model = MLPRegressor((), **options, alpha=7.0).fit(X, y)
    np.testing.assert_allclose(model.coefs_[0], start * (1 - 0.1 * 0.7) ** 5, rtol=1e-12)


def test_rows_beyond_one_chunk_are_predicted_alike() -> None:
    X, y = blobs()
    model = MLPClassifier(max_iter=2).fit(X, y)
    many = np.tile(X, (150, 1))
    np.testing.assert_array_equal(model.predict_proba(many)[-60:], model.predict_proba(many[-4096:])[-60:])
    np.testing.assert_allclose(model.predict_proba(many)[:60], model.predict_proba(X), rtol=1e-12)


@pytest.mark.parametrize(
    ("parameter", "value", "error", "message"),
    [
        ("solver", "lbfgs", ValueError, "'lbfgs' is not in minidl, .* use 'adam'"),
        ("solver", "newton", ValueError, "solver must be one of sgd, adam, .*, got 'newton'"),
        ("activation", "swish", ValueError, "activation must be one of identity, logistic, tanh, .*, got 'swish'"),
        ("learning_rate", "cyclic", ValueError, "learning_rate must be one of constant, invscaling, adaptive"),
        ("alpha", -1, ValueError, "alpha must be at least 0, got -1"),
        ("dropout", 1.0, ValueError, "dropout must be at least 0 and below 1, got 1.0"),
        ("momentum", 1.1, ValueError, "momentum must be at least 0 and at most 1, got 1.1"),
        ("validation_fraction", 0, ValueError, "validation_fraction must be above 0 and below 1, got 0"),
        ("learning_rate_init", float("nan"), ValueError, "learning_rate_init must be above 0, got nan"),
        ("max_iter", 0, ValueError, "max_iter must be a whole number of at least 1, got 0"),
        ("max_iter", 2.5, TypeError, "max_iter must be a whole number of at least 1, got 2.5"),
        ("tol", "small", TypeError, "tol must be at least 0, got 'small'"),
        ("batch_size", "all", TypeError, "batch_size must be a whole number of at least 1, got 'all'"),
        ("hidden_layer_sizes", (5, 0), ValueError, "hidden_layer_sizes must be a whole number of at least 1, got 0"),
        ("hidden_layer_sizes", "5", TypeError, "hidden_layer_sizes must be a whole number"),
        ("device", "tpu", ValueError, "tpu"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(parameter: str, value: Any, error: Any, message: str) -> None:
    X, y = blobs()
    with pytest.raises(error, match=message):
        MLPClassifier(**{parameter: value}).fit(X, y)


# ---- what it is worth


def test_digits_are_recognized() -> None:
    X, y = load_digits(return_X_y=True)
    parts = train_test_split(X.astype(np.float32), y, test_size=0.25, random_state=0, stratify=y)
    X_train, X_test, y_train, y_test = parts
    model = make_pipeline(StandardScaler(), MLPClassifier(random_state=0, max_iter=60)).fit(X_train, y_train)
    assert model.score(X_test, y_test) >= 0.97


def test_smooth_function_is_fitted() -> None:
    random = np.random.RandomState(0)
    X = random.uniform(-1, 1, (600, 2)).astype(np.float32)
    y = np.sin(3 * X[:, 0]) * X[:, 1]
    model = MLPRegressor((50, 50), "gelu", batch_size=50, learning_rate_init=0.01, early_stopping=True, random_state=0)
    assert model.fit(X[:500], y[:500]).score(X[500:], y[500:]) > 0.99


# ---- pickles, copies, other processes


def test_pickle_holds_the_network_as_a_safetensors_file_and_nothing_else_of_it() -> None:
    X, y = blobs()
    model = MLPClassifier((8,), batch_norm=True, max_iter=2).fit(X, y)
    arrays = safetensors.numpy.load(model._network.__getstate__()["safetensors"])
    np.testing.assert_array_equal(arrays["model.0.weight"], states(model)["0.weight"])
    assert b"minidl.nn" not in pickle.dumps(model)


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "joblib"])
def test_copies_predict_and_go_on_as_the_original(how: str, tmp_path: Path) -> None:
    X, y = blobs()
    model = MLPClassifier((8,), batch_norm=True, dropout=0.2, random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    if how == "joblib":
        joblib.dump(model, tmp_path / "model")
        twin = joblib.load(tmp_path / "model")
    else:
        twin = copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
    assert_same_bits(model, twin)
    assert model.predict_proba(X).tobytes() == twin.predict_proba(X).tobytes()
    for estimator in (model, twin):
        estimator.partial_fit(X, y)
    assert_same_bits(model, twin)


def test_copy_keeps_the_network_it_was_fitted_with() -> None:
    X, y = blobs()
    model = MLPClassifier((8,), max_iter=2).fit(X, y).set_params(hidden_layer_sizes=(99,), solver="sgd")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    assert not hasattr(clone(model), "coefs_")


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PACKAGE_ROOT)!r})\n{code}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_pickle_loads_in_a_new_process(tmp_path: Path) -> None:
    X, y = blobs()
    model = make_pipeline(StandardScaler(), MLPRegressor((8,), max_iter=3, batch_norm=True)).fit(X, y)
    (tmp_path / "model").write_bytes(pickle.dumps((model, X)))
    code = "import json, pickle; model, X = pickle.load(open(sys.argv[1], 'rb')); print(model.predict(X).tolist())"
    done = run_python(code, str(tmp_path / "model"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == model.predict(X).tolist()


def test_import_of_minidl_does_not_import_scikit_learn() -> None:
    done = run_python("import minidl; print('sklearn' in sys.modules); minidl.sklearn; print('sklearn' in sys.modules)")
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_without_scikit_learn_the_error_says_what_to_install() -> None:
    done = run_python("sys.modules['sklearn'] = None; import minidl; minidl.sklearn")
    assert done.stderr.splitlines()[-1].startswith("ImportError: minidl.sklearn needs scikit-learn")
    assert "pip install 'minidl[sklearn]'" in done.stderr


@pytest.fixture
def workers() -> Iterator[None]:
    yield
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)


def search() -> GridSearchCV:
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((10,), max_iter=15, random_state=0))
    return GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 100.0], "mlpclassifier__dropout": [0.0, 0.2]}, cv=3)


def test_grid_search_in_worker_processes_equals_the_one_in_this(workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE_ROOT))
    X, y = blobs(120)
    here, there = search().fit(X, y), search().set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(here.cv_results_["mean_test_score"], there.cv_results_["mean_test_score"])
    assert here.best_params_ == there.best_params_
    assert_same_bits(here.best_estimator_[-1], there.best_estimator_[-1])


@pytest.mark.parametrize("asked", [None, "3"])
def test_worker_processes_share_the_cores(asked: str | None, workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """joblib gives each its part in OMP_NUM_THREADS; MINIDL_NUM_THREADS, where somebody set it, goes before it."""
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE_ROOT))
    monkeypatch.delenv("MINIDL_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("MINIDL_NUM_THREADS", asked)

    def threads(model: Any) -> int:
        return minidl.get_num_threads()

    with joblib.parallel_config("loky", inner_max_num_threads=1):
        counts = joblib.Parallel(n_jobs=2)(joblib.delayed(threads)(MLPClassifier()) for _ in range(2))
    assert set(counts) == {int(asked or 1)}


def test_scores_by_cross_validation_and_calibrated_probabilities() -> None:
    X, y = blobs(240)
    model = make_pipeline(StandardScaler(), MLPClassifier((20,), learning_rate_init=0.02, max_iter=40, random_state=0))
    assert cross_val_score(model, X, y, cv=3).min() > 0.7
    calibrated = CalibratedClassifierCV(model, cv=3).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)


# ---- on a GPU


@pytest.mark.parametrize("case", ["three classes", "multilabel", "regression"])
def test_training_on_cuda_follows_the_cpu(cuda: Backend, case: str) -> None:
    kind, _, (X, y) = CASES[case]
    options: dict[str, Any] = {"hidden_layer_sizes": (6,), "batch_size": 40, "max_iter": 3, "random_state": 0}
    options |= {"batch_norm": True, "dropout": 0.2, "early_stopping": True, "alpha": 0.1}
    weight = np.linspace(0.5, 1.5, len(X))
    there = kind(**options, device="cuda").fit(X, y, weight)
    here = kind(**options).fit(X, y, weight)
    assert {parameter.device.type for parameter in there._network.model.parameters()} == {"cuda"}
    np.testing.assert_allclose(there.loss_curve_, here.loss_curve_, rtol=1e-9)
    for one, other in zip(there.coefs_, here.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-10)
    twin = pickle.loads(pickle.dumps(there))
    np.testing.assert_array_equal(twin.predict(X), there.predict(X))


def test_what_cuda_has_trained_is_unpickled_where_there_is_none(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs()
    model = MLPClassifier((6,), max_iter=2, device="cuda").fit(X, y)
    content, probabilities = pickle.dumps(model), model.predict_proba(X)
    monkeypatch.setattr(backends, "cuda", None)
    monkeypatch.setattr(backends, "why_no_cuda", lambda: "no GPU")
    twin = pickle.loads(content)
    assert twin._network.device == "cpu"
    np.testing.assert_allclose(twin.predict_proba(X), probabilities, rtol=1e-9)
