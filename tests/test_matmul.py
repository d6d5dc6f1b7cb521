"""The product kernels over odd shapes, layouts, blocks and threads; the products' errors; no needless copies."""

import itertools

import numpy as np
import pytest

import minidl
from comparison import assert_bitwise_equal, assert_close, assert_denormal_numbers_are_kept
from minidl import _cpu, backends, ops
from minidl.backends import Backend
from minidl.tensor import Tensor

Array = np.ndarray
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
each_transpose = pytest.mark.parametrize("transpose", list(itertools.product([False, True], repeat=2)), ids=str)

# m, n, k: nothing, one, around the heights (6, 14) and widths (4 to 32) of the tiles of every instruction set, around
# the limits of the paths for few rows (6), of reading without packing (32, 64) and of long dot products (12 columns, 64
# rows), primes; then several blocks of k, of rows and of columns.
SHAPES = [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (1, 1, 1), (1, 1, 37), (1, 9, 5), (9, 1, 5), (2, 3, 1)]
SHAPES += [(1, 129, 67), (129, 1, 67), (3, 130, 31), (130, 5, 33), (6, 7, 64), (7, 6, 65), (7, 7, 17)]
SHAPES += [(tile, 33, 9) for tile in (5, 6, 7, 13, 14, 15)] + [(11, n, 19) for n in (4, 8, 15, 16, 17, 31, 32)]
SHAPES += [(63, 65, 16), (64, 64, 64), (65, 63, 15), (29, 97, 101), (97, 29, 101), (127, 131, 113)]
# So few steps that those of b stay in the registers (12), over whole and half panels and parts of a vector.
SHAPES += [(7 + k, 7 * k + 9, k) for k in range(1, 15)] + [(70, 77, 10), (9, 1024, 3), (131, 64, 12), (66, 35, 11)]
SHAPES += [(13, 11, 131), (70, 12, 129), (70, 13, 129), (64, 37, 401), (65, 37, 401), (17, 20, 4103)]
SHAPES += [(13, 37, 2111), (5, 6, 4099), (4, 6, 4099)]  # dot products in blocks of steps, and of all
BLOCKS = [(40, 70, 1025), (70, 40, 4099), (2100, 70, 1030), (70, 4200, 2048)]
# Steps whole pages apart, which are taken 128 at a time, and half pages apart; results that are written along their
# rows, with one block of columns and with several.
BLOCKS += [(40, 1024, 150), (512, 70, 150), (70, 512, 300), (512, 70, 300), (1030, 530, 33), (530, 1300, 100)]


def surrounded_by_nan(array: Array, dtype: type) -> Array:
    """A copy whose neighbours in memory are nan: reading them would show."""
    memory = np.full(array.size + 128, np.nan, dtype)
    inner = memory[64 : 64 + array.size].reshape(array.shape)
    inner[...] = array
    return inner


def make_factors(m: int, n: int, k: int, transpose: tuple[bool, bool], dtype: type) -> tuple[Array, Array]:
    random = np.random.default_rng(m + 31 * n + 1009 * k)
    a = surrounded_by_nan(random.uniform(-1, 1, (k, m) if transpose[0] else (m, k)), dtype)
    b = surrounded_by_nan(random.uniform(-1, 1, (n, k) if transpose[1] else (k, n)), dtype)
    return a, b


def float64_factors(a: Array, b: Array, transpose: tuple[bool, bool]) -> tuple[Array, Array]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return a.T if transpose[0] else a, b.T if transpose[1] else b


def assert_product_close(actual: Array, a: Array, b: Array, start: Array, what: str) -> None:
    """Each of the k additions rounds once, at random: the error walks like sqrt(k) epsilons of the terms' size."""
    size = np.abs(a) @ np.abs(b) + np.abs(start)
    assert_close(actual, a @ b + start, 2 + a.shape[1] ** 0.5, what, size)


@each_dtype
@each_transpose
@pytest.mark.parametrize("accumulate", [False, True], ids=["store", "accumulate"])
def test_product_equals_the_float64_product(
    backend: Backend, dtype: type, transpose: tuple[bool, bool], accumulate: bool
) -> None:
    # The blocks are those of the CPU. The two mixed layouts use both ways of packing on both factors.
    has_blocks = backend.kernels is _cpu and transpose[0] != transpose[1] and not accumulate
    blocks = BLOCKS if has_blocks else BLOCKS[:1]
    for m, n, k in SHAPES + blocks:
        a, b = make_factors(m, n, k, transpose, dtype)
        start = np.random.default_rng(5).uniform(-1, 1, (m, n)) if accumulate else np.full((m, n), np.nan)
        out = surrounded_by_nan(start, dtype)
        backend.kernels.matmul(a, b, out, *transpose, accumulate)
        start = start.astype(dtype).astype(np.float64) if accumulate else np.zeros((m, n))
        assert_product_close(out, *float64_factors(a, b, transpose), start, f"{m} x {n} x {k}")
        assert np.isnan(out.base[:64]).all(), f"{m} x {n} x {k}: wrote before the result"
        assert np.isnan(out.base[64 + m * n :]).all(), f"{m} x {n} x {k}: wrote behind the result"


@each_dtype
@pytest.mark.parametrize("rows", [9, 64, 65])
def test_product_does_not_depend_on_where_a_matrix_begins(backend: Backend, dtype: type, rows: int) -> None:
    """Whole cache lines a row, read as they lie for few rows: panels of columns then begin where a line does."""
    for n, k in ((16, 33), (48, 128), (112, 9)):
        a, b = make_factors(rows, n, k, (False, False), dtype)
        expected = None
        for begin in range(16):
            memory = np.full(b.size + 128, np.nan, dtype)
            first = -memory.ctypes.data // memory.itemsize % 16 + begin
            shifted = memory[first : first + b.size].reshape(b.shape)
            shifted[...] = b
            out = surrounded_by_nan(np.full((rows, n), np.nan), dtype)
            backend.kernels.matmul(a, shifted, out, False, False)
            what = f"{rows} x {n} x {k}, {begin} elements off"
            assert_product_close(out, *float64_factors(a, b, (False, False)), np.zeros((rows, n)), what)
            assert np.isnan(out.base[:64]).all(), what
            assert np.isnan(out.base[64 + out.size :]).all(), what
            expected = out if expected is None else expected
            assert_bitwise_equal(out, expected, what)


@each_dtype
@pytest.mark.parametrize("rows", [11, 12, 40, 64])
def test_a_layer_does_not_depend_on_where_its_input_begins(backend: Backend, dtype: type, rows: int) -> None:
    """Rows that begin within cache lines are copied where they meet many columns."""
    for out_features, in_features in ((160, 208), (67, 257), (30, 192)):
        x, weight = make_factors(rows, out_features, in_features, (False, True), dtype)
        memory = np.full(x.size + 32, np.nan, dtype)
        outputs = []
        for begin in (0, 1, 4, 15):
            first = -memory.ctypes.data // memory.itemsize % 16 + begin
            shifted = memory[first : first + x.size].reshape(x.shape)
            shifted[...] = x
            outputs.append(np.full((rows, out_features), np.nan, dtype))
            backend.kernels.linear_forward(shifted, weight, None, outputs[-1])
        factors = float64_factors(x, weight, (False, True))
        assert_product_close(outputs[0], *factors, np.zeros(outputs[0].shape), f"{rows} x {out_features}")
        for out in outputs[1:]:
            assert_bitwise_equal(out, outputs[0], f"{rows} x {out_features} x {in_features}")


@each_dtype
@each_transpose
def test_product_does_not_depend_on_the_threads(backend: Backend, dtype: type, transpose: tuple[bool, bool]) -> None:
    shapes = [(1, 1031, 517), (1031, 1, 517), (5, 700, 300), (64, 96, 257), (131, 113, 127), (40, 70, 2100)]
    # Fewer rows than threads, and fewer than twice a tile's.
    shapes += [(2, 1100, 501), (15, 300, 257), (27, 33, 1301)]
    # Steps that are taken 128 at a time, and a result that is written along its rows; so few steps that they stay in
    # the registers, shared by rows and by columns.
    shapes += [(70, 512, 300), (130, 512, 300), (700, 760, 20), (533, 131, 10), (11, 5003, 9)]
    thread_counts = (1, 2, 3, 16) if backend.kernels is _cpu else (1, 2)  # to a GPU it is a second run
    for m, n, k in shapes:
        a, b = make_factors(m, n, k, transpose, dtype)
        alone = None
        for threads in thread_counts:
            _cpu.set_thread_count(threads)
            out = np.full((m, n), np.nan, dtype)
            backend.kernels.matmul(a, b, out, *transpose)
            alone = out if alone is None else alone
            assert_bitwise_equal(out, alone, f"{m} x {n} x {k} on {threads} threads")


@each_dtype
@each_transpose
@pytest.mark.parametrize("isa", _cpu.available_isas())
def test_denormal_numbers_count_as_zero_on_the_cpu(dtype: type, transpose: tuple[bool, bool], isa: str) -> None:
    """In factors, terms and sums; many processors take some 100 cycles for each of them."""
    _cpu.set_isa(isa)
    kernels = backends.load("cpu").kernels
    tiny = np.finfo(dtype).tiny
    # One of every path: dot products, one row, one column, one step, tiles.
    for m, n, k in [(3, 40, 300), (1, 1031, 517), (1031, 1, 517), (300, 400, 1), (70, 80, 90)]:
        a, b = make_factors(m, n, k, transpose, dtype)
        random = np.random.default_rng(0)
        zeros = [random.uniform(size=factor.shape) < 0.3 for factor in (a, b)]
        cleared = [np.where(zero, dtype(0), factor) for zero, factor in zip(zeros, (a, b), strict=True)]
        denormal = [np.where(zero, tiny / 2, factor) for zero, factor in zip(zeros, (a, b), strict=True)]
        for threads in (1, 2):
            _cpu.set_thread_count(threads)
            what = f"{m} x {n} x {k} on {threads} threads"
            out, expected = np.empty((2, m, n), dtype)
            kernels.matmul(*denormal, out, *transpose)
            kernels.matmul(*cleared, expected, *transpose)
            assert_bitwise_equal(out, expected, what)
            kernels.matmul(np.full_like(a, tiny), np.full_like(b, 0.5 / k), out, *transpose)
            assert_bitwise_equal(out, np.zeros((m, n), dtype), f"{what}: denormal terms")
    assert_denormal_numbers_are_kept(dtype)


@each_transpose
def test_batch_equals_single_products(backend: Backend, transpose: tuple[bool, bool]) -> None:
    for batch, (m, n, k) in itertools.product([0, 1, 2, 7], [(3, 5, 4), (17, 33, 9), (70, 65, 66)]):
        a, b = make_factors(batch * m, batch * n, k, (False, False), np.float32)
        a = a.reshape((batch, k, m) if transpose[0] else (batch, m, k))
        b = b.reshape((batch, n, k) if transpose[1] else (batch, k, n))
        out = np.full((batch, m, n), np.nan, np.float32)
        backend.kernels.matmul(a, b, out, *transpose)
        for i in range(batch):
            alone = np.empty((m, n), np.float32)
            backend.kernels.matmul(a[i], b[i], alone, *transpose)
            assert_bitwise_equal(out[i], alone, f"{i} of {batch} of {m} x {n} x {k}")


@each_transpose
def test_one_matrix_is_repeated_over_the_batch(backend: Backend, transpose: tuple[bool, bool]) -> None:
    a, b = make_factors(7, 33, 9, transpose, np.float64)
    many_a, many_b = np.stack([a, 2 * a, 3 * a]), np.stack([b, 2 * b, 3 * b])
    expected = np.matmul(*float64_factors(a, b, transpose))
    for first, second in [(many_a, b), (many_a, b[None]), (a, many_b), (a[None], many_b)]:
        out = np.empty((3, 7, 33))
        backend.kernels.matmul(first, second, out, *transpose)
        for i in range(3):
            np.testing.assert_allclose(out[i], (i + 1) * expected, rtol=1e-13, atol=1e-13)


@each_transpose
@pytest.mark.parametrize(
    "shape", [(1, 40, 33), (40, 1, 33), (5, 40, 33), (20, 40, 33), (70, 80, 33), (9, 50, 10)], ids=str
)
def test_nan_and_infinity_reach_their_row_and_column_only(
    backend: Backend, shape: tuple[int, int, int], transpose: tuple[bool, bool]
) -> None:
    m, n, k = shape
    a, b = make_factors(m, n, k, transpose, np.float32)
    rows, columns = a.T if transpose[0] else a, b.T if transpose[1] else b
    rows[m // 2, k - 1] = np.nan
    columns[0, n // 3] = np.inf
    columns[k - 1, n - 1] = 0
    out = np.empty((m, n), np.float32)
    backend.kernels.matmul(a, b, out, *transpose)
    assert np.isnan(out[m // 2]).all()
    clean = np.arange(m) != m // 2
    assert np.isinf(out[clean, n // 3]).all()
    assert np.isfinite(np.delete(out[clean], n // 3, axis=1)).all()


# ---- linear


ACTIVATIONS = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}
LAYERS = [(0, 3, 4), (1, 784, 10), (1, 300, 257), (32, 784, 129), (7, 1, 5), (5, 0, 3), (67, 17, 1), (130, 1031, 10)]
LAYERS += [(70, 2060, 70)]  # tiles over several blocks of k


@each_dtype
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_forward_adds_bias_and_activates(backend: Backend, dtype: type, activation: str) -> None:
    for rows, in_features, out_features in LAYERS:
        x, weight = make_factors(rows, out_features, in_features, (False, True), dtype)
        bias = surrounded_by_nan(np.random.default_rng(7).uniform(-1, 1, out_features), dtype)
        for given in (bias, None):
            out = np.full((rows, out_features), np.nan, dtype)
            backend.kernels.linear_forward(x, weight, given, out, getattr(_cpu.Activation, activation))
            exact = x.astype(np.float64) @ weight.T.astype(np.float64) + (0 if given is None else bias)
            size = np.abs(x) @ np.abs(weight.T) + 2
            # No activation is steeper than 1: the error of the sum, and a few epsilons of its own.
            what = f"{rows} x {in_features} -> {out_features}"
            assert_close(out, ACTIVATIONS[activation](exact), 6 + in_features**0.5, what, size)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_forward_keeps_nan(backend: Backend, activation: str) -> None:
    for rows in (1, 3, 40):
        x, weight = np.ones((rows, 9), np.float32), np.ones((33, 9), np.float32)
        x[0, 4] = np.nan
        out = np.empty((rows, 33), np.float32)
        backend.kernels.linear_forward(x, weight, None, out, getattr(_cpu.Activation, activation))
        assert np.isnan(out[0]).all()
        assert np.isfinite(out[1:]).all()


@each_dtype
@pytest.mark.parametrize("accumulate", [False, True], ids=["store", "accumulate"])
def test_linear_backward_equals_the_float64_products(backend: Backend, dtype: type, accumulate: bool) -> None:
    for rows, in_features, out_features in LAYERS:
        x, grad_out = make_factors(rows, out_features, in_features, (False, True), dtype)
        grad_out = make_factors(rows, in_features, out_features, (False, False), dtype)[0]
        weight = make_factors(out_features, 1, in_features, (False, False), dtype)[0]
        what = f"{rows} x {in_features} -> {out_features}"
        grad_x = np.full((rows, in_features), np.nan, dtype)
        backend.kernels.linear_backward_input(grad_out, weight, grad_x)
        exact = grad_out.astype(np.float64), weight.astype(np.float64)
        assert_product_close(grad_x, *exact, np.zeros(grad_x.shape), what)

        start = float(accumulate)
        grad_weight = np.full((out_features, in_features), start, dtype)
        grad_bias = surrounded_by_nan(np.full(out_features, start), dtype)
        backend.kernels.linear_backward_weight(grad_out, x, grad_weight, grad_bias, accumulate)
        first, second = grad_out.T.astype(np.float64), x.astype(np.float64)
        assert_product_close(grad_weight, first, second, np.full(grad_weight.shape, start), what)
        assert_product_close(grad_bias[:, None], first, np.ones((rows, 1)), np.full((out_features, 1), start), what)


# Nothing, one, primes; one row and one column, dot products, tiles with full and partial vectors, several blocks of k.
GRADIENTS = [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (1, 131, 17), (127, 1, 13), (29, 37, 1), (1, 53, 1)]
GRADIENTS += [(5, 67, 211), (13, 97, 31), (67, 129, 7), (131, 113, 127), (40, 70, 2051), (70, 3, 1031)]
GRADIENTS += [(128, 128, 10), (77, 50, 12), (9, 16, 2)]  # b's steps stay in the registers


@each_dtype
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_backward_input_equals_the_product_then_the_activations_gradient(
    backend: Backend, dtype: type, activation: str
) -> None:
    kernels = backend.kernels
    for rows, in_features, out_features in GRADIENTS:
        grad_out, weight = make_factors(rows, in_features, out_features, (False, False), dtype)
        saved = np.random.default_rng(rows).uniform(-1, 1, (rows, in_features)).astype(dtype)
        specials = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]
        saved.flat[: len(specials)] = specials[: saved.size]
        saved.flat[-len(specials) :] = specials[: saved.size]
        saved = surrounded_by_nan(saved, dtype)
        if rows > 2 and out_features > 0:
            grad_out[1, 0], grad_out[2, -1] = np.nan, np.inf
        expected = np.full((rows, in_features), np.nan, dtype)
        kernels.linear_backward_input(grad_out, weight, expected)
        if activation != "none":
            product, expected = expected, np.full_like(expected, np.nan)
            getattr(kernels, f"{activation}_backward")(saved, product, expected)
        for threads in (1, 2):
            _cpu.set_thread_count(threads)
            grad_x = surrounded_by_nan(np.full((rows, in_features), np.nan), dtype)
            kernels.linear_backward_input(grad_out, weight, grad_x, saved, getattr(_cpu.Activation, activation))
            what = f"{rows} x {in_features} -> {out_features}, {threads} threads"
            assert_bitwise_equal(one_nan(grad_x), one_nan(expected), what)
            assert np.isnan(grad_x.base[:64]).all(), f"{what}: wrote before the result"
            assert np.isnan(grad_x.base[64 + grad_x.size :]).all(), f"{what}: wrote behind the result"


def one_nan(array: Array) -> Array:
    """With one nan for all: which of two nans a product keeps is the compiler's choice of their order."""
    return np.where(np.isnan(array), array.dtype.type(np.nan), array)


def test_linear_backward_input_wants_what_the_activation_gave(backend: Backend) -> None:
    grad_out, weight, grad_x = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32), np.ones((3, 5), np.float32)
    linear_backward_input = backend.kernels.linear_backward_input
    with pytest.raises(TypeError, match="saved must be an array, got None"):
        linear_backward_input(grad_out, weight, grad_x, None, _cpu.Activation.relu)
    with pytest.raises(ValueError, match=r"saved must have 3 rows of 5, got shape \(5, 3\)"):
        linear_backward_input(grad_out, weight, grad_x, np.ones((5, 3), np.float32), _cpu.Activation.relu)
    with pytest.raises(TypeError, match="saved must be float32, got float64"):
        linear_backward_input(grad_out, weight, grad_x, np.ones((3, 5)), _cpu.Activation.relu)


def test_layers_see_all_but_the_last_dimension_as_rows(backend: Backend) -> None:
    x, weight, bias = np.ones((2, 3, 4), np.float32), np.ones((5, 4), np.float32), np.ones(5, np.float32)
    out, grad_x, grad_weight = np.zeros((2, 3, 5), np.float32), np.zeros_like(x), np.zeros_like(weight)
    backend.kernels.linear_forward(x, weight, bias, out)
    backend.kernels.linear_backward_input(out, weight, grad_x)
    backend.kernels.linear_backward_weight(out, x, grad_weight, bias)
    assert (out == 5).all()
    assert (grad_x == 25).all()
    assert (grad_weight == 30).all()
    assert (bias == 30).all()
    single = np.zeros(5, np.float32)
    backend.kernels.linear_forward(x[0, 0], weight, None, single)
    assert (single == 4).all()
    with pytest.raises(ValueError, match=r"out must have 6 rows of 5, got shape \(3, 10\)"):
        backend.kernels.linear_forward(x, weight, None, np.zeros((3, 10), np.float32))
    with pytest.raises(ValueError, match=r"x must have at least 1 dimension, got shape \(\)"):
        backend.kernels.linear_forward(np.array(1, np.float32), weight, None, single)


def test_a_layer_in_one_call_gives_what_its_kernels_give(backend: Backend) -> None:
    k, relu, none = backend.kernels, _cpu.Activation.relu, _cpu.Activation.none
    rng = np.random.default_rng(3)
    x, grad_out = np.maximum(rng.normal(size=(2, 3, 7)), 0).astype(np.float32), rng.random((2, 3, 5), np.float32)
    weight, bias = rng.normal(size=(5, 7)).astype(np.float32), rng.random(5, np.float32)
    out, grad_x = np.empty((2, 3, 5), np.float32), np.empty_like(x)
    grad_weight, grad_bias = np.empty_like(weight), np.empty_like(bias)
    k.linear_forward(x, weight, bias, out, relu)
    np.testing.assert_array_equal(k.linear(x, weight, bias, relu), out)
    assert k.linear(x[0, 0], weight, None, none).shape == (5,)
    k.linear_backward_weight(grad_out, x, grad_weight, grad_bias)
    for through_relu in (False, True):
        k.linear_backward_input(grad_out, weight, grad_x, *((x, relu) if through_relu else ()))
        whole = k.linear_gradients(grad_out, x, weight, True, True, True, through_relu)
        for got, wanted in zip(whole, (grad_x, grad_weight, grad_bias), strict=True):
            np.testing.assert_array_equal(got, wanted)
    for wants in itertools.product((False, True), repeat=3):
        is_given = [grad is not None for grad in k.linear_gradients(grad_out, x, weight, *wants, False)]
        assert is_given == [wants[0], wants[1], wants[1] and wants[2]]


def test_a_layer_in_one_call_says_what_is_wrong(backend: Backend) -> None:
    k, none = backend.kernels, _cpu.Activation.none
    x, weight, grad_out = np.ones((3, 7), np.float32), np.ones((5, 7), np.float32), np.ones((3, 5), np.float32)
    with pytest.raises(ValueError, match=r"weight must have shape \(5, 7\), got shape \(5, 8\)"):
        k.linear(x, np.ones((5, 8), np.float32), None, none)
    with pytest.raises(TypeError, match="weight must be float32, got float64"):
        k.linear(x, weight.astype(np.float64), None, none)
    with pytest.raises(TypeError, match="must be float32 or float64, got int64"):
        k.linear(x.astype(np.int64), weight, None, none)
    with pytest.raises(TypeError, match="x must be an array, got None"):
        k.linear(None, weight, None, none)
    for wrong in (x.T, np.ones((3, 14), np.float32)[:, ::2]):
        with pytest.raises(ValueError, match=r"x must be C-contiguous"):
            k.linear_gradients(grad_out, wrong, weight, True, True, True, False)
    with pytest.raises(ValueError, match=r"linear_backward_weight\(\): x must have 4 rows of 7, got shape \(3, 7\)"):
        k.linear_gradients(np.ones((4, 5), np.float32), x, weight, False, True, True, False)
    with pytest.raises(TypeError, match="weight must be an array, got None"):
        k.linear_gradients(grad_out, x, None, True, True, True, False)


def test_linear_backward_weight_without_bias_gives_the_same_weights(backend: Backend) -> None:
    x, grad_out = make_factors(33, 20, 17, (False, False), np.float32)[0], np.ones((33, 20), np.float32)
    with_bias, without = np.empty((20, 17), np.float32), np.empty((20, 17), np.float32)
    backend.kernels.linear_backward_weight(grad_out, x, with_bias, np.empty(20, np.float32))
    backend.kernels.linear_backward_weight(grad_out, x, without, None)
    assert_bitwise_equal(without, with_bias, "grad_weight")


def test_bias_gradient_of_many_rows_stays_exact(backend: Backend) -> None:
    """Partial sums of 64 rows: 100,000 terms cost about 64 epsilons at worst, not 100,000."""
    grad_out = np.full((100_003, 5), 0.1, np.float32)
    grad_bias = np.empty(5, np.float32)
    backend.kernels.linear_backward_weight(
        grad_out, np.zeros((100_003, 1), np.float32), np.empty((5, 1), np.float32), grad_bias
    )
    assert_close(grad_bias, grad_out.sum(0, dtype=np.float64), 800, "grad_bias")


# ---- the ops


class CopyCounter:
    """Stands in for the extension module and counts the copies that a step makes."""

    def __init__(self) -> None:
        self.copies = 0

    def __getattr__(self, name: str) -> object:
        self.copies += name == "copy_strided"
        return getattr(_cpu, name)


def test_a_training_step_copies_no_matrix() -> None:
    counter = CopyCounter()
    counting = Backend("cpu", np, counter)

    def random(*shape: int, requires_grad: bool = False) -> Tensor:
        values = np.random.default_rng(len(shape)).uniform(-1, 1, shape).astype(np.float32)
        return Tensor(values, counting, requires_grad)

    x, weight, bias = random(32, 20), random(10, 20, requires_grad=True), random(10, requires_grad=True)
    second = random(7, 10, requires_grad=True)
    hidden = ops.linear(x, weight, bias, activation="relu")
    (hidden @ second.T).backward(random(32, 7))
    assert weight.grad is not None
    assert second.grad is not None
    np.testing.assert_allclose(second.grad.array, random(32, 7).array.T @ hidden.array, rtol=1e-4, atol=1e-5)
    assert counter.copies == 1, "the gradient of second.T, transposed back; nothing else"


def test_x_that_needs_no_gradient_gets_none() -> None:
    x, weight = minidl.ones(3, 4), minidl.ones(2, 4, requires_grad=True)
    ops.linear(x, weight).sum().backward()
    assert x.grad is None
    assert weight.grad is not None
    assert weight.grad.tolist() == [[3.0] * 4] * 2


def test_integers_are_multiplied_exactly() -> None:
    a = Tensor(np.arange(6).reshape(2, 3))
    assert (a @ a.T).tolist() == [[5, 14], [14, 50]]


FACTOR_SHAPES = [((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4))]
FACTOR_SHAPES += [((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (7, 3, 4)), ((1, 2, 3), (5, 3, 4))]
FACTOR_SHAPES += [((2, 0), (0, 3)), ((0, 2, 3), (3, 1))]


@pytest.mark.parametrize(("shape_a", "shape_b"), FACTOR_SHAPES, ids=str)
def test_matmul_has_numpys_shapes(shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> None:
    a, b = minidl.ones(*shape_a), minidl.ones(*shape_b)
    expected = np.matmul(a.array, b.array)
    assert_bitwise_equal(np.asarray((a @ b).array), np.asarray(expected), f"{shape_a} @ {shape_b}")


def ones(*shape: int, dtype: type = np.float32) -> Tensor:
    return Tensor(np.ones(shape, dtype), backends.cpu)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ones(2, 3) @ ones(4, 5), ValueError, r"columns of the first must equal rows.*\(2, 3\) and \(4, 5\)"),
        (lambda: ones(2, 3) @ ones(4), ValueError, r"\(2, 3\) and \(4,\)"),
        (lambda: ones(3, 2, 3) @ ones(2, 3, 4), ValueError, r"batch dimensions.*\(3, 2, 3\) and \(2, 3, 4\)"),
        (lambda: ones() @ ones(2), ValueError, r"at least 1 dimension"),
        (lambda: ones(2, 2) @ ones(2, 2, dtype=np.float64), TypeError, r"one dtype, got .*float32 and .*float64"),
        (lambda: ops.matmul(ones(2, 2), np.ones((2, 2))), TypeError, r"tensors, got Tensor and ndarray"),
        (lambda: ops.mm(ones(2), ones(2, 2)), ValueError, r"mm: the first must have 2 dimensions, got shape \(2,\)"),
        (lambda: ops.bmm(ones(2, 3, 4), ones(1, 4, 5)), ValueError, r"bmm: both must have the same batch size"),
        (lambda: ops.mv(ones(2, 2), ones(2, 2)), ValueError, r"mv: the vector must have 1 dimension"),
        (lambda: ops.dot(ones(2), ones(3)), ValueError, r"got shapes \(2,\) and \(3,\)"),
        (lambda: ops.addmm(ones(3, 3), ones(2, 4), ones(4, 3)), ValueError, r"addmm"),
        (lambda: ops.linear(ones(64, 28, 28), ones(256, 784)), ValueError, r"784 columns.*\(64, 28, 28\); flatten it"),
        (lambda: ops.linear(ones(64, 5), ones(256, 784)), ValueError, r"784 columns.*got shape \(64, 5\)$"),
        (lambda: ops.linear(ones(2, 3), ones(4, 3), ones(3)), ValueError, r"bias must have shape \(4,\), got \(3,\)"),
        (lambda: ops.linear(ones(2, 3), ones(4, 3), None, "gelu"), ValueError, r"None or one of relu, sigmoid, tanh"),
        (lambda: ops.linear(ones(2, 3, dtype=np.int64), ones(4, 3)), TypeError, r"float32 or float64, got int64"),
    ],
)
def test_errors_show_both_sides(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
