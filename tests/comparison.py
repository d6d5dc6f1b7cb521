"""Comparing with a reference in units of machine epsilon, saying on failure how much of the tolerance was used."""

import numpy as np

from minidl import backends

Array = np.ndarray


def error_in_epsilons(actual: Array, expected: Array, scale: Array | None = None) -> Array:
    """|actual - expected| / (epsilon * scale), element by element; scale is |expected| unless given.

    A nan equals a nan and an infinity itself; `expected` is cut to what the dtype of `actual` can hold. Differences
    below the dtype's smallest normal number do not count: results may be flushed to zero there.
    """
    limits = np.finfo(actual.dtype)
    with np.errstate(all="ignore"):
        expected = np.where(np.abs(expected) > limits.max, np.copysign(np.inf, expected), expected)
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        distance = np.maximum(np.abs(actual.astype(np.float64) - expected) - float(limits.tiny), 0)
        scale = np.abs(expected) if scale is None else np.abs(scale)
        error = np.where(distance == 0, 0, distance / (float(limits.eps) * scale))
    return np.where(same, 0, np.where(np.isnan(error), np.inf, error))


def scale_with_lost(expected: Array, lost: float, dtype: type, epsilons: float) -> Array:
    """The scale for assert_close of results that may lose `lost` smallest normal numbers besides their `epsilons`."""
    limits = np.finfo(dtype)
    return np.abs(expected) + lost * float(limits.tiny / limits.eps) / epsilons


def assert_close(actual: Array, expected: Array, epsilons: float, what: str, scale: Array | None = None) -> None:
    """Fails where an element is further than `epsilons` from `expected`; integers must be equal."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if not np.issubdtype(actual.dtype, np.floating):
        np.testing.assert_array_equal(actual, expected, err_msg=what)
        return
    error = error_in_epsilons(actual, expected.astype(np.float64), scale)
    if error.size == 0 or error.max() <= epsilons:
        return
    worst = np.unravel_index(int(error.argmax()), error.shape)
    used = f"{error[worst] / epsilons:.3g} times the tolerance" if epsilons else "where exactness is wanted"
    raise AssertionError(
        f"{what}: off by {error[worst]:.4g} {actual.dtype} epsilons, {used} ({epsilons:g}), at {worst}: "
        f"got {actual[worst]!r}, expected {expected[worst]!r}; {int((error > epsilons).sum())} of {error.size} fail"
    )


def assert_bitwise_equal(actual: Array, expected: Array, what: str) -> None:
    """Fails unless both have the same dtype, shape and bytes."""
    assert actual.dtype == expected.dtype, f"{what}: dtypes {actual.dtype} and {expected.dtype}"
    assert actual.shape == expected.shape, f"{what}: shapes {actual.shape} and {expected.shape}"
    if actual.tobytes() != expected.tobytes():
        differs = ~((actual == expected) | (np.isnan(actual) & np.isnan(expected)))
        place = tuple(np.argwhere(differs)[0]) if differs.any() else "a sign of zero or a nan's bits"
        raise AssertionError(f"{what}: {int(differs.sum())} of {actual.size} elements differ, first at {place}")


def assert_denormal_numbers_are_kept(dtype: type) -> None:
    """The arithmetic of this thread, and that of the CPU's elementwise kernels on all of theirs, knows them."""
    numbers = np.full(100_000, np.finfo(dtype).tiny, dtype)
    assert numbers[0] / dtype(2) != 0
    half = np.empty_like(numbers)
    backends.load("cpu").kernels.multiply_forward(numbers, np.full_like(numbers, 0.5), half)
    assert_bitwise_equal(half, numbers * dtype(0.5), "half of the smallest normal number")
