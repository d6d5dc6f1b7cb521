"""CUDA reductions in every way they are launched: rows per warp, block and several blocks; columns alone and shared."""

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close
from minidl.backends import Backend
from placement import placed

Array = np.ndarray

pytestmark = pytest.mark.parametrize("backend", ["cuda:emulated", "cuda:gpu"], indirect=True)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
each_offset = pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "unaligned"])
# outer x reduced x inner
LAYOUTS = [
    (33, 10, 1),  # rows of 4 lanes
    (130, 64, 1),
    (9, 65, 1),  # rows of a warp
    (17, 1021, 1),
    (3, 2048, 1),
    (5, 2052, 1),  # rows of a block
    (2, 5003, 1),
    (3, 65_540, 1),  # rows of several blocks
    (1, 70_001, 1),
    (300, 8, 16),  # whole columns per thread
    (1, 2, 2000),
    (2, 50, 1000),  # columns shared by the warps of a block
    (1, 129, 260),
    (1, 300, 3),  # fewer columns than lanes
    (3, 77, 10),
    (40, 9, 12),
    (1, 9000, 128),  # columns shared by blocks
    (2, 3000, 33),
    (1, 40_009, 17),
]
each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=str)


def reduce_all(x: Array, backend: Backend) -> dict[str, Array]:
    """What each kernel gives over the middle dimension, by name."""
    shape, kernels = (x.shape[0], x.shape[2]), backend.kernels
    results = {name: np.full(shape, np.nan, x.dtype) for name in ("sum", "max", "min", "mean", "var")}
    results |= {name: np.full(shape, -7, np.int64) for name in ("argmax", "argmin")}
    kernels.sum_forward(x, results["sum"])
    kernels.max_forward(x, results["max"], results["argmax"])
    kernels.min_forward(x, results["min"], results["argmin"])
    kernels.var_forward(x, results["mean"], results["var"], 1.0)
    return results


@each_dtype
@each_offset
@each_layout
def test_reductions_are_exact_and_repeat_bitwise(layout: tuple, offset: int, dtype: type, backend: Backend) -> None:
    x = placed((np.random.default_rng(0).standard_normal(layout) + 3).astype(dtype), offset)
    results, again, exact = reduce_all(x, backend), reduce_all(x, backend), x.astype(np.longdouble)
    assert_close(results["sum"], exact.sum(1).astype(float), 4, "sum")
    assert_close(results["mean"], exact.mean(1).astype(float), 4, "mean")
    assert_close(results["var"], exact.var(1, ddof=1).astype(float), 8, "variance")
    for name in ("max", "min", "argmax", "argmin"):
        np.testing.assert_array_equal(results[name], getattr(x, name)(1), err_msg=name)
    for name, result in results.items():
        assert_bitwise_equal(again[name], result, name)


@each_dtype
@each_offset
@each_layout
def test_extremes_take_the_first_of_equals_and_the_first_nan(
    layout: tuple, offset: int, dtype: type, backend: Backend
) -> None:
    random = np.random.default_rng(0)
    x = placed(random.integers(0, 4, layout).astype(dtype), offset)
    for nans_per_row in (0, 0.5, 3):
        x[random.random(layout) < nans_per_row / layout[1]] = np.nan
        results = reduce_all(x, backend)
        for name in ("max", "min", "argmax", "argmin"):
            np.testing.assert_array_equal(results[name], getattr(x, name)(1), err_msg=name)
    x[...] = -np.inf
    assert (reduce_all(x, backend)["argmax"] == 0).all()
    x[...] = np.inf
    assert (reduce_all(x, backend)["argmin"] == 0).all()


@each_dtype
@each_layout
def test_variance_survives_a_large_mean(layout: tuple, dtype: type, backend: Backend) -> None:
    mean = 1e4 if dtype == np.float32 else 1e10
    x = (np.random.default_rng(0).integers(0, 4, layout) + mean).astype(dtype)
    expected = (x.astype(np.longdouble) - mean).var(1, ddof=1).astype(float)
    assert_close(reduce_all(x, backend)["var"], expected, 16, "variance")


@each_dtype
@pytest.mark.parametrize("layout", [(2, 0, 1), (2, 0, 5), (0, 3, 1), (0, 5000, 1), (0, 3, 4), (3, 2, 0)], ids=str)
def test_sums_of_nothing_are_written(layout: tuple, dtype: type, backend: Backend) -> None:
    x, shape = np.empty(layout, dtype), (layout[0], layout[2])
    total, mean, var = (np.full(shape, 7, dtype) for _ in range(3))
    backend.kernels.sum_forward(x, total)
    backend.kernels.var_forward(x, mean, var)
    assert (total == 0).all()
    assert np.isnan(mean).all()
    assert np.isnan(var).all()
