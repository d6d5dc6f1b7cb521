"""The elementary functions to the last place, pow's limits, every length of edge, and copies of all kinds."""

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close, assert_denormal_numbers_are_kept
from minidl import _cpu
from minidl.backends import Backend
from placement import placed

Array = np.ndarray
DTYPES = [np.float32, np.float64]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.longdouble])(x)


def sigmoid(x: Array) -> Array:
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


# Kernel, the same in NumPy, arguments, and the limits in ulp for float32 and float64: those of simd_math.h, rounded up;
# math.erf adds its own half in float64.
FUNCTIONS: list[tuple[str, Callable[[Array], Array], tuple[float, float], float, float]] = [
    ("exp", np.exp, (-103, 88), 1.0, 1.0),
    ("expm1", np.expm1, (-20, 20), 2.0, 2.0),
    ("log", np.log, (1e-6, 1e4), 1.25, 1.0),
    ("log1p", np.log1p, (-0.999, 1e3), 1.5, 1.0),
    ("tanh", np.tanh, (-10, 10), 1.5, 1.5),
    ("sigmoid", sigmoid, (-80, 80), 2.5, 2.5),
    ("erf", erf, (-4.5, 4.5), 1.5, 2.5),
    ("rsqrt", lambda x: 1 / np.sqrt(x), (1e-30, 1e30), 1.5, 1.5),
]
# CUDA's own functions: the largest errors that the CUDA C++ Programming Guide names (Mathematical Functions), or those
# of glibc in the emulator, and half an ulp for the reference. In 1 / (1 + exp(-x)) the 2 ulp of exp, and half an ulp
# each of sum and quotient, count up to twice where the quotient's last place is half of the sum's.
CUDA_LIMIT, CUDA_SIGMOID_LIMIT, CUDA_POW_LIMITS = 2.5, 4.0, (4.5, 2.5)
each_function = pytest.mark.parametrize("case", FUNCTIONS, ids=lambda case: case[0])


def error_in_ulp(actual: Array, expected: Array) -> Array:
    """|actual - expected| in units of the last place of expected, in the dtype of actual."""
    spacing = np.spacing(np.abs(expected).astype(actual.dtype))
    return np.abs(actual.astype(np.longdouble) - expected) / spacing


def run(backend: Backend, kernel: str, x: Array, *scalars: float) -> Array:
    out = np.full_like(x, 7)
    getattr(backend.kernels, kernel)(x, out, *scalars)
    return out


def arguments(low: float, high: float, dtype: type) -> Array:
    """Evenly spread over the range, and again close to 0 and to 1, where cancellation would show."""
    random = np.random.default_rng(3)
    near = random.uniform(-0.9, 0.9, 20_000) * 2.0 ** random.integers(-30, 1, 20_000)
    values = np.concatenate([random.uniform(low, high, 60_000), near, 1 + near])
    return values[(values > low) & (values < high)].astype(dtype)


@each_dtype
@each_function
def test_function_is_right_to_the_last_places(case: tuple, dtype: type, backend: Backend) -> None:
    name, reference, (low, high), float32_limit, float64_limit = case
    x = arguments(low, high, dtype)
    out = run(backend, f"{name}_forward", x)
    worst = error_in_ulp(out, reference(x.astype(np.longdouble))).max()
    limit = float32_limit if dtype == np.float32 else float64_limit
    if backend.kernels is not _cpu:
        limit = CUDA_SIGMOID_LIMIT if name == "sigmoid" else max(limit, CUDA_LIMIT)
    assert worst <= limit, f"{name}: off by {worst:.3f} ulp, allowed are {limit}"


@each_dtype
@each_function
def test_every_length_gives_the_same_elements(case: tuple, dtype: type, backend: Backend) -> None:
    name, _, (low, high), _, _ = case
    x = arguments(low, high, dtype)[:1_000_003]
    whole = run(backend, f"{name}_forward", x)
    for size in range(71):
        guarded = np.full(size + 16, 7, dtype)
        getattr(backend.kernels, f"{name}_forward")(x[:size].copy(), guarded[:size])
        assert_bitwise_equal(guarded[:size], whole[:size], f"{name} of {size}")
        assert (guarded[size:] == 7).all(), f"{name} of {size}: wrote beyond its end"


@each_dtype
@pytest.mark.parametrize("name", ["gelu", "sigmoid", "silu", "logsigmoid"])
def test_an_element_does_not_depend_on_its_neighbours(name: str, dtype: type, backend: Backend) -> None:
    # Far left, where a table ends, other code runs, and for whole vectors.
    random = np.random.default_rng(5)
    x = np.concatenate([random.uniform(-7, 3, 20_000), random.uniform(-80, -6, 200)]).astype(dtype)
    order = random.permutation(x.size)
    out = run(backend, f"{name}_forward", x)
    assert_bitwise_equal(run(backend, f"{name}_forward", x[order]), out[order], name)
    saved = out if name == "sigmoid" else x
    gradients = [np.full_like(x, np.nan), np.full_like(x, np.nan)]
    for values, grad_x in zip((saved, saved[order]), gradients, strict=True):
        getattr(backend.kernels, f"{name}_backward")(values, np.ones_like(x), grad_x)
    assert_bitwise_equal(gradients[1], gradients[0][order], f"gradient of {name}")


@each_dtype
@pytest.mark.parametrize("threads", [2, 3])
def test_a_million_elements_do_not_depend_on_the_threads(dtype: type, threads: int, backend: Backend) -> None:
    x = np.random.default_rng(4).uniform(-5, 5, 1_000_003).astype(dtype)
    _cpu.set_thread_count(1)
    alone = run(backend, "gelu_forward", x)
    _cpu.set_thread_count(threads)
    assert_bitwise_equal(run(backend, "gelu_forward", x), alone, "gelu")


@each_dtype
def test_functions_keep_the_sign_of_zero(dtype: type, backend: Backend) -> None:
    for name in ("expm1", "log1p", "tanh", "erf", "softsign", "sqrt"):
        out = run(backend, f"{name}_forward", np.array([0.0, -0.0], dtype))
        assert np.signbit(out).tolist() == [False, True], name


@each_dtype
def test_denormal_numbers_are_neither_flushed_nor_lost(dtype: type, backend: Backend) -> None:
    limits = np.finfo(dtype)
    tiny = np.array([limits.smallest_subnormal, limits.tiny / 2, limits.tiny / 3], dtype)
    for name in ("expm1", "log1p", "tanh"):
        assert_bitwise_equal(run(backend, f"{name}_forward", tiny), tiny, name)
    assert error_in_ulp(run(backend, "log_forward", tiny), np.log(tiny.astype(np.longdouble))).max() <= 1
    below = np.log(tiny.astype(np.longdouble)).astype(dtype)
    expected = np.exp(below.astype(np.longdouble))
    assert error_in_ulp(run(backend, "exp_forward", below), expected).max() <= 1.5


# Functions made of exponentials, with their parameters, and where the exponential is denormal.
FLUSHING: dict[str, tuple[tuple[float, ...], str]] = {
    "sigmoid": ((), "e^x"),
    "silu": ((), "e^x"),
    "mish": ((), "e^x"),
    "softplus": ((1.0, 20.0), "e^x"),
    "gelu": ((), "e^(-x^2/2)"),
}


@each_dtype
@pytest.mark.parametrize("isa", _cpu.available_isas())
@pytest.mark.parametrize("name", FLUSHING)
def test_denormal_exponentials_count_as_zero_on_the_cpu(name: str, isa: str, dtype: type) -> None:
    _cpu.set_isa(isa)
    scalars, exponential = FLUSHING[name]
    lowest = math.log(np.finfo(dtype).tiny)
    x = np.linspace(lowest - 1, lowest - 10, 100_003).astype(dtype)
    x = x if exponential == "e^x" else -np.sqrt(-2 * x)
    for threads in (1, 2):
        _cpu.set_thread_count(threads)
        out, grad_x = np.full_like(x, np.nan), np.full_like(x, np.nan)
        getattr(_cpu, f"{name}_forward")(x, out, *scalars)
        saved = out if name == "sigmoid" else x
        getattr(_cpu, f"{name}_backward")(saved, np.ones_like(x), grad_x, *scalars)
        assert not out.any()
        assert not grad_x.any()
    assert_denormal_numbers_are_kept(dtype)


@each_dtype
@pytest.mark.parametrize("isa", _cpu.available_isas())
def test_denormal_terms_count_as_zero_in_softmax_and_its_logarithm(isa: str, dtype: type) -> None:
    _cpu.set_isa(isa)
    lowest = math.log(np.finfo(dtype).tiny)
    for columns in (7, 300):
        x = np.linspace(lowest - 1, lowest - 10, 500 * columns).reshape(500, columns).astype(dtype)
        x[:, 3] = 0
        expected = np.where(x == 0, dtype(1), dtype(0))
        out = np.full_like(x, np.nan)
        _cpu.softmax_forward(x, out)
        assert_bitwise_equal(out, expected, f"softmax of {columns}")
        _cpu.log_softmax_forward(x, out)
        assert_bitwise_equal(out, x, f"log_softmax of {columns}")
    assert_denormal_numbers_are_kept(dtype)


@each_dtype
def test_exp_of_what_it_cannot_hold_is_zero_and_nan_stays(dtype: type, backend: Backend) -> None:
    out = run(backend, "exp_forward", np.array([-746, -1e4, -1e30, -np.inf, np.nan, -0.0], dtype))
    assert not out[:4].any()
    assert np.isnan(out[4])
    assert out[5] == 1


@each_dtype
def test_pow_has_the_limits_of_c(dtype: type, backend: Backend) -> None:
    values = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 16777215.0, 16777216.0, 1e9, 1e30, 1e-30, np.inf]
    values = np.array([*values, *(-v for v in values), np.nan], dtype)
    a, b = (np.ascontiguousarray(grid) for grid in np.meshgrid(values, values))
    out = np.empty_like(a)
    backend.kernels.power_forward(a, b, out)
    with np.errstate(all="ignore"):
        expected = np.power(a.astype(np.float64), b.astype(np.float64)).astype(dtype)
    assert_close(out, expected.astype(np.float64), 1 if dtype == np.float32 else 4, "pow")
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(out[zero]), np.signbit(expected[zero]))


def powers(dtype: type, size: int = 50_000) -> tuple[Array, Array]:
    """Bases of all sizes and near 1, of both signs, with exponents that use the whole range of results."""
    random, limits = np.random.default_rng(7), np.finfo(dtype)
    low, high = np.log(limits.tiny), np.log(limits.max)
    a = np.concatenate([np.exp(random.uniform(low, high, size)), 1 + random.uniform(-0.1, 0.1, size)]).astype(dtype)
    b = (random.uniform(low, high, 2 * size) / np.log(a.astype(np.longdouble))).astype(dtype)
    b[::5] = random.uniform(-3, 3, b[::5].size)
    a[::7], b[::7] = -a[::7], np.round(b[::7])
    return a, b


@each_dtype
def test_pow_is_right_to_the_last_place(dtype: type, backend: Backend) -> None:
    a, b = powers(dtype)
    out = np.empty_like(a)
    backend.kernels.power_forward(a, b, out)
    with np.errstate(all="ignore"):
        exact = np.power(a.astype(np.longdouble), b.astype(np.longdouble))
        inside = (np.abs(exact) < np.finfo(dtype).max) & (np.abs(exact) > np.finfo(dtype).tiny)
    assert inside.sum() > 0.9 * a.size
    has_sums_of_two = backend.kernels is _cpu and _cpu.isa() == "avx512"
    cpu_limits = (0.82 if has_sums_of_two else 0.52, 1)
    limit = (cpu_limits if backend.kernels is _cpu else CUDA_POW_LIMITS)[dtype == np.float64]
    assert error_in_ulp(out[inside], exact[inside]).max() <= limit
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype)
    # Too large, too small: inf, 0, and between 0 and the smallest normal number the same error in its own last places.
    # Sums of two are rounded to a float before they are rounded to so few digits.
    is_tiny = ~inside & (np.abs(exact) <= np.finfo(dtype).tiny) & (has_sums_of_two or backend.kernels is not _cpu)
    wanted, limit = (exact, 1.0) if has_sums_of_two else (rounded, limit)
    assert (np.abs(out[is_tiny] - wanted[is_tiny]) <= limit * np.finfo(dtype).smallest_subnormal).all()
    beyond = ~inside & ~is_tiny & ~np.isnan(exact)
    assert_bitwise_equal(out[beyond], rounded[beyond], "limits")


@each_dtype
@pytest.mark.parametrize("isa", _cpu.available_isas())
def test_pow_of_small_integers_is_exact_on_the_cpu(dtype: type, isa: str) -> None:
    _cpu.set_isa(isa)
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(1, 4097, dtype=dtype), np.arange(2, 25, dtype=dtype)))
    exact = np.power(a.astype(np.float64), b.astype(np.float64))
    a, b, exact = (values[exact < 2**24] for values in (a, b, exact))
    out = np.empty_like(a)
    _cpu.power_forward(a, b, out)
    assert_bitwise_equal(out, exact.astype(dtype), "a to the b")


@each_dtype
def test_pow_of_an_element_does_not_depend_on_its_neighbours(dtype: type, backend: Backend) -> None:
    a, b = powers(dtype, 500)
    a[3::11], b[5::13] = 0, np.inf
    whole, single = np.empty_like(a), np.empty(1, dtype)
    backend.kernels.power_forward(a, b, whole)
    for i in range(a.size):
        backend.kernels.power_forward(a[i : i + 1], b[i : i + 1], single)
        assert_bitwise_equal(single, whole[i : i + 1], f"{a[i]} to the {b[i]}")


@each_dtype
@pytest.mark.parametrize("offset", [0, 1, 5])
def test_outputs_larger_than_the_caches_are_written_whole(dtype: type, offset: int, backend: Backend) -> None:
    size = 2**25 // np.dtype(dtype).itemsize + 13
    x = np.linspace(-1, 1, size, dtype=dtype)
    for threads in (1, 3):
        _cpu.set_thread_count(threads)
        guarded = np.full(offset + size + 16, 7, dtype)
        out = guarded[offset : offset + size]
        backend.kernels.relu_forward(x, out)
        np.testing.assert_array_equal(out, np.maximum(x, 0))
        backend.kernels.add_forward(x, x, out)
        np.testing.assert_array_equal(out, x + x)
        assert (guarded[:offset] == 7).all()
        assert (guarded[offset + size :] == 7).all()


@each_dtype
def test_extremes_and_clamp_keep_nan(dtype: type, backend: Backend) -> None:
    nan_first, nan_second = np.array([np.nan, 1, 2], dtype), np.array([0, np.nan, 3], dtype)
    for kernel, last in (("maximum_forward", 3), ("minimum_forward", 2)):
        out = np.empty(3, dtype)
        getattr(backend.kernels, kernel)(nan_first, nan_second, out)
        np.testing.assert_array_equal(out, np.array([np.nan, np.nan, last], dtype))
    for kernel in ("clamp_forward", "hardtanh_forward"):
        np.testing.assert_array_equal(run(backend, kernel, nan_first, -1.0, 1.0), np.array([np.nan, 1, 1], dtype))


BROADCASTS = [
    ((7, 33), (33,)),
    ((7, 33), (7, 1)),
    ((7, 33), ()),
    ((), (7, 33)),
    ((1, 33), (7, 1)),
    ((2, 3, 5, 7), (3, 1, 7)),
    ((2, 1, 5, 1), (3, 1, 7)),
    ((0, 5), (1, 5)),
    ((1, 1), (1,)),
]


@each_dtype
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
def test_binary_kernels_broadcast(shapes: tuple, dtype: type, backend: Backend) -> None:
    random = np.random.default_rng(5)
    a, b = (np.asarray(random.uniform(0.5, 2, shape), dtype) for shape in shapes)
    for kernel, reference in (("add", np.add), ("subtract", np.subtract), ("multiply", np.multiply)):
        expected = np.asarray(reference(a, b))
        out = np.empty(expected.shape, dtype)
        getattr(backend.kernels, f"{kernel}_forward")(a, b, out)
        assert_bitwise_equal(out, expected, f"{kernel} of {shapes}")


@each_dtype
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (3, 5), (31, 33), (2, 65, 17), (3, 130, 67)], ids=str)
def test_copies_and_transposes_are_exact(shape: tuple, dtype: type, backend: Backend) -> None:
    x = np.random.default_rng(6).standard_normal(shape).astype(dtype)
    swapped = x.swapaxes(-1, -2)
    out = np.empty(swapped.shape, dtype)
    backend.kernels.transpose(x, out)
    np.testing.assert_array_equal(out, swapped)
    permuted = [x.transpose(order) for order in permutations(range(x.ndim))]
    for view in (*permuted, swapped[..., ::2, :], swapped[..., ::-1], x[..., ::2], x[..., ::-1]):
        out = np.empty(view.shape, dtype)
        backend.kernels.copy_strided(view, out)
        np.testing.assert_array_equal(out, view)


@each_dtype
@pytest.mark.parametrize("shapes", [((67,), (67,)), ((67,), ()), ((), (67,)), ((3, 67), (3, 1)), ((67, 3), (3, 67))])
def test_where_takes_operands_of_every_layout(shapes: tuple, dtype: type, backend: Backend) -> None:
    random = np.random.default_rng(8)
    a, b = (np.asarray(random.standard_normal(shape), dtype) for shape in shapes)
    if shapes == ((67, 3), (3, 67)):
        a = a.T
    shape = np.broadcast_shapes(a.shape, b.shape)
    a[...] = np.where(random.random(a.shape) < 0.1, np.nan, a)
    conditions = [random.random(shape) < 0.5, random.random(shape[-1]) < 0.5, np.asarray([True])]
    conditions += [random.random((*shape[:-1], 1)) < 0.5]
    for condition in conditions:
        out = np.empty(shape, dtype)
        backend.kernels.where_forward(condition, a, b, out)
        assert_bitwise_equal(out, np.where(condition, a, b), f"where of {shapes}")


@each_dtype
def test_gathered_rows_outside_the_source_are_nan(dtype: type, backend: Backend) -> None:
    x = np.arange(15, dtype=dtype).reshape(5, 3)
    index = np.array([4, -1, 0, 5, 2])
    out = np.empty((5, 3), dtype)
    backend.kernels.gather_rows(x, index, out)
    expected = np.array([x[i] if 0 <= i < 5 else np.full(3, np.nan) for i in index], dtype)
    np.testing.assert_array_equal(out, expected)
    pixels = x.astype(np.uint8) * 17
    backend.kernels.gather_rows_uint8(pixels, index, out, 1 / 255, -0.5)
    assert_close(out[[0, 2, 4]], pixels[[4, 0, 2]] / 255 - 0.5, 1, "pixels", np.ones((3, 3)))
    assert np.isnan(out[[1, 3]]).all()


@each_dtype
def test_rsqrt_has_the_limits_of_its_definition(dtype: type, backend: Backend) -> None:
    tiny, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = np.array([0, -0.0, np.inf, -np.inf, np.nan, -1, tiny, largest], dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = 1 / np.sqrt(x.astype(np.longdouble))
    assert_close(run(backend, "rsqrt_forward", x), expected, 1.5, "rsqrt")
    np.testing.assert_array_equal(np.signbit(run(backend, "rsqrt_forward", x)[:3]), [False, True, False])


# The last two are cut into chunks of rows; the very last is written past the caches.
PRELU_SHAPES = [(131, 1), (130, 70), (40, 1031), (5, 3, 1000), (3, 70, 2), (1000, 3, 1), (2100, 1030), (33_000, 256)]


def prelu_kernels(x: Array, weight: Array, grad_out: Array) -> list[Array]:
    """Output and both gradients."""
    results = [_cpu.empty(array.shape, array.dtype) for array in (x, x, weight)]
    _cpu.prelu_forward(x, weight, results[0])
    _cpu.prelu_backward(x, weight, grad_out, *results[1:])
    return results


@each_dtype
@pytest.mark.parametrize("shape", PRELU_SHAPES, ids=str)
@pytest.mark.parametrize("is_shared", [False, True], ids=["slope per channel", "one slope"])
def test_prelu_equals_numpy_on_any_number_of_threads(
    is_shared: bool, shape: tuple, dtype: type, backend: Backend
) -> None:
    random = np.random.default_rng(5)
    x, grad_out = (random.standard_normal(shape).astype(dtype) for _ in range(2))
    x.flat[0], x.flat[-1] = -np.inf, np.inf
    channels = 1 if is_shared else shape[1]
    weight = random.uniform(-1, 1, channels).astype(dtype)
    slopes = weight.reshape(-1, *(1,) * (len(shape) - 2))
    out = np.where(x > 0, x, slopes * x)
    grad_x = np.where(x > 0, grad_out, slopes * grad_out)
    terms = np.where(x > 0, 0, grad_out.astype(np.float64) * x)
    axes = tuple(d for d in range(len(shape)) if is_shared or d != 1)
    results = []
    for threads in (1, 2, 3):
        _cpu.set_thread_count(threads)
        results.append(prelu_kernels(x, weight, grad_out))
    for other in results[1:]:
        for result, expected in zip(other, results[0], strict=True):
            assert_bitwise_equal(result, expected, f"prelu of {shape}")
    assert_close(results[0][0], out, 1, "out")
    assert_close(results[0][1], grad_x, 1, "grad_x")
    scale = np.abs(terms).sum(axes).reshape(weight.shape)
    assert_close(results[0][2], terms.sum(axes).reshape(weight.shape), 16, "grad_weight", scale)


def test_outputs_larger_than_the_caches_equal_numpys(backend: Backend) -> None:
    rows, columns = 8209, 1031  # 34 MB, in rows that do not begin on a vector's boundary
    x = np.random.default_rng(6).standard_normal((rows, columns), np.float32)
    row = np.linspace(-1, 1, columns, dtype=np.float32)
    results = []
    for kernel, arguments in [("copy_strided", (x,)), ("add_forward", (x, row)), ("prelu_forward", (x, row))]:
        out = np.full_like(x, 7)
        getattr(_cpu, kernel)(*arguments, out)
        results.append(out)
    assert_bitwise_equal(results[0], x, "copy")
    assert_bitwise_equal(results[1], x + row, "sum")
    assert_bitwise_equal(results[2], np.where(x > 0, x, row * x), "prelu")
    _cpu.add_forward(x, row, x)
    assert_bitwise_equal(x, results[1], "sum in place")


def test_choices_larger_than_the_caches_equal_numpys(backend: Backend) -> None:
    random = np.random.default_rng(9)
    x, y = (random.standard_normal((8209, 1031), np.float32) for _ in range(2))
    out = np.empty_like(x)
    for condition in (x > y, x[:, :1] > y[:, :1]):
        for b in (y, y[:1], y[:, :1]):
            _cpu.where_forward(condition, x, b, out)
            assert_bitwise_equal(out, np.where(condition, x, b), "where")


@each_dtype
@pytest.mark.parametrize(("rows", "offset"), [(2880, 0), (2880, 1), (2881, 0)])
def test_transposes_larger_than_the_caches_equal_numpys(rows: int, offset: int, dtype: type, backend: Backend) -> None:
    x = np.random.default_rng(12).standard_normal((rows, 3001)).astype(dtype)
    out = placed(np.full((3001, rows), 7, dtype), offset)
    _cpu.transpose(x, out)
    assert_bitwise_equal(out, x.T, "transpose")
    out[...] = 7
    _cpu.copy_strided(x.T, out)
    assert_bitwise_equal(out, x.T, "transposed view")


@each_dtype
@pytest.mark.parametrize(("columns", "offset"), [(257, 0), (1024, 0), (1024, 3)])
def test_gathered_rows_larger_than_the_caches_equal_numpys(
    columns: int, offset: int, dtype: type, backend: Backend
) -> None:
    random = np.random.default_rng(13)
    x, rows = random.standard_normal((501, columns)).astype(dtype), 2**25 // columns // np.dtype(dtype).itemsize + 3
    index = random.integers(-1, 502, rows)
    out = placed(np.full((rows, columns), 7, dtype), offset)
    _cpu.gather_rows(x, index, out)
    is_inside = (index >= 0) & (index < 501)
    assert_bitwise_equal(out[is_inside], x[index[is_inside]], "rows")
    assert np.isnan(out[~is_inside]).all()


def test_rows_larger_than_the_caches_have_the_bits_of_few_rows(backend: Backend) -> None:
    random = np.random.default_rng(10)
    x, grad_out = (random.standard_normal((8209, 1031), np.float32) for _ in range(2))
    kernels = {"softmax_forward": (x,), "softmax_backward": (x, grad_out), "log_softmax_forward": (x,)}
    for kernel, arguments in kernels.items():
        out, few = np.empty_like(x), np.empty_like(x[:100])
        getattr(_cpu, kernel)(*arguments, out)
        for start in (0, 4100, 8109):
            getattr(_cpu, kernel)(*(argument[start : start + 100] for argument in arguments), few)
            assert_bitwise_equal(out[start : start + 100], few, kernel)


def test_dropout_larger_than_the_caches_has_the_bits_of_its_beginning(backend: Backend) -> None:
    x, ticket = np.random.default_rng(11).standard_normal(8_500_001, np.float32), np.array([3, 4])
    out, few = np.empty_like(x), np.empty_like(x[:10_001])
    _cpu.dropout_forward(x, ticket, out, 0.3)
    _cpu.dropout_forward(x[:10_001], ticket, few, 0.3)
    assert_bitwise_equal(out[:10_001], few, "dropout")
    assert abs((out == 0).mean() - 0.3) < 1e-3
    np.testing.assert_array_equal(out[out != 0], x[out != 0] * np.float32(65536 / round(0.7 * 65536)))
