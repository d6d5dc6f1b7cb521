"""set_float32_matmul_precision: bfloat16 factors where they are allowed and the CPU multiplies them, nowhere else."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import minidl
from comparison import assert_bitwise_equal, assert_close
from minidl import _cpu, kernels, nn, optim
from minidl.backends import Backend
from requirements import missing

Array = np.ndarray
each_layout = pytest.mark.parametrize(
    "transpose", [(False, False), (False, True), (True, False), (True, True)], ids=str
)

# m, n, k: tiles of all heights that such products have, columns that fill part of a vector, one, and several panels,
# odd depths, the shortest one; then several blocks of k, of rows and of columns, and results written along their rows.
SHAPES = [(33 + extra, 32 + extra, 64 + extra) for extra in range(16)]
SHAPES += [
    (32, 32, 8),
    (32, 47, 9),
    (32, 47, 65),
    (129, 48, 33),
    (47, 131, 255),
    (64, 64, 96),
    (127, 97, 101),
    (128, 256, 784),
]
BLOCKS = [(40, 70, 2049), (70, 40, 4131), (2100, 70, 1030), (70, 4200, 2050), (530, 541, 130), (530, 541, 1100)]


@pytest.fixture(params=["avx512", "amx"])
def bfloat16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Lets float32 products use these instructions for it; skips where the CPU does not have them."""
    if request.param not in _cpu.available_bfloat16():
        missing(f"bfloat16-{request.param}", f"this machine does not multiply bfloat16 numbers by {request.param}")
    monkeypatch.setattr(_cpu, "fastest_bfloat16", lambda: request.param)
    _cpu.set_isa("avx512")
    minidl.set_float32_matmul_precision("medium")
    assert _cpu.bfloat16() == request.param
    return request.param


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


def assert_sums_close(actual: Array, a: Array, b: Array, what: str, start: Array | float = 0.0) -> None:
    """a and b are rounded already: only the additions in float32 are left, which err like sqrt(k) epsilons at most."""
    size = np.abs(a) @ np.abs(b) + np.abs(start)
    assert_close(actual, a @ b + start, 2 + 0.25 * a.shape[1] ** 0.5, what, size)


@each_layout
@pytest.mark.parametrize("accumulate", [False, True], ids=["store", "accumulate"])
def test_product_equals_the_float64_product_of_rounded_factors(
    bfloat16: str, transpose: tuple[bool, bool], accumulate: bool
) -> None:
    blocks = BLOCKS if transpose[0] != transpose[1] and not accumulate else BLOCKS[:1]
    for m, n, k in SHAPES + blocks:
        a, b = make_factors(m, n, k, transpose)
        start = np.random.default_rng(5).standard_normal((m, n)).astype(np.float32)
        out = surrounded_by_nan(start if accumulate else np.full((m, n), np.nan))
        kernels.matmul(a, b, out, *transpose, accumulate)
        what = f"{m} x {n} x {k}"
        assert_sums_close(out, *plain(rounded(a), rounded(b), transpose), what, start if accumulate else 0.0)
        assert np.isnan(out.base[:64]).all(), f"{what}: wrote before the result"
        assert np.isnan(out.base[64 + m * n :]).all(), f"{what}: wrote behind the result"


@each_layout
def test_error_against_unrounded_factors_keeps_the_documented_bound(
    bfloat16: str, transpose: tuple[bool, bool]
) -> None:
    for m, n, k in SHAPES:
        a, b = make_factors(m, n, k, transpose)
        out = np.empty((m, n), np.float32)
        kernels.matmul(a, b, out, *transpose)
        exact_a, exact_b = plain(a, b, transpose)
        error = np.abs(out - exact_a @ exact_b) / (np.abs(exact_a) @ np.abs(exact_b))
        assert error.max() <= 2**-7 + 2**-16 + k * 2**-23
        # Far above what float32 would leave: bfloat16 was really used.
        assert error.max() > 2**-14


@each_layout
def test_product_does_not_depend_on_the_threads(bfloat16: str, transpose: tuple[bool, bool]) -> None:
    for m, n, k in [(64, 96, 257), (131, 113, 127), (40, 700, 2100), (700, 40, 2100), (530, 541, 130)]:
        a, b = make_factors(m, n, k, transpose)
        results = []
        for threads in (1, 2, 3):
            _cpu.set_thread_count(threads)
            out = np.full((m, n), np.nan, np.float32)
            kernels.matmul(a, b, out, *transpose)
            results.append(out)
        assert_bitwise_equal(results[1], results[0], f"{m} x {n} x {k} on 2 threads")
        assert_bitwise_equal(results[2], results[0], f"{m} x {n} x {k} on 3 threads")


def test_batch_equals_single_products(bfloat16: str) -> None:
    a, b = (x.reshape(7, -1, 65) for x in make_factors(7 * 40, 7 * 35, 65, (False, True)))
    for threads in (1, 2):
        _cpu.set_thread_count(threads)
        out, alone = np.empty((7, 40, 35), np.float32), np.empty((7, 40, 35), np.float32)
        kernels.matmul(a, b, out, False, True)
        for i in range(7):
            kernels.matmul(a[i], b[i], alone[i], False, True)
        assert_bitwise_equal(out, alone, f"{threads} threads")


@each_layout
def test_nan_and_infinity_reach_their_row_and_column_only(bfloat16: str, transpose: tuple[bool, bool]) -> None:
    for m, n, k in [(70, 80, 33), (45, 35, 128)]:
        a, b = make_factors(m, n, k, transpose)
        rows, columns = a.T if transpose[0] else a, b.T if transpose[1] else b
        rows[m // 2, k - 1] = np.nan
        columns[0, n // 3] = np.inf
        columns[k - 1, n - 1] = 0
        out = np.empty((m, n), np.float32)
        kernels.matmul(a, b, out, *transpose)
        assert np.isnan(out[m // 2]).all()
        clean = np.arange(m) != m // 2
        assert np.isinf(out[clean, n // 3]).all()
        assert np.isfinite(np.delete(out[clean], n // 3, axis=1)).all()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1 + 2**-8, 1.0), (1 + 3 * 2**-8, 1 + 2**-6), (1 + 2**-8 + 2**-23, 1 + 2**-7), (3.4e38, np.inf), (1e-39, 0.0)],
    ids=["tie to even below", "tie to even above", "just above a tie", "too large", "denormal"],
)
def test_factors_are_rounded_to_nearest_even(bfloat16: str, value: float, expected: float) -> None:
    a, out = np.zeros((64, 64), np.float32), np.empty((64, 64), np.float32)
    np.fill_diagonal(a, value)
    for first, second in [(a, np.eye(64, dtype=np.float32)), (np.eye(64, dtype=np.float32), a)]:
        for transpose in itertools.product([False, True], repeat=2):
            with np.errstate(invalid="ignore"):
                kernels.matmul(first, second, out, *transpose)
            assert (np.diag(out) == np.float32(expected)).all()


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_forward_adds_an_unrounded_bias_and_activates(bfloat16: str, activation: str) -> None:
    for rows, in_features, out_features in [(32, 784, 129), (67, 33, 48), (130, 2100, 64)]:
        x, weight = make_factors(rows, out_features, in_features, (False, True))
        weight /= in_features**0.5
        bias = np.random.default_rng(7).standard_normal(out_features).astype(np.float32)
        out = np.full((rows, out_features), np.nan, np.float32)
        kernels.linear_forward(x, weight, bias, out, getattr(_cpu.Activation, activation))
        first, second = plain(rounded(x), rounded(weight), (False, True))
        size = np.abs(first) @ np.abs(second) + np.abs(bias) + 1
        exact = ACTIVATIONS[activation](first @ second + bias)
        assert_close(out, exact, 6 + 0.25 * in_features**0.5, f"{rows} x {in_features} -> {out_features}", size)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_backward_uses_rounded_factors_and_the_saved_activation(bfloat16: str, activation: str) -> None:
    kind = getattr(_cpu.Activation, activation)
    for rows, in_features, out_features in [(32, 129, 784), (67, 48, 33), (2100, 64, 130)]:
        grad_out, weight = make_factors(rows, in_features, out_features, (False, False))
        x = make_factors(rows, 1, in_features, (False, False))[0]
        saved = np.random.default_rng(3).uniform(-1, 1, x.shape).astype(np.float32)
        expected, grad_x = np.empty_like(x), np.full_like(x, np.nan)
        kernels.linear_backward_input(grad_out, weight, expected)
        what = f"{rows} x {in_features} -> {out_features}"
        assert_sums_close(expected, *plain(rounded(grad_out), rounded(weight), (False, False)), what)
        if activation != "none":
            product, expected = expected, np.empty_like(x)
            getattr(kernels, f"{activation}_backward")(saved, product, expected)
        kernels.linear_backward_input(grad_out, weight, grad_x, saved, kind)
        assert_bitwise_equal(grad_x, expected, what)

        for start in (0.0, 1.0):
            grad_weight = np.full((out_features, in_features), start, np.float32)
            grad_bias = np.full(out_features, start, np.float32)
            kernels.linear_backward_weight(grad_out, x, grad_weight, grad_bias, start == 1)
            assert_sums_close(grad_weight, rounded(grad_out).T.astype(np.float64), rounded(x), what, start)
            assert_sums_close(grad_bias[:, None], grad_out.T.astype(np.float64), np.ones((rows, 1)), what, start)


# ---- the setting


def product_of(shape: tuple[int, int, int], dtype: type = np.float32) -> Array:
    a, b = (x.astype(dtype) for x in make_factors(*shape, (False, False)))
    out = np.empty(shape[:2], dtype)
    kernels.matmul(a, b, out)
    return out


def test_default_is_highest_and_only_medium_changes_a_product(bfloat16: str) -> None:
    minidl.set_float32_matmul_precision("highest")
    exact = product_of((64, 64, 64))
    for name in ("high", "highest"):
        minidl.set_float32_matmul_precision(name)
        assert minidl.get_float32_matmul_precision() == name
        assert_bitwise_equal(product_of((64, 64, 64)), exact, name)
    minidl.set_float32_matmul_precision("medium")
    assert (product_of((64, 64, 64)) != exact).any()


@pytest.mark.parametrize("name", ["low", "Medium", "", None])
def test_unknown_precision_raises_and_changes_nothing(name: str) -> None:
    before = minidl.get_float32_matmul_precision()
    with pytest.raises(ValueError, match=r"precision must be one of highest, high, medium, got"):
        minidl.set_float32_matmul_precision(name)
    assert minidl.get_float32_matmul_precision() == before == "highest"


def test_float64_and_products_too_small_to_gain_stay_exact(bfloat16: str) -> None:
    cases = [((64, 64, 64), np.float64), ((1, 300, 200), np.float32), ((300, 1, 200), np.float32)]
    for shape, dtype in [*cases, ((200, 300, 1), np.float32), ((512, 10, 128), np.float32)]:
        minidl.set_float32_matmul_precision("medium")
        allowed = product_of(shape, dtype)
        minidl.set_float32_matmul_precision("highest")
        assert_bitwise_equal(allowed, product_of(shape, dtype), f"{shape} {dtype.__name__}")


def test_other_instruction_sets_stay_in_float32(backend: Backend) -> None:
    if _cpu.isa() == "avx512" and _cpu.fastest_bfloat16() != "none":
        return
    exact = product_of((64, 64, 64))
    minidl.set_float32_matmul_precision("medium")
    assert_bitwise_equal(product_of((64, 64, 64)), exact, _cpu.isa())


def test_fastest_instructions_are_available_ones() -> None:
    assert _cpu.fastest_bfloat16() in ["none", *_cpu.available_bfloat16()]
    assert _cpu.bfloat16() == "none"
    minidl.set_float32_matmul_precision("medium")
    assert _cpu.bfloat16() == _cpu.fastest_bfloat16()


@pytest.mark.parametrize("name", ["avx2", "", *sorted({"amx", "avx512"} - set(_cpu.available_bfloat16()))])
def test_instructions_that_are_missing_raise_and_change_nothing(name: str) -> None:
    before = _cpu.bfloat16()
    with pytest.raises(ValueError, match=f"'{name}' is not available on this machine; it has: none"):
        _cpu.set_bfloat16(name)
    assert _cpu.bfloat16() == before


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


def test_captured_step_follows_the_setting_from_call_to_call(bfloat16: str) -> None:
    changing = ["highest", "highest", "highest", "medium", "medium", "high", "medium"]
    eager, captured = train(changing, wraps=False), train(changing, wraps=True)
    constant = train(["highest"] * len(changing), wraps=True)
    for number, precision in enumerate(changing):
        assert_bitwise_equal(captured[number], eager[number], f"step {number}, {precision}")
    assert_bitwise_equal(captured[2], constant[2], "the steps before the change")
    assert (captured[3] != constant[3]).any()
