"""Random numbers: Philox as in NumPy, the same on every instruction set and thread count, and well distributed."""

import copy
import math
from itertools import permutations

import numpy as np
import pytest

import minidl
from comparison import assert_bitwise_equal, assert_close
from minidl import Generator, _cpu, ops
from minidl.backends import Backend
from philox import dropout_factors, philox, words_32, words_64

Array = np.ndarray
DTYPES = [np.float32, np.float64]
# Group boundaries (16, 32, 64, 128) with their neighbours, and enough for two threads.
SIZES = [0, 1, 3, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 1009, 70001]
TICKETS = [(0, 0), (-1, -1), (1234567890123456789, 3), (-5, 2**40 + 3), (0x299F31D0A4093822, 0x0370734413198A2E)]

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def draw(backend: Backend, kernel: str, size: int, *scalars: float, ticket=(42, 7), dtype=np.int64) -> Array:
    out = backend.empty((size,), np.dtype(dtype))
    getattr(backend.kernels, kernel)(np.array(ticket, np.int64), out, *scalars)
    return out


def unit_interval(ticket: tuple[int, int], size: int, dtype: type) -> Array:
    if dtype == np.float32:
        return (words_32(*ticket, size) >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)
    return (words_64(*ticket, size) >> np.uint64(11)).astype(np.float64) * 2.0**-53


# ---- the numbers


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF,) * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_reference_gives_the_published_vectors(counter: list[int], key: tuple[int, int], expected: list[int]) -> None:
    # The known answers of Random123, the authors' library.
    assert [int(word) for word in philox([np.array(word) for word in counter], key)] == expected


@pytest.mark.parametrize("ticket", TICKETS)
def test_bits_are_the_words_of_philox(ticket: tuple[int, int], backend: Backend) -> None:
    for size in SIZES:
        expected = words_32(*ticket, size).astype(np.int64)
        assert_bitwise_equal(draw(backend, "random_bits", size, ticket=ticket), expected, f"size {size}")


@each_dtype
def test_uniform_draws_are_the_top_bits_of_the_words(dtype: type, backend: Backend) -> None:
    for low, high in [(0.0, 1.0), (-1.3, 2.9), (5.0, 5.0)]:
        for size in SIZES:
            unit = unit_interval((42, 7), size, dtype)
            expected = dtype(low) + (dtype(high) - dtype(low)) * unit
            expected = np.where(
                (expected < dtype(high)) | (low == high), expected, np.nextafter(dtype(high), dtype(low))
            )
            actual = draw(backend, "uniform", size, low, high, dtype=dtype)
            assert_bitwise_equal(actual, expected.astype(dtype), f"size {size}, [{low}, {high})")


@each_dtype
def test_uniform_never_reaches_its_upper_end(dtype: type, backend: Backend) -> None:
    low, high = dtype(1), dtype(1) + 4 * np.finfo(dtype).eps  # one draw in eight rounds to high
    drawn = draw(backend, "uniform", 4096, low, high, dtype=dtype)
    assert drawn.min() == low
    assert drawn.max() == np.nextafter(high, low)


@each_dtype
def test_normal_draws_are_box_muller_of_the_words(dtype: type, backend: Backend) -> None:
    size = 64 * 200
    if dtype == np.float32:
        draws = words_32(42, 7, size).astype(np.longdouble) / 2**32
        radius = np.sqrt(-2 * np.log(draws + 2.0**-33))
    else:
        words = words_64(42, 7, size)
        draws = words.astype(np.longdouble) / 2**64
        radius = np.sqrt(-2 * np.log(((words >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52))
    radius, angle = radius.reshape(-1, 2, 16)[:, 0], 2 * np.pi * draws.reshape(-1, 2, 16)[:, 1]
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
    # Relative to the radius: rounding of its uniform number (largest near 1, where the logarithm vanishes), of the
    # logarithm, of the angle, two polynomials and three products.
    scale = np.repeat(np.maximum(radius, 1 / np.maximum(radius, 1e-3)), 2, axis=0).reshape(-1)
    actual = draw(backend, "normal", size, 0.0, 1.0, dtype=dtype)
    assert_close(actual, expected.astype(np.float64), 4, "normal", scale.astype(np.float64))


@each_dtype
def test_bernoulli_draws_are_words_below_the_threshold(dtype: type, backend: Backend) -> None:
    for p in [0.0, 2.0**-32, 0.3, 0.5, 1.0]:
        for size in SIZES:
            expected = (words_32(42, 7, size) < round(p * 2**32)).astype(dtype)
            assert_bitwise_equal(draw(backend, "bernoulli", size, p, dtype=dtype), expected, f"size {size}, p {p}")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 10), (-5, 1000), (-(2**63), 2**63 - 1), (7, 2**40)])
def test_randint_draws_are_scaled_words(low: int, high: int, backend: Backend) -> None:
    for size in SIZES[:-1]:
        expected = np.array([low + (int(word) * (high - low) >> 64) for word in words_64(42, 7, size)], np.int64)
        assert_bitwise_equal(draw(backend, "randint", size, low, high), expected, f"size {size}")


@pytest.mark.parametrize("kernel", ["uniform", "normal", "bernoulli", "dropout_forward", "randint", "permutation"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_numbers_depend_neither_on_the_instruction_set_nor_on_threads(kernel: str, threads: int) -> None:
    ticket = np.array([3, 9], np.int64)
    x = np.linspace(-1, 1, 100003)

    def run(dtype: type) -> Array:
        if kernel == "dropout_forward":
            out = np.empty(x.shape, dtype)
            _cpu.dropout_forward(x.astype(dtype), ticket, out, 0.3)
            return out
        scalars = {"uniform": (-1.3, 2.9), "normal": (0.3, 1.7), "bernoulli": (0.3,), "randint": (-5, 1000)}
        out = np.empty(x.shape, np.int64 if kernel in ("randint", "permutation") else dtype)
        getattr(_cpu, kernel)(ticket, out, *scalars.get(kernel, ()))
        return out

    for dtype in DTYPES:
        _cpu.set_isa("baseline")
        _cpu.set_thread_count(1)
        expected = run(dtype)
        _cpu.set_thread_count(threads)
        for isa in _cpu.available_isas():
            _cpu.set_isa(isa)
            assert_bitwise_equal(run(dtype), expected, f"{kernel} on {isa} with {threads} threads")


# ---- distributions (fixed seeds: a failure is a change, not bad luck)


@each_dtype
def test_uniform_and_normal_draws_have_their_moments(dtype: type, backend: Backend) -> None:
    size = 1 << 18
    uniform = draw(backend, "uniform", size, 0.0, 1.0, dtype=dtype).astype(np.float64)
    normal = draw(backend, "normal", size, 0.0, 1.0, dtype=dtype).astype(np.float64)
    error = 5 / math.sqrt(size)
    for order, moment in enumerate([1 / 2, 1 / 3, 1 / 4], start=1):
        assert abs((uniform**order).mean() - moment) < error
    for order, moment, deviation in [(1, 0, 1), (2, 1, math.sqrt(2)), (3, 0, math.sqrt(15)), (4, 3, math.sqrt(96))]:
        assert abs((normal**order).mean() - moment) < error * deviation
    for lag in (1, 2, 15, 16, 17, 32, 64):  # 16 and 32 pair the words of one block
        assert abs((normal[:-lag] * normal[lag:]).mean()) < error
        assert abs((normal[:-lag] ** 2 * normal[lag:] ** 2).mean() - 1) < error * math.sqrt(8)


@each_dtype
def test_normal_draws_pass_a_kolmogorov_smirnov_test(dtype: type, backend: Backend) -> None:
    size = 20000
    values = np.sort(draw(backend, "normal", size, 0.0, 1.0, dtype=dtype).astype(np.float64))
    cumulative = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in values])
    assert np.abs(cumulative - (np.arange(size) + 0.5) / size).max() < 1.95 / math.sqrt(size)  # p = 0.001


def test_randint_is_uniform(backend: Backend) -> None:
    counts = np.bincount(draw(backend, "randint", 70000, 0, 7), minlength=7)
    assert ((counts - 10000) ** 2 / 10000).sum() < 22.5  # chi-squared, 6 degrees of freedom, p = 0.001


def test_randperm_of_each_size_is_a_permutation(backend: Backend) -> None:
    for size in [*range(70), 97, 256, 1009, 4096, 65536, 65537]:
        drawn = draw(backend, "permutation", size)
        assert_bitwise_equal(np.sort(drawn), np.arange(size), f"size {size}")


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_every_order_of_a_few_is_equally_likely(size: int) -> None:
    orders = {order: i for i, order in enumerate(permutations(range(size)))}
    trials = 100 * len(orders)
    counts = np.zeros(len(orders))
    out = np.empty(size, np.int64)
    for call in range(trials):
        _cpu.permutation(np.array([1, call], np.int64), out)
        counts[orders[tuple(out.tolist())]] += 1
    degrees = len(orders) - 1
    chi_squared = ((counts - 100) ** 2 / 100).sum()
    assert abs(chi_squared - degrees) < 4 * math.sqrt(2 * degrees)


@pytest.mark.parametrize("size", [9, 10, 100, 1000])
def test_long_permutations_look_random(size: int) -> None:
    trials = 2000
    out = np.empty(size, np.int64)
    fixed = neighbours = odd = 0
    first = np.zeros(size)
    for call in range(trials):
        _cpu.permutation(np.array([2, call], np.int64), out)
        fixed += int((out == np.arange(size)).sum())
        neighbours += int((np.diff(out) == 1).sum())
        first[out[0]] += 1
        if size <= 10:
            odd += sum(a > b for i, a in enumerate(out.tolist()) for b in out.tolist()[i + 1 :]) % 2
    bound = 4 * math.sqrt(trials)  # both counts are close to Poisson with mean 1 per trial
    assert abs(fixed - trials) < bound
    assert abs(neighbours - trials * (size - 1) / size) < bound
    assert ((first - trials / size) ** 2 / (trials / size)).sum() < size + 4 * math.sqrt(2 * size)
    if size <= 10:
        assert abs(odd - trials / 2) < bound / 2


# ---- the generator


def test_tickets_count_the_calls(backend: Backend) -> None:
    generator = Generator().manual_seed(5)
    assert [generator.ticket(backend).tolist() for _ in range(3)] == [[5, 0], [5, 1], [5, 2]]
    assert generator.get_state() == {"seed": 5, "calls": {"cpu": 3}}


def test_manual_seed_repeats_the_numbers() -> None:
    def numbers() -> list[float]:
        return [*minidl.rand(5).tolist(), *minidl.randn(5).tolist(), *minidl.randperm(5).tolist()]

    minidl.manual_seed(3)
    first = numbers()
    second = numbers()
    assert minidl.manual_seed(3) is minidl.default_generator
    assert numbers() == first != second
    assert minidl.initial_seed() == 3


def test_state_continues_the_sequence() -> None:
    generator = Generator().manual_seed(-1)
    assert generator.initial_seed() == 2**64 - 1
    minidl.rand(3, generator=generator)
    state = generator.get_state()
    expected = minidl.randn(7, generator=generator)
    for other in (Generator().set_state(state), copy.deepcopy(generator.set_state(state))):
        assert minidl.equal(minidl.randn(7, generator=other), expected)
    minidl.set_rng_state(state)
    assert minidl.equal(minidl.randn(7), expected)
    assert minidl.get_rng_state() == {"seed": 2**64 - 1, "calls": {"cpu": 2}}


def test_seed_draws_a_seed() -> None:
    seeds = {Generator().seed() for _ in range(3)}
    assert len(seeds) == 3
    assert minidl.seed() == minidl.initial_seed()


def test_generator_refuses_what_is_no_seed_or_state() -> None:
    with pytest.raises(ValueError, match=r"manual_seed: seed must lie in .*, got 18446744073709551616"):
        minidl.manual_seed(2**64)
    with pytest.raises(TypeError, match="set_state: state must be what get_state"):
        Generator().set_state({"seed": 1})


# ---- tensors


def test_shapes_dtypes_and_generators_of_new_tensors() -> None:
    for function in (minidl.rand, minidl.randn):
        assert function(2, 3).shape == (2, 3)
        assert function((4,)).dtype is minidl.float32
        assert function(()).shape == ()
        assert function(0, 5).numel() == 0
        assert function(3, dtype=minidl.float64).dtype is minidl.float64
        assert function(3, requires_grad=True).requires_grad
        same = [function(9, generator=Generator().manual_seed(4)) for _ in range(2)]
        assert minidl.equal(*same)


def test_like_functions_take_shape_and_dtype() -> None:
    x = minidl.zeros(2, 3, dtype=minidl.float64)
    for like in (minidl.rand_like(x), minidl.randn_like(x), ops.randint_like(x, 5)):
        assert like.shape == (2, 3)
        assert like.dtype is minidl.float64
    assert minidl.rand_like(x, dtype=minidl.float32).dtype is minidl.float32
    assert set(ops.randint_like(minidl.zeros(100), 3, 5).tolist()) == {3, 4}


def test_randint_takes_its_arguments_as_pytorch_does() -> None:
    assert minidl.randint(5, (2, 3)).shape == (2, 3)
    assert minidl.randint(3, 5, (100,)).dtype is minidl.int64
    assert set(minidl.randint(3, 5, (100,)).tolist()) == {3, 4}
    assert minidl.randint(high=4, size=(7,)).shape == (7,)
    assert minidl.randint(0, 2, (3,), dtype=minidl.float32).dtype is minidl.float32
    with pytest.raises(ValueError, match="randint: low must be below high, got 3 and 3"):
        minidl.randint(3, 3, (1,))
    with pytest.raises(TypeError, match="randint: high and size are needed"):
        minidl.randint(3)


def test_randperm_takes_a_dtype_and_refuses_negative_sizes() -> None:
    assert minidl.randperm(5, dtype=minidl.int32).dtype is minidl.int32
    assert minidl.randperm(0).shape == (0,)
    with pytest.raises(ValueError, match="whole numbers >= 0"):
        minidl.randperm(-1)


def test_bernoulli_of_probabilities() -> None:
    probs = minidl.tensor([0.0, 1.0, 0.25]).expand(40000, 3).clone()
    drawn = minidl.bernoulli(probs)
    zeros, ones, quarter = (float(v) for v in drawn.array.mean(axis=0))
    assert (zeros, ones) == (0.0, 1.0)
    assert abs(quarter - 0.25) < 0.01
    assert set(minidl.bernoulli(minidl.zeros(100), 0.5).tolist()) == {0.0, 1.0}
    assert minidl.zeros(3).bernoulli_(minidl.ones(3)).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="probabilities must lie between 0 and 1"):
        minidl.bernoulli(minidl.tensor([1.5]))
    with pytest.raises(ValueError, match="bernoulli: p must lie between 0 and 1, got nan"):
        minidl.zeros(3).bernoulli_(math.nan)


def test_normal_takes_numbers_and_tensors() -> None:
    assert minidl.normal(1.0, 0.0, (2, 2)).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    means = minidl.tensor([[10.0], [20.0]])
    deviations = minidl.tensor([0.0, 1.0, 2.0])
    drawn = minidl.normal(means, deviations)
    assert drawn.shape == (2, 3)
    assert drawn.array[:, 0].tolist() == [10.0, 20.0]
    assert minidl.normal(means).shape == (2, 1)
    assert minidl.normal(0.0, deviations).shape == (3,)
    with pytest.raises(ValueError, match="normal: std must be at least 0, got -1"):
        minidl.normal(0.0, -1.0, (2,))
    with pytest.raises(TypeError, match="size is needed"):
        minidl.normal(0.0, 1.0)


def test_in_place_draws_equal_the_new_ones(backend: Backend) -> None:
    def generator() -> Generator:
        return Generator().manual_seed(1)

    x = minidl.zeros(6, 5)
    assert x.uniform_(generator=generator()) is x
    assert minidl.equal(x, minidl.rand(6, 5, generator=generator()))
    transposed = minidl.zeros(5, 6).t()
    transposed.normal_(generator=generator())
    assert not transposed.is_contiguous()
    assert minidl.equal(transposed, minidl.randn(6, 5, generator=generator()))
    part = minidl.zeros(4, 5)
    part[1:3].uniform_(1.0, 2.0)
    assert part.array[[0, 3]].tolist() == [[0.0] * 5] * 2
    assert (part.array[1:3] >= 1).all()


def test_in_place_draws_respect_autograd() -> None:
    leaf = minidl.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf that requires a gradient"):
        leaf.normal_()
    with minidl.no_grad():
        leaf.normal_()
    y = minidl.exp(leaf)
    loss = (y * y).sum()
    with minidl.no_grad():
        y.uniform_()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_recorded_tensor_that_is_drawn_anew_has_no_gradient() -> None:
    x = minidl.ones(3, requires_grad=True)
    y = x * 2
    y.normal_()
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_in_place_draws_refuse_bad_arguments() -> None:
    x = minidl.zeros(3)
    with pytest.raises(ValueError, match="uniform_: a must not exceed b, got 2 and 1"):
        x.uniform_(2, 1)
    with pytest.raises(ValueError, match=r"uniform_: a, b and b - a must be finite in minidl.float32"):
        x.uniform_(-3e38, 3e38)
    with pytest.raises(ValueError, match="normal: std must be at least 0"):
        x.normal_(0, -1)
    with pytest.raises(TypeError, match="normal_: the tensor must be float32 or float64, got"):
        minidl.zeros(3, dtype=minidl.int64).normal_()


# ---- dropout


@pytest.mark.parametrize("p", [1e-3, 0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_exactly(p: float) -> None:
    kept = round((1 - p) * 65536)
    # Over all values of 16 bits, kept of 65536 elements survive, times 65536 / kept.
    factors = dropout_factors(1, 2, 1 << 16, p)
    assert set(factors) <= {0.0, 65536 / kept}
    x = minidl.ones(1 << 18, dtype=minidl.float64)
    mean = float(ops.dropout(x, p).mean())
    assert abs(mean - 1) < 5 * math.sqrt(p / (1 - p) / (1 << 18))


def test_dropout_is_the_identity_in_evaluation_and_for_p_0() -> None:
    x = minidl.ones(5)
    assert ops.dropout(x, 0.5, training=False) is x
    assert ops.dropout(x, 0.0) is x


def test_dropout_of_everything_gives_zeros(backend: Backend) -> None:
    x = minidl.ones(300, requires_grad=True)
    out = ops.dropout(x, 1.0)
    out.sum().backward()
    assert x.grad is not None
    assert set(out.tolist()) == set(x.grad.tolist()) == {0.0}
    nearly = ops.dropout(minidl.ones(1000), 1 - 1e-9)
    assert set(nearly.tolist()) <= {0.0, 65536.0}


def test_dropout_masks_the_gradient_as_it_masked_the_input(backend: Backend) -> None:
    x = minidl.ones(3, 259, requires_grad=True)
    out = ops.dropout(x, 0.4)
    minidl.rand(3)  # another ticket in between
    out.backward(minidl.ones(3, 259))
    assert x.grad is not None
    assert_bitwise_equal(x.grad.array, out.array, "gradient")
    again = ops.dropout(x, 0.4)
    assert not minidl.equal(again, out)


def test_dropout_is_linear_so_its_second_derivative_is_that_of_what_follows() -> None:
    x = minidl.ones(64, dtype=minidl.float64, requires_grad=True)
    out = ops.dropout(x, 0.5)
    (first,) = minidl.autograd.grad((out**3).sum(), x, create_graph=True)
    assert first is not None
    (second,) = minidl.autograd.grad(first.sum(), x)
    assert second is not None
    np.testing.assert_allclose(second.array, 6 * out.detach().array * out.detach().array ** 2)


def test_dropout_refuses_bad_arguments() -> None:
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="dropout: p must lie between 0 and 1"):
            ops.dropout(minidl.ones(3), p)
    with pytest.raises(TypeError, match="dropout: input must be float32 or float64"):
        ops.dropout(minidl.ones(3, dtype=minidl.int64))


def test_random_kernels_refuse_wrong_arrays() -> None:
    ticket = np.zeros(2, np.int64)
    with pytest.raises(TypeError, match="uniform"):
        _cpu.uniform(ticket, np.empty(3, np.int64), 0.0, 1.0)
    with pytest.raises(TypeError, match="ticket must be int64"):
        _cpu.normal(np.zeros(2), np.empty(3), 0.0, 1.0)
    with pytest.raises(ValueError, match="ticket must have 2 elements"):
        _cpu.random_bits(np.zeros(3, np.int64), np.empty(3, np.int64))
    with pytest.raises(ValueError, match="C-contiguous"):
        _cpu.permutation(ticket, np.empty(6, np.int64)[::2])
