"""training.metrics: hand-computed cases, undefined ratios, bad shapes."""

import numpy as np
import pytest

import minidl
from minidl.training import metrics

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]])


def test_accuracy_counts_the_largest_score_or_the_label() -> None:
    assert metrics.accuracy(SCORES, [1, 0, 1, 0]) == 0.75
    assert metrics.accuracy([1, 0, 2, 0], [1, 0, 1, 0]) == 0.75
    assert metrics.accuracy(minidl.tensor(SCORES, requires_grad=True), minidl.tensor([1, 0, 1, 1])) == 0.5


def test_top_k_accuracy_prefers_the_lower_class_of_equal_scores() -> None:
    assert [metrics.top_k_accuracy(SCORES, [2, 1, 0, 1], k) for k in (1, 2, 3)] == [0.0, 0.5, 1.0]
    assert metrics.top_k_accuracy(SCORES[3:], [0], 1) == 1.0
    assert metrics.top_k_accuracy([[np.nan, 1.0]], [1], 1) == 0.0
    with pytest.raises(ValueError, match=r"k must lie in \[1, 3\], got 5"):
        metrics.top_k_accuracy(SCORES, [0, 0, 0, 0])


def test_confusion_matrix_has_the_true_classes_as_rows() -> None:
    expected = [[2, 1, 0], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_array_equal(metrics.confusion_matrix([0, 0, 1, 2], [0, 0, 0, 1], 3), expected)
    assert metrics.confusion_matrix(SCORES, [1, 0, 2, 0]).shape == (3, 3)
    assert metrics.confusion_matrix([0, 0], [0, 1]).tolist() == [[1, 0], [1, 0]]
    with pytest.raises(ValueError, match=r"labels in target must be whole numbers in \[0, 2\), got 0 to 2"):
        metrics.confusion_matrix([0, 1], [0, 2], 2)
    with pytest.raises(ValueError, match="labels in output must be whole numbers"):
        metrics.confusion_matrix([0.5, 1.0], [0, 1])


def test_precision_recall_and_f1_are_those_computed_by_hand() -> None:
    # Class 0: 2 right, predicted 3 times, there 2 times. Class 1: 1 right, predicted once, there 2 times.
    figures = metrics.precision_recall_f1([0, 0, 0, 1], [0, 0, 1, 1])
    np.testing.assert_allclose(figures.precision_per_class, [2 / 3, 1])
    np.testing.assert_allclose(figures.recall_per_class, [1, 1 / 2])
    np.testing.assert_allclose(figures.f1_per_class, [4 / 5, 2 / 3])
    assert figures.precision == pytest.approx(5 / 6)
    assert figures.recall == pytest.approx(3 / 4)
    assert figures.f1 == pytest.approx(11 / 15)


def test_nothing_out_of_nothing_is_0() -> None:
    # Class 1 is there and never predicted, class 2 is predicted and never there, class 3 neither.
    figures = metrics.precision_recall_f1([0, 2], [0, 1], classes=4)
    assert figures.precision_per_class.tolist() == [1, 0, 0, 0]
    assert figures.recall_per_class.tolist() == [1, 0, 0, 0]
    assert figures.f1_per_class.tolist() == [1, 0, 0, 0]
    assert figures.f1 == 0.25


def test_r2_is_1_for_a_perfect_fit_and_0_for_the_mean() -> None:
    target = [1.0, 2.0, 3.0, 6.0]
    assert metrics.r2_score(target, target) == 1
    assert metrics.r2_score([3.0] * 4, target) == 0
    assert metrics.r2_score([2.0, 2.0, 3.0, 6.0], target) == pytest.approx(1 - 1 / 14)
    assert metrics.r2_score(minidl.tensor([[1.0], [4.0]]), minidl.tensor([[1.0], [2.0]])) == pytest.approx(1 - 4 / 0.5)


def test_r2_of_columns_is_their_mean_and_of_equal_targets_0_or_1() -> None:
    assert metrics.r2_score([[1.0, 5.0], [2.0, 5.0]], [[1.0, 5.0], [2.0, 5.0]]) == 1
    assert metrics.r2_score([[1.0, 5.0], [2.0, 6.0]], [[1.0, 5.0], [2.0, 5.0]]) == 0.5
    with pytest.raises(ValueError, match="there must be at least 2 samples, got 1"):
        metrics.r2_score([1.0], [1.0])


def test_mean_absolute_error_is_over_all_elements() -> None:
    assert metrics.mean_absolute_error([[1.0, -2.0], [0.0, 4.0]], [[0.0, 2.0], [0.0, 1.0]]) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.accuracy(SCORES, [0, 1]),
        lambda: metrics.accuracy(np.zeros((0, 3)), np.zeros(0)),
        lambda: metrics.accuracy(np.zeros((2, 3, 4)), [0, 1]),
        lambda: metrics.r2_score([1.0, 2.0], [[1.0], [2.0]]),
        lambda: metrics.mean_absolute_error([], []),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call) -> None:
    with pytest.raises(ValueError, match=r"must have|must be at least one"):
        call()
