"""Reductions beyond the rows of op_cases.py: long sums, threads, ties, nan, dims, integers, what is refused."""

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close, error_in_epsilons
from minidl import _cpu, ops
from minidl.backends import Backend
from minidl.tensor import Tensor

Array = np.ndarray
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
# outer x reduced x inner: few outputs, where threads share the reduced dimension, and many; tall; beyond the caches
LAYOUTS = [
    (1, 1_000_003, 1),
    (3, 100_003, 1),
    (1, 100_003, 3),
    (2, 40_009, 17),
    (4099, 67, 1),
    (1, 257, 1021),
    (5, 33, 65),
    (1, 2311, 1021),
    (1, 40_009, 65),
    (33_003, 257, 1),
    (1, 33_003, 257),
]


def run_kernels(x: Array) -> list[Array]:
    """Sum, maximum, minimum with their places, mean and variance over the middle dimension."""
    shape = (x.shape[0], x.shape[2])
    values = [np.empty(shape, x.dtype) for _ in range(5)]
    places = [np.empty(shape, np.int64) for _ in range(2)]
    _cpu.sum_forward(x, values[0])
    _cpu.max_forward(x, values[1], places[0])
    _cpu.min_forward(x, values[2], places[1])
    _cpu.var_forward(x, values[3], values[4], 1.0)
    return [*values, *places]


def assert_extremes(x: Array, results: list[Array]) -> None:
    """Places are NumPy's, and values the numbers there, whichever nan they are."""
    largest, smallest, place_of_largest, place_of_smallest = results[1], results[2], *results[5:]
    for name, value, place, expected in [
        ("maximum", largest, place_of_largest, x.argmax(1)),
        ("minimum", smallest, place_of_smallest, x.argmin(1)),
    ]:
        assert_bitwise_equal(place, expected, f"place of the {name}")
        assert_bitwise_equal(value, np.take_along_axis(x, expected[:, None], 1)[:, 0], name)


@each_dtype
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_kernels_are_exact_and_do_not_depend_on_threads(layout: tuple, dtype: type, backend: Backend) -> None:
    x = (np.random.default_rng(0).standard_normal(layout) + 3).astype(dtype)
    results = []
    for threads in (1, 2, 3):
        _cpu.set_thread_count(threads)
        results.append(run_kernels(x))
    for other in results[1:]:
        for result, expected in zip(other, results[0], strict=True):
            assert_bitwise_equal(result, expected, f"kernels on {layout}")
    total, _, _, mean, var, *_ = results[0]
    exact = x.astype(np.longdouble)
    # The worst case is half an epsilon per level of the tree of additions, about 20 levels.
    assert_close(total, exact.sum(1).astype(float), 4, "sum")
    assert_close(mean, exact.mean(1).astype(float), 4, "mean")
    assert_close(var, exact.var(1, ddof=1).astype(float), 8, "variance")
    assert_extremes(x, results[0])


@each_dtype
def test_outliers_and_jumps_do_not_cancel_in_a_tall_variance(dtype: type, backend: Backend) -> None:
    x = np.random.default_rng(1).standard_normal((1, 20_000, 128)).astype(dtype)
    x[0, 0, 0] = x[0, 7000, 1] = 1e4  # where deviations are first taken from, and among the others
    x[0, :, 2] += np.repeat(np.arange(20, dtype=dtype) * 1e3, 1000)
    x[0, :, 3] += np.arange(20_000, dtype=dtype)
    x[0, ::2, 4] += dtype(1e4)
    mean, var = np.empty((1, 128), dtype), np.empty((1, 128), dtype)
    _cpu.var_forward(x, mean, var, 1.0)
    exact = x.astype(np.longdouble)
    expected = exact.var(1, ddof=1).astype(float)
    # All values are taken relative to the first one: where it is the outlier, every leaf's mean is rounded at its size.
    assert_close(var[:, :1], expected[:, :1], 128, "variance after an outlier")
    assert_close(var[:, 1:], expected[:, 1:], 16, "variance")
    scale = np.abs(exact).mean(1) + np.abs(exact[:, 0])
    assert_close(mean, exact.mean(1).astype(float), 8, "mean", scale.astype(float))


def test_a_sum_of_a_million_tenths_is_exact_to_the_last_digits(backend: Backend) -> None:
    x = Tensor(np.full(1_000_003, 0.1, np.float32), backend)
    expected = np.asarray(np.float64(np.float32(0.1)) * 1_000_003)
    assert error_in_epsilons(ops.sum(x).array, expected) <= 2


def test_the_mean_of_equal_numbers_is_that_number(backend: Backend) -> None:
    for count in range(1, 200):
        x = Tensor(np.full((count, 2), 3.0, np.float32), backend)
        assert ops.mean(x, 0).tolist() == [3.0, 3.0]


@each_dtype
def test_variance_survives_a_large_mean(dtype: type, backend: Backend) -> None:
    offset = 1e4 if dtype == np.float32 else 1e10
    x = (np.random.default_rng(0).integers(0, 4, (3001, 5)) + offset).astype(dtype)
    var = ops.var(Tensor(x, backend), 0).array
    assert_close(var, (x.astype(np.longdouble) - offset).var(0, ddof=1).astype(float), 16, "variance")


@each_dtype
@pytest.mark.parametrize("layout", [(1, 90_001, 1), (9, 37, 1), (2, 77, 33), (1, 30_011, 3)], ids=str)
def test_extremes_take_the_first_of_equals_and_the_first_nan(layout: tuple, dtype: type, backend: Backend) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 5, layout).astype(dtype)
    for share_of_nan in (0.0, 1e-4, 0.05):
        x[random.random(layout) < share_of_nan] = np.nan
        assert_extremes(x, run_kernels(x))


@each_dtype
@pytest.mark.parametrize("layout", [(1, 90_001, 1), (5, 9_001, 1), (300, 65, 1), (1, 9_001, 40)], ids=str)
def test_extremes_are_found_wherever_they_are_and_beside_infinities(
    layout: tuple, dtype: type, backend: Backend
) -> None:
    random = np.random.default_rng(0)
    numbers = random.standard_normal(layout).astype(dtype)
    for share_of_infinities in (0.0, 1e-4, 0.1):
        infinities = np.where(random.random(layout) < 0.5, np.inf, -np.inf).astype(dtype)
        mixed = np.where(random.random(layout) < share_of_infinities, infinities, numbers)
        for x in (mixed, np.sort(mixed, 1), -np.sort(mixed, 1)):
            assert_extremes(x, run_kernels(x))


def test_extremes_of_infinities_have_a_place(backend: Backend) -> None:
    x = Tensor(np.full((3, 40), -np.inf, np.float32), backend)
    values, indices = ops.max(x, 1)
    assert values.tolist() == [-np.inf] * 3
    assert indices.tolist() == [0] * 3
    assert ops.argmin(ops.neg(x), 1).tolist() == [0] * 3


def test_empty_sums_are_zero_and_empty_means_nan(backend: Backend) -> None:
    x = Tensor(np.empty((2, 0), np.float32), backend)
    assert ops.sum(x, 1).tolist() == [0, 0]
    assert np.isnan(ops.mean(x, 1).array).all()
    assert np.isnan(ops.var(x, 1).array).all()
    with pytest.raises(ValueError, match=r"max: dim must have at least 1 element, got shape \(2, 0\)"):
        ops.max(x, 1)
    with pytest.raises(ValueError, match="argmin: dim must have at least 1 element"):
        ops.argmin(x)


def test_the_variance_of_one_number_is_nan(backend: Backend) -> None:
    assert np.isnan(ops.var(Tensor(np.ones(1, np.float32), backend)).item())
    assert ops.var(Tensor(np.ones(1, np.float32), backend), correction=0).item() == 0


def test_equal_elements_share_the_gradient_of_amax(backend: Backend) -> None:
    x = Tensor(np.array([[1.0, 3, 3], [2, 2, 2]], np.float32), backend, requires_grad=True)
    ops.sum(ops.amax(x, 1)).backward()
    np.testing.assert_array_equal(x.grad.array, np.float32([[0, 0.5, 0.5], [1 / 3] * 3]))
    x.grad = None
    ops.max(x).backward()
    np.testing.assert_array_equal(x.grad.array, np.float32([[0, 0.5, 0.5], [0, 0, 0]]))


def test_the_place_that_max_names_takes_all_the_gradient(backend: Backend) -> None:
    x = Tensor(np.array([[1.0, 3, 3], [2, 2, 2]], np.float32), backend, requires_grad=True)
    result = ops.max(x, 1, keepdim=True)
    assert result.indices.tolist() == [[1], [0]]
    ops.sum(result.values).backward()
    np.testing.assert_array_equal(x.grad.array, np.float32([[0, 1, 0], [1, 0, 0]]))


def test_the_gradient_of_std_and_norm_is_zero_at_zero(backend: Backend) -> None:
    for op in (ops.std, ops.norm):
        x = Tensor(np.zeros(3, np.float32), backend, requires_grad=True)
        op(x).backward()
        np.testing.assert_array_equal(x.grad.array, np.zeros(3, np.float32))


def test_keepdim_and_tuples_of_dims_give_pytorchs_shapes(backend: Backend) -> None:
    x = Tensor(np.zeros((2, 3, 5), np.float32), backend)
    assert ops.sum(x, (0, 2)).shape == (3,)
    assert ops.sum(x, (0, -1), keepdim=True).shape == (1, 3, 1)
    assert ops.mean(x, keepdim=True).shape == (1, 1, 1)
    assert ops.argmax(x).shape == ()
    assert ops.argmax(x, 1, keepdim=True).shape == (2, 1, 5)
    assert ops.max(x, -1).values.shape == (2, 3)
    assert ops.amax(x).shape == ()
    assert ops.norm(x, dim=1).shape == (2, 5)


def test_integers_and_booleans_are_reduced_exactly(backend: Backend) -> None:
    x = Tensor(np.array([[3, 1], [2, 7]]), backend)
    assert ops.sum(x).array.dtype == np.int64
    assert ops.sum(x, 0).tolist() == [5, 8]
    assert ops.sum(ops.gt(x, 2)).item() == 2
    assert ops.max(x, 1).values.tolist() == [3, 7]
    assert ops.max(x, 1).indices.tolist() == [0, 1]
    assert ops.min(x).item() == 1
    assert ops.argmax(x).item() == 3
    assert ops.prod(x, 1).tolist() == [3, 14]
    with pytest.raises(TypeError, match="mean: input must be float32 or float64"):
        ops.mean(x)


def test_max_of_two_tensors_is_the_larger_of_each_pair(backend: Backend) -> None:
    a, b = Tensor(np.float32([1, 5]), backend), Tensor(np.float32([4, 2]), backend)
    assert ops.max(a, b).tolist() == [4, 5]
    assert ops.min(a, b).tolist() == [1, 2]


def test_var_takes_pytorchs_older_argument(backend: Backend) -> None:
    x = Tensor(np.float32([1, 2, 4]), backend)
    biased = ops.var(x, correction=0).item()
    assert ops.var(x, unbiased=False).item() == ops.var(x, False).item() == ops.var(x, 0, False).item() == biased


def test_wrong_dims_are_named(backend: Backend) -> None:
    x = Tensor(np.zeros((2, 3), np.float32), backend)
    with pytest.raises(IndexError, match=r"sum: dim must lie in -2..1 for a tensor of 2 dimensions, got 2"):
        ops.sum(x, 2)
    with pytest.raises(ValueError, match="mean: dim names a dimension twice"):
        ops.mean(x, (0, -2))
    with pytest.raises(ValueError, match="norm: p must be a number or 'fro', got 'nuc'"):
        ops.norm(x, "nuc")
