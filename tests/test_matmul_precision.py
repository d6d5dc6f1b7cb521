"""set_float32_matmul_precision: bfloat16 factors, one or two for each, where they are allowed and the CPU multiplies
them, nowhere else."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import minidl
from comparison import assert_bitwise_equal, assert_close
from minidl import _cpu, kernels, nn, optim
from minidl.backends import BFLOAT16_PIECES, Backend
from requirements import missing

Array = np.ndarray
each_layout = pytest.mark.parametrize(
    "transpose", [(False, False), (False, True), (True, False), (True, True)], ids=str
)

# m, n, k: tiles of all heights that such products have, columns that fill part of a vector, one, and several panels,
# odd depths; then several blocks of k, of rows and of columns, and results written along their rows.
SHAPES = [(65 + extra, 64 + extra, 64 + extra) for extra in range(16)]
SHAPES += [(64, 64, 96), (129, 80, 33), (79, 131, 255), (127, 97, 101), (128, 256, 784)]
# With few lines, and the shortest depth: two pieces would not pay.
SMALL_SHAPES = [(33 + extra, 32 + extra, 64 + extra) for extra in range(16)]
SMALL_SHAPES += [(32, 32, 8), (32, 47, 9), (32, 47, 65), (129, 48, 33), (47, 131, 255)]
BLOCKS = [(72, 70, 2049), (70, 72, 4131), (2100, 70, 1030), (70, 4200, 2050), (530, 541, 130), (530, 541, 1100)]
SMALL_BLOCKS = [(40, 70, 2049), (70, 40, 4131)]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Rounding:
    """What float32 products may do: a factor becomes the sum of so many bfloat16 numbers."""

    instructions: str
    pieces: int

    @property
    def precision(self) -> str:
        return {pieces: name for name, pieces in BFLOAT16_PIECES.items()}[self.pieces]

    def shapes_of(self, large: list[Shape], small: list[Shape]) -> list[Shape]:
        """Of products that are large enough for it."""
        return large + (small if self.pieces == 1 else [])

    def product(self, a: Array, b: Array) -> Array:
        """In float64; of factors in two pieces the product of the second ones is left out."""
        a, b = a.astype(np.float64), b.astype(np.float64)
        first_a, first_b = rounded(a), rounded(b)
        if self.pieces == 1:
            return first_a @ first_b
        return first_a @ (first_b + rounded(b - first_b)) + rounded(a - first_a) @ first_b


@pytest.fixture(params=[Rounding("avx512", 1), Rounding("amx", 1), Rounding("amx", 2)], ids=["avx512", "amx", "amx-2"])
def rounding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Rounding:
    """Lets float32 products round their factors; skips where the CPU does not have the instructions."""
    chosen: Rounding = request.param
    if chosen.instructions not in _cpu.available_bfloat16():
        missing(f"bfloat16-{chosen.instructions}", f"this machine does not multiply by {chosen.instructions}")
    fits = {chosen.pieces: chosen.instructions}
    monkeypatch.setattr(_cpu, "fastest_bfloat16", lambda pieces: fits.get(pieces, "none"))
    _cpu.set_isa("avx512")
    minidl.set_float32_matmul_precision(chosen.precision)
    assert _cpu.bfloat16() == chosen.instructions
    return chosen


def rounded(x: Array) -> Array:
    """float32 rounded to bfloat16, to nearest, ties to even; nan and infinity stay."""
    bits = x.astype(np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(x), bits.view(np.float32), x)


def surrounded_by_nan(array: Array) -> Array:
    """A copy whose neighbours in memory are nan: reading them would show."""
    memory = np.full(array.size + 128, np.nan, np.float32)
    inner = memory[64 : 64 + array.size].reshape(array.shape)
    inner[...] = array
    return inner


def make_factors(m: int, n: int, k: int, transpose: tuple[bool, bool]) -> tuple[Array, Array]:
    random = np.random.default_rng(m + 31 * n + 1009 * k)
    a = surrounded_by_nan(random.standard_normal((k, m) if transpose[0] else (m, k)))
    b = surrounded_by_nan(random.standard_normal((n, k) if transpose[1] else (k, n)))
    return a, b


def plain(a: Array, b: Array, transpose: tuple[bool, bool]) -> tuple[Array, Array]:
    """The factors in float64 and not transposed."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return a.T if transpose[0] else a, b.T if transpose[1] else b


def assert_sums_close(
    actual: Array, rounding: Rounding, a: Array, b: Array, what: str, start: Array | float = 0.0
) -> None:
    """The factors' rounding is in what is expected: the additions in float32 are left, which err like sqrt(k) epsilons
    at most."""
    size = np.abs(a) @ np.abs(b) + np.abs(start)
    assert_close(actual, rounding.product(a, b) + start, 2 + 0.25 * a.shape[1] ** 0.5, what, size)


@each_layout
@pytest.mark.parametrize("accumulate", [False, True], ids=["store", "accumulate"])
def test_product_equals_the_float64_product_of_rounded_factors(
    rounding: Rounding, transpose: tuple[bool, bool], accumulate: bool
) -> None:
    count = None if transpose[0] != transpose[1] and not accumulate else 1
    for m, n, k in rounding.shapes_of(SHAPES + BLOCKS[:count], SMALL_SHAPES + SMALL_BLOCKS[:count]):
        a, b = make_factors(m, n, k, transpose)
        start = np.random.default_rng(5).standard_normal((m, n)).astype(np.float32)
        out = surrounded_by_nan(start if accumulate else np.full((m, n), np.nan))
        kernels.matmul(a, b, out, *transpose, accumulate)
        what = f"{m} x {n} x {k}"
        assert_sums_close(out, rounding, *plain(a, b, transpose), what, start if accumulate else 0.0)
        assert np.isnan(out.base[:64]).all(), f"{what}: wrote before the result"
        assert np.isnan(out.base[64 + m * n :]).all(), f"{what}: wrote behind the result"


@each_layout
def test_error_against_unrounded_factors_keeps_the_documented_bound(
    rounding: Rounding, transpose: tuple[bool, bool]
) -> None:
    for m, n, k in rounding.shapes_of(SHAPES, SMALL_SHAPES):
        a, b = make_factors(m, n, k, transpose)
        out = np.empty((m, n), np.float32)
        kernels.matmul(a, b, out, *transpose)
        exact_a, exact_b = plain(a, b, transpose)
        error = np.abs(out - exact_a @ exact_b) / (np.abs(exact_a) @ np.abs(exact_b))
        assert error.max() <= {1: 2**-7 + 2**-16 + k * 2**-23, 2: 2**-14 + k * 2**-22}[rounding.pieces]
        # Above what float32 would leave: bfloat16 was really used.
        assert error.max() > {1: 2**-14, 2: 2**-21}[rounding.pieces]


@each_layout
def test_product_does_not_depend_on_the_threads(rounding: Rounding, transpose: tuple[bool, bool]) -> None:
    large = [(64, 96, 257), (131, 113, 127), (72, 700, 2100), (700, 72, 2100), (530, 541, 130)]
    for m, n, k in rounding.shapes_of(large, [(40, 700, 2100), (700, 40, 2100)]):
        a, b = make_factors(m, n, k, transpose)
        results = []
        for threads in (1, 2, 3):
            _cpu.set_thread_count(threads)
            out = np.full((m, n), np.nan, np.float32)
            kernels.matmul(a, b, out, *transpose)
            results.append(out)
        assert_bitwise_equal(results[1], results[0], f"{m} x {n} x {k} on 2 threads")
        assert_bitwise_equal(results[2], results[0], f"{m} x {n} x {k} on 3 threads")


def test_batch_equals_single_products(rounding: Rounding) -> None:
    a, b = (x.reshape(7, -1, 65) for x in make_factors(7 * 72, 7 * 67, 65, (False, True)))
    for threads in (1, 2):
        _cpu.set_thread_count(threads)
        out, alone = np.empty((7, 72, 67), np.float32), np.empty((7, 72, 67), np.float32)
        kernels.matmul(a, b, out, False, True)
        for i in range(7):
            kernels.matmul(a[i], b[i], alone[i], False, True)
        assert_bitwise_equal(out, alone, f"{threads} threads")


@each_layout
def test_nan_and_infinity_reach_their_row_and_column_only(rounding: Rounding, transpose: tuple[bool, bool]) -> None:
    for m, n, k in rounding.shapes_of([(70, 80, 33), (77, 67, 128)], [(45, 35, 128)]):
        a, b = make_factors(m, n, k, transpose)
        rows, columns = a.T if transpose[0] else a, b.T if transpose[1] else b
        rows[m // 2, k - 1] = np.nan
        columns[0, n // 3] = np.inf
        columns[k - 1, n - 1] = 0
        out = np.empty((m, n), np.float32)
        kernels.matmul(a, b, out, *transpose)
        assert np.isnan(out[m // 2]).all()
        clean = np.arange(m) != m // 2
        is_expected = np.isinf if rounding.pieces == 1 else np.isnan  # infinity leaves no second piece
        assert is_expected(out[clean, n // 3]).all()
        assert np.isfinite(np.delete(out[clean], n // 3, axis=1)).all()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1 + 2**-8, 1.0), (1 + 3 * 2**-8, 1 + 2**-6), (1 + 2**-8 + 2**-23, 1 + 2**-7), (3.4e38, np.inf), (1e-39, 0.0)],
    ids=["tie to even below", "tie to even above", "just above a tie", "too large", "denormal"],
)
def test_factors_are_rounded_to_nearest_even(rounding: Rounding, value: float, expected: float) -> None:
    if rounding.pieces == 2:
        with np.errstate(invalid="ignore"):  # infinity less infinity
            expected += float(rounded(np.float32(value) - np.float32(expected)))
        expected = 0.0 if value < 2**-126 else expected
    a, out = np.zeros((64, 64), np.float32), np.empty((64, 64), np.float32)
    np.fill_diagonal(a, value)
    for first, second in [(a, np.eye(64, dtype=np.float32)), (np.eye(64, dtype=np.float32), a)]:
        for transpose in itertools.product([False, True], repeat=2):
            with np.errstate(invalid="ignore"):
                kernels.matmul(first, second, out, *transpose)
            np.testing.assert_array_equal(np.diag(out), np.float32(expected))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_forward_adds_an_unrounded_bias_and_activates(rounding: Rounding, activation: str) -> None:
    large, small = [(64, 784, 129), (67, 33, 80), (130, 2100, 64)], [(32, 784, 129), (67, 33, 48)]
    for rows, in_features, out_features in rounding.shapes_of(large, small):
        x, weight = make_factors(rows, out_features, in_features, (False, True))
        weight /= in_features**0.5
        bias = np.random.default_rng(7).standard_normal(out_features).astype(np.float32)
        out = np.full((rows, out_features), np.nan, np.float32)
        kernels.linear_forward(x, weight, bias, out, getattr(_cpu.Activation, activation))
        first, second = plain(x, weight, (False, True))
        size = np.abs(first) @ np.abs(second) + np.abs(bias) + 1
        exact = ACTIVATIONS[activation](rounding.product(first, second) + bias)
        assert_close(out, exact, 6 + 0.25 * in_features**0.5, f"{rows} x {in_features} -> {out_features}", size)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_backward_uses_rounded_factors_and_the_saved_activation(rounding: Rounding, activation: str) -> None:
    kind = getattr(_cpu.Activation, activation)
    large, small = [(64, 129, 784), (67, 80, 65), (2100, 64, 130)], [(32, 129, 784), (67, 48, 33)]
    for rows, in_features, out_features in rounding.shapes_of(large, small):
        grad_out, weight = make_factors(rows, in_features, out_features, (False, False))
        x = make_factors(rows, 1, in_features, (False, False))[0]
        saved = np.random.default_rng(3).uniform(-1, 1, x.shape).astype(np.float32)
        expected, grad_x = np.empty_like(x), np.full_like(x, np.nan)
        kernels.linear_backward_input(grad_out, weight, expected)
        what = f"{rows} x {in_features} -> {out_features}"
        assert_sums_close(expected, rounding, *plain(grad_out, weight, (False, False)), what)
        if activation != "none":
            product, expected = expected, np.empty_like(x)
            getattr(kernels, f"{activation}_backward")(saved, product, expected)
        kernels.linear_backward_input(grad_out, weight, grad_x, saved, kind)
        assert_bitwise_equal(grad_x, expected, what)

        for start in (0.0, 1.0):
            grad_weight = np.full((out_features, in_features), start, np.float32)
            grad_bias = np.full(out_features, start, np.float32)
            kernels.linear_backward_weight(grad_out, x, grad_weight, grad_bias, start == 1)
            assert_sums_close(grad_weight, rounding, *plain(grad_out, x, (True, False)), what, start)
            exact = grad_out.sum(0, dtype=np.float64) + start
            assert_close(grad_bias, exact, 2 + 0.25 * rows**0.5, what, np.abs(grad_out).sum(0) + start)


# ---- the setting


def product_of(shape: tuple[int, int, int], dtype: type = np.float32) -> Array:
    a, b = (x.astype(dtype) for x in make_factors(*shape, (False, False)))
    out = np.empty(shape[:2], dtype)
    kernels.matmul(a, b, out)
    return out


def test_a_name_changes_products_where_the_cpu_is_faster_for_it(rounding: Rounding) -> None:
    minidl.set_float32_matmul_precision("highest")
    exact = product_of((64, 64, 64))
    for name in ("high", "medium", "highest"):
        minidl.set_float32_matmul_precision(name)
        assert minidl.get_float32_matmul_precision() == name
        assert (product_of((64, 64, 64)) != exact).any() == (name == rounding.precision)


@pytest.mark.parametrize("name", ["low", "Medium", "", None])
def test_unknown_precision_raises_and_changes_nothing(name: str) -> None:
    before = minidl.get_float32_matmul_precision()
    with pytest.raises(ValueError, match=r"precision must be one of highest, high, medium, got"):
        minidl.set_float32_matmul_precision(name)
    assert minidl.get_float32_matmul_precision() == before == "highest"


def test_float64_and_products_too_small_to_gain_stay_exact(rounding: Rounding) -> None:
    cases = [((64, 64, 64), np.float64), ((1, 300, 200), np.float32), ((300, 1, 200), np.float32)]
    cases += [((200, 300, 1), np.float32), ((512, 10, 128), np.float32)]
    cases += [(shape, np.float32) for shape in SMALL_SHAPES if rounding.pieces == 2]
    for shape, dtype in cases:
        minidl.set_float32_matmul_precision(rounding.precision)
        allowed = product_of(shape, dtype)
        minidl.set_float32_matmul_precision("highest")
        assert_bitwise_equal(allowed, product_of(shape, dtype), f"{shape} {dtype.__name__}")


def test_other_instruction_sets_stay_in_float32(backend: Backend) -> None:
    exact = product_of((64, 64, 64))
    for name, pieces in BFLOAT16_PIECES.items():
        if _cpu.isa() == "avx512" and _cpu.fastest_bfloat16(pieces) != "none":
            continue
        minidl.set_float32_matmul_precision(name)
        assert_bitwise_equal(product_of((64, 64, 64)), exact, f"{_cpu.isa()}, {name}")


def test_fastest_instructions_are_available_ones() -> None:
    assert _cpu.bfloat16() == "none"
    for name, pieces in BFLOAT16_PIECES.items():
        assert _cpu.fastest_bfloat16(pieces) in ["none", *_cpu.available_bfloat16()]
        minidl.set_float32_matmul_precision(name)
        assert _cpu.bfloat16() == _cpu.fastest_bfloat16(pieces)
    assert _cpu.fastest_bfloat16(3) == "none"


@pytest.mark.parametrize("name", ["avx2", "", *sorted({"amx", "avx512"} - set(_cpu.available_bfloat16()))])
def test_instructions_that_are_missing_raise_and_change_nothing(name: str) -> None:
    before = _cpu.bfloat16()
    with pytest.raises(ValueError, match=f"'{name}' is not available on this machine; it has: none"):
        _cpu.set_bfloat16(name)
    assert _cpu.bfloat16() == before


@pytest.mark.parametrize(("name", "pieces"), [("avx512", 2), ("avx512", 0), ("amx", 3), ("amx", -1)])
def test_pieces_that_instructions_do_not_take_raise_and_change_nothing(name: str, pieces: int) -> None:
    if name not in _cpu.available_bfloat16():
        missing(f"bfloat16-{name}", f"this machine does not multiply by {name}")
    most = {"avx512": 1, "amx": 2}[name]
    with pytest.raises(ValueError, match=f"with '{name}' pieces must be from 1 to {most}, got {pieces}"):
        _cpu.set_bfloat16(name, pieces)
    assert _cpu.bfloat16() == "none"


def train(precisions: list[str], wraps: bool) -> list[Array]:
    """The weights after each step of a training whose steps have these precisions."""
    minidl.manual_seed(3)
    model = nn.Sequential(nn.Linear(100, 64), nn.ReLU(), nn.Linear(64, 48))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x: minidl.Tensor, labels: minidl.Tensor) -> minidl.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    run = minidl.capture(step) if wraps else step
    random = np.random.default_rng(0)
    x = minidl.tensor(random.standard_normal((64, 100)).astype(np.float32))
    labels = minidl.tensor(random.integers(0, 48, 64))
    weights = []
    for precision in precisions:
        minidl.set_float32_matmul_precision(precision)
        run(x, labels)
        weights.append(np.concatenate([parameter.detach().numpy().ravel() for parameter in model.parameters()]))
    return weights


def test_captured_step_follows_the_setting_from_call_to_call(rounding: Rounding) -> None:
    used, unused = rounding.precision, "high" if rounding.pieces == 1 else "medium"
    changing = ["highest", "highest", "highest", used, used, unused, used]
    eager, captured = train(changing, wraps=False), train(changing, wraps=True)
    constant = train(["highest"] * len(changing), wraps=True)
    for number, precision in enumerate(changing):
        assert_bitwise_equal(captured[number], eager[number], f"step {number}, {precision}")
    assert_bitwise_equal(captured[2], constant[2], "the steps before the change")
    assert (captured[3] != constant[3]).any()
