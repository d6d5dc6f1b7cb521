"""nn.init: every filler's distribution, by its moments and bounds, and what it refuses."""

import math

import numpy as np
import pytest

import minidl
from minidl import nn

ROWS, COLUMNS = 300, 200


def filled(fill, *args, shape=(ROWS, COLUMNS), **kwargs):
    tensor = nn.Parameter(minidl.zeros(*shape))
    assert fill(tensor, *args, **kwargs) is tensor
    assert tensor.requires_grad
    assert tensor.is_leaf
    return tensor.detach().numpy().astype(np.float64)


def assert_moments(values, mean, std):
    """Within five standard errors, which a correct generator leaves once in two million runs; the seed is fixed."""
    count = values.size
    kurtosis = np.mean((values - mean) ** 4) / std**4
    assert abs(values.mean() - mean) < 5 * std / math.sqrt(count)
    assert abs(values.var() / std**2 - 1) < 5 * math.sqrt((kurtosis - 1) / count)


def assert_uniform(values, bound):
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.999 * bound
    assert_moments(values, 0, bound / math.sqrt(3))


def assert_normal(values, std):
    assert_moments(values, 0, std)
    # Two thirds within one standard deviation: neither uniform nor two-valued.
    assert abs((np.abs(values) < std).mean() - 0.6827) < 0.01


@pytest.mark.parametrize(
    ("nonlinearity", "param", "gain"),
    [
        ("linear", None, 1),
        ("conv2d", None, 1),
        ("conv_transpose1d", None, 1),
        ("sigmoid", None, 1),
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("leaky_relu", None, math.sqrt(2 / 1.0001)),
        ("leaky_relu", 0.5, math.sqrt(1.6)),
        ("selu", None, 0.75),
    ],
)
def test_gain_of_each_nonlinearity(nonlinearity, param, gain):
    assert nn.init.calculate_gain(nonlinearity, param) == pytest.approx(gain, rel=1e-15)


def test_gain_refuses_unknown_nonlinearities_and_slopes():
    with pytest.raises(ValueError, match=r"Unsupported nonlinearity swish; valid: .*relu"):
        nn.init.calculate_gain("swish")
    with pytest.raises(ValueError, match="negative_slope a not a valid number"):
        nn.init.calculate_gain("leaky_relu", "a")
    with pytest.raises(ValueError, match="negative_slope True not a valid number"):
        nn.init.calculate_gain("leaky_relu", True)


def test_uniform_and_normal_have_the_bounds_and_moments_asked_for():
    values = filled(nn.init.uniform_, 2.0, 4.0)
    assert values.min() >= 2
    assert values.max() < 4
    assert_uniform(values - 3, 1)
    assert_normal(filled(nn.init.normal_, 3.0, 0.5) - 3, 0.5)


def test_constants():
    assert (filled(nn.init.constant_, 2.5) == 2.5).all()
    assert (filled(nn.init.ones_) == 1).all()
    assert (filled(nn.init.zeros_) == 0).all()
    np.testing.assert_array_equal(filled(nn.init.eye_, shape=(3, 5)), np.eye(3, 5))


def test_truncated_normal_is_cut_and_keeps_its_shape():
    values = filled(nn.init.trunc_normal_, 0.0, 1.0, -2.0, 2.0)
    assert np.abs(values).max() <= 2
    # The variance of a standard normal cut at two: 1 - 2 * 2 * phi(2) / (2 Phi(2) - 1).
    assert_moments(values, 0, math.sqrt(0.7737413))


def test_truncated_normal_reaches_far_into_a_tail():
    values = filled(nn.init.trunc_normal_, 9.0, 1.0, -2.0, 2.0, shape=(500,))
    assert values.max() <= 2
    # Far out the tail is close to exponential with rate 7, the distance of the cut from the mean.
    assert 1.8 < values.mean() < 1.9


def test_truncated_normal_refuses_an_empty_interval_and_no_spread():
    for a, b, std in ((1.0, -1.0, 1.0), (-1.0, 1.0, 0.0)):
        with pytest.raises(ValueError, match="trunc_normal_: a must not exceed b and std must be positive"):
            nn.init.trunc_normal_(minidl.zeros(3), 0.0, std, a, b)


def test_xavier_scales_with_both_fans():
    assert_uniform(filled(nn.init.xavier_uniform_, 2.0), 2 * math.sqrt(6 / (ROWS + COLUMNS)))
    assert_normal(filled(nn.init.xavier_normal_, 2.0), 2 * math.sqrt(2 / (ROWS + COLUMNS)))


def test_kaiming_scales_with_one_fan_and_the_gain():
    assert_uniform(filled(nn.init.kaiming_uniform_, a=math.sqrt(5)), 1 / math.sqrt(COLUMNS))
    assert_uniform(filled(nn.init.kaiming_uniform_, mode="fan_out", nonlinearity="relu"), math.sqrt(6 / ROWS))
    assert_normal(filled(nn.init.kaiming_normal_), math.sqrt(2 / COLUMNS))
    assert_normal(filled(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="tanh"), 5 / 3 / math.sqrt(ROWS))


def test_fans_of_convolution_kernels_count_every_tap():
    shape = (64, 32, 3, 5)
    assert_uniform(filled(nn.init.kaiming_uniform_, nonlinearity="relu", shape=shape), math.sqrt(6 / (32 * 15)))
    assert_uniform(filled(nn.init.xavier_uniform_, shape=shape), math.sqrt(6 / (96 * 15)))


@pytest.mark.parametrize("shape", [(7, 7), (13, 5), (5, 13), (6, 2, 3), (1, 1)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    matrix = filled(nn.init.orthogonal_, 2.0, shape=shape).reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    # Float32 entries of a matrix of norm 2: a few roundings of 6e-8 each.
    np.testing.assert_allclose(product, 4 * np.eye(min(matrix.shape)), atol=2e-6)


def test_orthogonal_draws_both_orientations():
    signs = {np.sign(filled(nn.init.orthogonal_, shape=(1, 1))[0, 0]) for _ in range(30)}
    assert signs == {-1.0, 1.0}


def test_sparse_zeroes_the_same_share_of_every_column():
    values = filled(nn.init.sparse_, 0.25, 0.5)
    assert ((values == 0).sum(0) == math.ceil(0.25 * ROWS)).all()
    assert_normal(values[values != 0], 0.5)
    assert len({tuple(column) for column in (values == 0).T}) == COLUMNS


@pytest.mark.parametrize("fill", [nn.init.xavier_uniform_, nn.init.xavier_normal_, nn.init.kaiming_uniform_])
def test_fans_need_two_dimensions(fill):
    with pytest.raises(ValueError, match=r"fan in and fan out need at least 2 dimensions, got shape \(3,\)"):
        fill(minidl.zeros(3))


def test_fillers_refuse_shapes_and_options_they_do_not_know():
    with pytest.raises(ValueError, match=r"eye_: only tensors with 2 dimensions are supported, got shape \(3,\)"):
        nn.init.eye_(minidl.zeros(3))
    with pytest.raises(ValueError, match=r"sparse_: only tensors with 2 dimensions"):
        nn.init.sparse_(minidl.zeros(3), 0.1)
    with pytest.raises(ValueError, match=r"sparse_: sparsity must lie between 0 and 1, got 1.5"):
        nn.init.sparse_(minidl.zeros(3, 3), 1.5)
    with pytest.raises(ValueError, match=r"orthogonal_: only tensors with 2 or more dimensions"):
        nn.init.orthogonal_(minidl.zeros(3))
    with pytest.raises(ValueError, match=r"kaiming_normal_: mode must be 'fan_in' or 'fan_out', got 'fan'"):
        nn.init.kaiming_normal_(minidl.zeros(3, 3), mode="fan")


def test_every_filler_takes_empty_tensors_and_float64():
    for fill in (
        nn.init.uniform_,
        nn.init.normal_,
        nn.init.trunc_normal_,
        nn.init.ones_,
        nn.init.eye_,
        nn.init.xavier_uniform_,
        nn.init.kaiming_normal_,
        nn.init.orthogonal_,
    ):
        assert fill(minidl.empty(0, 3)).shape == (0, 3)
        assert fill(minidl.empty(2, 3, dtype=minidl.float64)).dtype == minidl.float64


@pytest.mark.parametrize(
    "fill",
    [
        nn.init.uniform_,
        nn.init.normal_,
        nn.init.trunc_normal_,
        nn.init.xavier_normal_,
        nn.init.kaiming_uniform_,
        nn.init.orthogonal_,
        lambda tensor, **kwargs: nn.init.sparse_(tensor, 0.5, **kwargs),
    ],
)
def test_the_same_seed_gives_the_same_values(fill):
    def draw():
        generator = minidl.Generator()
        generator.manual_seed(7)
        return fill(minidl.empty(5, 4), generator=generator).tolist()

    first = draw()
    assert draw() == first
    minidl.manual_seed(1)
    other = fill(minidl.empty(5, 4)).tolist()
    assert other != first
    minidl.manual_seed(1)
    assert fill(minidl.empty(5, 4)).tolist() == other
