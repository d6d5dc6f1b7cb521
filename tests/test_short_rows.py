"""Rows shorter than a register, which fill the lanes with rows: every width and number of rows, with guarded ends."""

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close
from minidl import _cpu
from minidl.backends import Backend

Array = np.ndarray
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
ROWS = [1, 2, 7, 8, 15, 16, 17, 33]


def guarded(shape: tuple[int, ...], dtype: type) -> tuple[Array, Array]:
    """An array of 7, with 32 more elements of 7 behind it, which are returned as well."""
    size = int(np.prod(shape))
    memory = np.full(size + 32, 7, dtype)
    return memory[:size].reshape(shape), memory[size:]


@each_dtype
@pytest.mark.parametrize("columns", range(1, 34))
def test_reductions_of_short_rows(columns: int, dtype: type, backend: Backend) -> None:
    for rows in ROWS:
        x = np.random.default_rng(columns).integers(-9, 9, (rows, columns, 1)).astype(dtype)
        total, behind_total = guarded((rows, 1), dtype)
        backend.kernels.sum_forward(x, total, 2.0)
        assert_bitwise_equal(total, x.sum(1) / dtype(2), "mean of integers")
        x[:: max(1, rows // 3), columns // 2] = np.nan
        for name in ("max", "min"):
            out, behind_out = guarded((rows, 1), dtype)
            index, behind_index = guarded((rows, 1), np.int64)
            getattr(backend.kernels, f"{name}_forward")(x, out, index)
            np.testing.assert_array_equal(out, getattr(x, name)(1))
            np.testing.assert_array_equal(index, getattr(x, f"arg{name}")(1))
            for behind in (behind_total, behind_out, behind_index):
                assert (behind == 7).all()


@each_dtype
@pytest.mark.parametrize("columns", range(1, 34))
def test_functions_of_short_rows(columns: int, dtype: type, backend: Backend) -> None:
    for rows in ROWS:
        x = np.random.default_rng(columns).uniform(-5, 5, (rows, columns)).astype(dtype)
        out, behind = guarded((rows, columns), dtype)
        backend.kernels.softmax_forward(x, out)
        power = np.exp(x.astype(np.float64))
        expected = power / power.sum(1, keepdims=True)
        assert_close(out, expected, 24, "softmax")
        assert (behind == 7).all()
        in_place = x.copy()
        backend.kernels.softmax_forward(in_place, in_place)
        assert_bitwise_equal(in_place, out, "softmax in place")


@each_dtype
@pytest.mark.parametrize("columns", range(1, 34))
def test_right_answers_of_short_rows(columns: int, dtype: type, backend: Backend) -> None:
    random = np.random.default_rng(columns)
    for rows in (0, *ROWS, 4099):
        logits = random.integers(-2, 3, (rows, columns)).astype(dtype)
        logits[random.random((rows, columns)) < 0.02] = np.nan
        best = logits.argmax(1)
        # Mostly the answer itself or a neighbour, which may be as large.
        labels = np.clip(best + random.integers(-1, 2, rows), 0, columns - 1)
        labels[random.random(rows) < 0.1] = random.choice([-100, columns, 2**32])  # no class at all
        count = np.full((), 99, np.int64)
        backend.kernels.count_correct(logits, labels, count)
        assert count == (best == labels).sum(), (rows, columns)


@each_dtype
def test_short_rows_do_not_depend_on_threads(dtype: type, backend: Backend) -> None:
    x = np.random.default_rng(0).standard_normal((20_011, 10, 1)).astype(dtype)
    results = []
    for threads in (1, 2, 3):
        _cpu.set_thread_count(threads)
        out = np.empty((20_011, 1), dtype)
        backend.kernels.sum_forward(x, out)
        results.append(out)
    assert_bitwise_equal(results[1], results[0], "sum")
    assert_bitwise_equal(results[2], results[0], "sum")
