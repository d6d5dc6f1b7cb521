"""Layers: their text, their state, how they start, what they compute, and what they refuse."""

import math
import warnings

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tensor(*shape, seed=0, requires_grad=False):
    return minidl.tensor(array(*shape, seed=seed), requires_grad=requires_grad)


# ---- text and state

WEIGHT_AND_BIAS = ["weight", "bias"]
BATCH_NORM_STATE = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


@pytest.mark.parametrize(
    ("layer", "text", "keys"),
    [
        (nn.Identity(), "Identity()", []),
        (nn.Flatten(), "Flatten(start_dim=1, end_dim=-1)", []),
        (nn.Unflatten(1, (2, 3)), "Unflatten(dim=1, unflattened_size=(2, 3))", []),
        (nn.Linear(3, 4), "Linear(in_features=3, out_features=4, bias=True)", WEIGHT_AND_BIAS),
        (nn.Linear(3, 4, bias=False), "Linear(in_features=3, out_features=4, bias=False)", ["weight"]),
        (
            nn.Bilinear(2, 3, 4),
            "Bilinear(in1_features=2, in2_features=3, out_features=4, bias=True)",
            WEIGHT_AND_BIAS,
        ),
        (nn.ReLU(), "ReLU()", []),
        (nn.ReLU(inplace=True), "ReLU(inplace=True)", []),
        (nn.LeakyReLU(), "LeakyReLU(negative_slope=0.01)", []),
        (nn.LeakyReLU(0.2, True), "LeakyReLU(negative_slope=0.2, inplace=True)", []),
        (nn.PReLU(), "PReLU(num_parameters=1)", ["weight"]),
        (nn.ELU(2.0, True), "ELU(alpha=2.0, inplace=True)", []),
        (nn.SELU(True), "SELU(inplace=True)", []),
        (nn.CELU(), "CELU(alpha=1.0)", []),
        (nn.GELU(), "GELU(approximate='none')", []),
        (nn.GELU("tanh"), "GELU(approximate='tanh')", []),
        (nn.SiLU(), "SiLU()", []),
        (nn.SiLU(True), "SiLU(inplace=True)", []),
        (nn.Mish(), "Mish()", []),
        (nn.Softplus(), "Softplus(beta=1.0, threshold=20.0)", []),
        (nn.Softplus(2, 10), "Softplus(beta=2, threshold=10)", []),
        (nn.Softsign(), "Softsign()", []),
        (nn.LogSigmoid(), "LogSigmoid()", []),
        (nn.Sigmoid(), "Sigmoid()", []),
        (nn.Tanh(), "Tanh()", []),
        (nn.Hardtanh(), "Hardtanh(min_val=-1.0, max_val=1.0)", []),
        (nn.Hardtanh(-2, 2, True), "Hardtanh(min_val=-2, max_val=2, inplace=True)", []),
        (nn.Softmax(), "Softmax(dim=None)", []),
        (nn.LogSoftmax(dim=-1), "LogSoftmax(dim=-1)", []),
        (nn.Dropout(), "Dropout(p=0.5, inplace=False)", []),
        (
            nn.BatchNorm1d(5),
            "BatchNorm1d(5, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)",
            BATCH_NORM_STATE,
        ),
        (
            nn.BatchNorm1d(5, momentum=None, affine=False),
            "BatchNorm1d(5, eps=1e-05, momentum=None, affine=False, bias=False, track_running_stats=True)",
            BATCH_NORM_STATE[2:],
        ),
        (
            nn.BatchNorm1d(5, track_running_stats=False),
            "BatchNorm1d(5, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=False)",
            WEIGHT_AND_BIAS,
        ),
        (nn.LayerNorm(5), "LayerNorm((5,), eps=1e-05, elementwise_affine=True, bias=True)", WEIGHT_AND_BIAS),
        (nn.LayerNorm(5, bias=False), "LayerNorm((5,), eps=1e-05, elementwise_affine=True, bias=False)", ["weight"]),
        (
            nn.LayerNorm((2, 3), elementwise_affine=False),
            "LayerNorm((2, 3), eps=1e-05, elementwise_affine=False, bias=False)",
            [],
        ),
        (nn.CrossEntropyLoss(), "CrossEntropyLoss()", []),
        (nn.CrossEntropyLoss(weight=minidl.ones(3)), "CrossEntropyLoss()", ["weight"]),
        (nn.NLLLoss(), "NLLLoss()", []),
        (nn.MSELoss(), "MSELoss()", []),
        (nn.L1Loss(), "L1Loss()", []),
        (nn.SmoothL1Loss(), "SmoothL1Loss()", []),
        (nn.HuberLoss(), "HuberLoss()", []),
        (nn.BCELoss(), "BCELoss()", []),
        (nn.BCEWithLogitsLoss(), "BCEWithLogitsLoss()", []),
        (nn.KLDivLoss(), "KLDivLoss()", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_text_and_state_keys_are_pytorchs(layer, text, keys):
    assert repr(layer) == text
    assert list(layer.state_dict()) == keys


# ---- Linear, Bilinear, Identity, shapes


def test_linear_multiplies_by_the_transposed_weight_and_adds_the_bias():
    layer = nn.Linear(5, 3)
    x = array(4, 2, 5)
    expected = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(minidl.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert nn.Linear(5, 3, bias=False).bias is None
    assert nn.Linear(5, 3, dtype=minidl.float64).weight.dtype == minidl.float64


def test_linear_starts_uniform_within_one_over_the_root_of_its_inputs():
    layer = nn.Linear(400, 300)
    for parameter in (layer.weight, layer.bias):
        values = parameter.detach().numpy()
        assert np.abs(values).max() <= 1 / 20
        assert abs(values.std() * 20 * math.sqrt(3) - 1) < 0.1
    before = layer.weight.detach().numpy().copy()
    layer.reset_parameters()
    assert (layer.weight.detach().numpy() != before).any()


def test_linear_names_itself_and_the_fix_where_the_columns_do_not_fit():
    layer = nn.Linear(784, 256)
    with pytest.raises(ValueError, match="columns") as caught:
        layer(minidl.zeros(64, 28, 28))
    assert str(caught.value) == (
        "Linear(784, 256): input must have 784 columns, got shape (64, 28, 28); flatten it first (nn.Flatten())"
    )
    with pytest.raises(ValueError, match=r"^Linear\(784, 256\): input must have 784 columns, got shape \(64, 783\)$"):
        layer(minidl.zeros(64, 783))


def test_linear_without_inputs_gives_its_bias():
    layer = nn.Linear(0, 2)
    assert layer(minidl.zeros(3, 0)).shape == (3, 2)


def test_bilinear_sums_over_both_inputs():
    layer = nn.Bilinear(3, 4, 5)
    a, b = array(2, 6, 3), array(2, 6, 4, seed=1)
    expected = np.einsum("...i,kij,...j->...k", a, layer.weight.detach().numpy(), b) + layer.bias.detach().numpy()
    out = layer(minidl.tensor(a), minidl.tensor(b))
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(layer.weight.detach().numpy()).max() <= 1 / math.sqrt(3)
    with pytest.raises(ValueError, match=r"bilinear: inputs must have the shapes \(\*, 3\) and \(\*, 4\)"):
        layer(minidl.zeros(2, 3), minidl.zeros(2, 5))
    with pytest.raises(ValueError, match="in1_features must be > 0"):
        nn.Bilinear(0, 1, 1)


def test_bilinear_has_gradients_for_all_it_takes():
    layer = nn.Bilinear(3, 2, 4, dtype=minidl.float64)
    a = minidl.tensor(array(5, 3).astype(np.float64), requires_grad=True)
    b = minidl.tensor(array(5, 2, seed=1).astype(np.float64), requires_grad=True)
    assert minidl.autograd.gradcheck(F.bilinear, (a, b, layer.weight, layer.bias))


def test_flatten_and_unflatten_undo_each_other():
    x = tensor(2, 3, 4, 5)
    flat = nn.Flatten()(x)
    assert flat.shape == (2, 60)
    assert nn.Flatten(0, 1)(x).shape == (6, 4, 5)
    np.testing.assert_array_equal(nn.Unflatten(1, (3, 4, 5))(flat).numpy(), x.numpy())
    assert nn.Unflatten(-1, [3, -1])(flat).shape == (2, 3, 20)
    with pytest.raises(TypeError, match="Unflatten: unflattened_size must be a tuple of ints, got 3"):
        nn.Unflatten(1, 3)
    with pytest.raises(IndexError, match="input must have the dimension 2"):
        nn.Unflatten(2, (1, 1))(flat)


def test_identity_returns_its_input_itself():
    x = tensor(2)
    assert nn.Identity(3, a=4)(x) is x


# ---- activations: the formula in NumPy float64; the ops' own tests judge them to the last digit


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = [
    (nn.ReLU(), F.relu, lambda x: np.maximum(x, 0)),
    (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    (nn.PReLU(init=0.3), lambda x: F.prelu(x, minidl.tensor([0.3])), lambda x: np.where(x > 0, x, 0.3 * x)),
    (nn.ELU(1.5), lambda x: F.elu(x, 1.5), lambda x: np.where(x > 0, x, 1.5 * np.expm1(x))),
    (nn.SELU(), F.selu, lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    (nn.CELU(0.5), lambda x: F.celu(x, 0.5), lambda x: np.where(x > 0, x, 0.5 * np.expm1(x / 0.5))),
    (nn.GELU(), F.gelu, lambda x: x * np.vectorize(lambda t: 0.5 * math.erfc(-t / math.sqrt(2)))(x)),
    (
        nn.GELU("tanh"),
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    (nn.SiLU(), F.silu, lambda x: x * sigmoid(x)),
    (nn.Mish(), F.mish, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    (nn.Softplus(2.0), lambda x: F.softplus(x, 2.0), lambda x: np.log1p(np.exp(2 * x)) / 2),
    (nn.Softsign(), F.softsign, lambda x: x / (1 + np.abs(x))),
    (nn.LogSigmoid(), F.logsigmoid, lambda x: -np.log1p(np.exp(-x))),
    (nn.Sigmoid(), F.sigmoid, sigmoid),
    (nn.Tanh(), F.tanh, np.tanh),
    (nn.Hardtanh(-0.5, 0.8), lambda x: F.hardtanh(x, -0.5, 0.8), lambda x: np.clip(x, -0.5, 0.8)),
    (nn.Softmax(1), lambda x: F.softmax(x, dim=1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    (nn.LogSoftmax(1), lambda x: F.log_softmax(x, dim=1), lambda x: x - np.log(np.exp(x).sum(1, keepdims=True))),
]


@pytest.mark.parametrize(("layer", "function", "reference"), ACTIVATIONS, ids=lambda value: type(value).__name__)
def test_activation_layer_and_function_compute_the_formula(layer, function, reference):
    x = array(7, 5)
    out = layer(minidl.tensor(x)).detach().numpy()
    # Values near 1 after a handful of float32 roundings.
    np.testing.assert_allclose(out, reference(x.astype(np.float64)), rtol=3e-6, atol=3e-7)
    np.testing.assert_array_equal(function(minidl.tensor(x)).detach().numpy(), out)


INPLACE = [nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.Mish, nn.Hardtanh, nn.Dropout]


@pytest.mark.parametrize("kind", INPLACE)
def test_inplace_overwrites_the_input_and_keeps_the_gradient(kind):
    leaf = tensor(6, 5, requires_grad=True)
    before = leaf * 2
    minidl.manual_seed(3)
    out = kind(inplace=True)(before)
    out.sum().backward()
    assert out is before
    other = tensor(6, 5, requires_grad=True)
    minidl.manual_seed(3)
    plain = kind()(other * 2)
    plain.sum().backward()
    np.testing.assert_array_equal(out.detach().numpy(), plain.detach().numpy())
    np.testing.assert_array_equal(leaf.grad.numpy(), other.grad.numpy())


@pytest.mark.parametrize("layer", [nn.Linear(4, 4), nn.BatchNorm1d(3), nn.LayerNorm(4), nn.Dropout(), nn.PReLU()])
def test_inplace_activations_may_follow_any_layer(layer):
    out = nn.Sequential(layer, nn.ReLU(inplace=True))(tensor(2, 3, 4, requires_grad=True))
    out.sum().backward()
    assert out.min().item() >= 0


def test_inplace_refuses_a_leaf_that_requires_grad():
    with pytest.raises(RuntimeError, match="a leaf"):
        F.relu_(tensor(3, requires_grad=True))


def test_prelu_has_one_weight_per_channel():
    layer = nn.PReLU(3, init=0.5)
    x = tensor(4, 3, 2)
    layer(x).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.minimum(x.numpy(), 0).sum((0, 2)), rtol=1e-5)
    with pytest.raises(ValueError, match="prelu"):
        layer(tensor(4, 2))


def test_softmax_without_dim_guesses_and_warns():
    for shape, dim in (((3,), 0), ((2, 3), 1), ((2, 3, 4), 0)):
        with pytest.warns(UserWarning, match=f"softmax: dim should be given; .* dim={dim} is taken"):
            out = F.softmax(tensor(*shape))
        np.testing.assert_allclose(out.numpy().sum(dim), 1, rtol=1e-6)
    assert F.log_softmax(tensor(3), dim=0, dtype=minidl.float64).dtype == minidl.float64
    with pytest.raises(IndexError):
        nn.Softmax(dim=1)(tensor(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.GELU("exact"), "GELU: approximate must be 'none' or 'tanh', got 'exact'"),
        (lambda: nn.Hardtanh(1, -1), "Hardtanh: max_val must be greater than min_val, got -1 and 1"),
        (lambda: nn.CELU(0.0), "CELU: alpha must not be 0"),
        (lambda: nn.Dropout(1.2), "Dropout: p must be a probability between 0 and 1, got 1.2"),
        (lambda: nn.Dropout(-0.1), "Dropout: p must be a probability between 0 and 1, got -0.1"),
        (
            lambda: nn.MSELoss(reduction="average"),
            r"MSELoss: reduction must be one of \('mean', 'sum', 'none'\), got",
        ),
        (lambda: nn.CrossEntropyLoss(reduction="batchmean"), "CrossEntropyLoss: reduction must be one of"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=1.5), "label_smoothing must lie between 0 and 1, got 1.5"),
        (lambda: nn.SmoothL1Loss(beta=-1.0), "SmoothL1Loss: beta must not be negative, got -1.0"),
        (lambda: nn.HuberLoss(delta=0.0), "HuberLoss: delta must be positive, got 0.0"),
    ],
)
def test_layers_refuse_bad_options_when_they_are_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- dropout


def test_dropout_scales_what_it_keeps_while_training_only():
    layer = nn.Dropout(0.25)
    out = layer(minidl.ones(200, 100)).numpy()
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((out == 0).mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 20000)
    x = tensor(3)
    assert layer.eval()(x) is x


def test_dropout_draws_a_new_mask_each_time_and_the_same_for_the_same_seed():
    layer, x = nn.Dropout(), minidl.ones(64)
    first, second = layer(x).tolist(), layer(x).tolist()
    assert first != second
    minidl.manual_seed(0)
    assert layer(x).tolist() == first


def test_dropout_at_its_ends_keeps_all_or_nothing():
    x = tensor(10)
    np.testing.assert_array_equal(nn.Dropout(0.0)(x).numpy(), x.numpy())
    np.testing.assert_array_equal(nn.Dropout(1.0)(x).numpy(), np.zeros(10))


# ---- normalization


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5)])
def test_batch_norm_normalizes_the_batch_and_moves_the_running_statistics(shape):
    layer = nn.BatchNorm1d(3)
    mean, var = np.zeros(3), np.ones(3)
    for step in range(1, 4):
        x = array(*shape, seed=step).astype(np.float64) * 3 + 1
        axes = (0, *range(2, len(shape)))
        channel = (1, 3, *(1,) * (len(shape) - 2))
        expected = (x - x.mean(axes).reshape(channel)) / np.sqrt(x.var(axes).reshape(channel) + 1e-5)
        out = layer(minidl.tensor(x.astype(np.float32)))
        np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
        mean = 0.9 * mean + 0.1 * x.mean(axes)
        var = 0.9 * var + 0.1 * x.var(axes, ddof=1)
        np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-5)
        assert layer.num_batches_tracked.item() == step
    layer.eval()
    expected = (x - mean.reshape(channel)) / np.sqrt(var.reshape(channel) + 1e-5)
    out = layer(minidl.tensor(x.astype(np.float32)))
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert layer.num_batches_tracked.item() == 3


def test_batch_norm_without_momentum_averages_all_batches():
    layer = nn.BatchNorm1d(2, momentum=None)
    batches = [array(8, 2, seed=seed) for seed in range(5)]
    for batch in batches:
        layer(minidl.tensor(batch))
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean([b.mean(0) for b in batches], 0), atol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), np.mean([b.var(0, ddof=1) for b in batches], 0), rtol=1e-5)


def test_batch_norm_without_running_statistics_always_uses_the_batch():
    layer = nn.BatchNorm1d(2, track_running_stats=False).eval()
    out = layer(tensor(50, 2)).detach().numpy()
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-6)
    assert layer.running_mean is None


def test_batch_norm_applies_and_trains_weight_and_bias():
    layer = nn.BatchNorm1d(2)
    layer.weight.data.fill_(2.0)
    layer.bias.data.fill_(3.0)
    out = layer(tensor(50, 2))
    np.testing.assert_allclose(out.detach().numpy().mean(0), 3, rtol=1e-5)
    np.testing.assert_allclose(out.detach().numpy().std(0), 2, rtol=1e-4)
    out.sum().backward()
    np.testing.assert_allclose(layer.bias.grad.numpy(), 50)
    layer.reset_parameters()
    assert layer.weight.tolist() == [1, 1]
    assert layer.running_var.tolist() == [1, 1]
    assert layer.num_batches_tracked.item() == 0
    assert nn.BatchNorm1d(2, bias=False).bias is None


def test_batch_norm_refuses_a_single_value_per_channel_while_training():
    layer = nn.BatchNorm1d(3)
    message = r"^BatchNorm1d\(3\): needs more than 1 value per channel when training, got input of shape \(1, 3\)"
    with pytest.raises(ValueError, match=message):
        layer(tensor(1, 3))
    assert layer.num_batches_tracked.item() == 0
    assert layer(tensor(1, 3, 2)).shape == (1, 3, 2)
    assert layer.eval()(tensor(1, 3)).shape == (1, 3)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 4, 5)])
def test_batch_norm_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"^BatchNorm1d\(3\): input must have shape \(N, 3\) or \(N, 3, L\), got"):
        nn.BatchNorm1d(3)(tensor(*shape))


def test_layer_norm_normalizes_the_last_dimensions():
    layer = nn.LayerNorm((3, 4))
    layer.weight.data.copy_(tensor(3, 4, seed=1))
    x = array(5, 3, 4).astype(np.float64)
    mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    expected = (x - mean) / np.sqrt(var + 1e-5) * layer.weight.detach().numpy()
    np.testing.assert_allclose(layer(tensor(5, 3, 4)).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="layer_norm"):
        layer(tensor(5, 4, 3))
    assert F.layer_norm(tensor(2, 3), [3]).shape == (2, 3)


# ---- losses

LOGITS, LABELS = array(6, 4), np.array([0, 3, 1, 1, 2, 0])
X, Y = array(3, 5), array(3, 5, seed=1)
PROBS, TARGET = sigmoid(X).astype(np.float32), (Y > 0).astype(np.float32)
LOG_PROBS = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
DISTRIBUTION = np.exp(LOG_PROBS)[::-1].copy()
DIFFERENCE = np.abs(X - Y)

LOSSES = [
    (nn.CrossEntropyLoss, {}, (LOGITS, LABELS), -LOG_PROBS[range(6), LABELS]),
    (nn.NLLLoss, {}, (LOG_PROBS, LABELS), -LOG_PROBS[range(6), LABELS]),
    (nn.MSELoss, {}, (X, Y), (X - Y) ** 2),
    (nn.L1Loss, {}, (X, Y), DIFFERENCE),
    (
        nn.SmoothL1Loss,
        {"beta": 0.5},
        (X, Y),
        np.where(DIFFERENCE < 0.5, DIFFERENCE**2, DIFFERENCE - 0.25),
    ),
    (
        nn.HuberLoss,
        {"delta": 0.5},
        (X, Y),
        np.where(DIFFERENCE <= 0.5, DIFFERENCE**2 / 2, 0.5 * (DIFFERENCE - 0.25)),
    ),
    (nn.BCELoss, {}, (PROBS, TARGET), -(TARGET * np.log(PROBS) + (1 - TARGET) * np.log(1 - PROBS))),
    (nn.BCEWithLogitsLoss, {}, (X, TARGET), -(TARGET * np.log(PROBS) + (1 - TARGET) * np.log(1 - PROBS))),
    (nn.KLDivLoss, {}, (LOG_PROBS, DISTRIBUTION), DISTRIBUTION * (np.log(DISTRIBUTION) - LOG_PROBS)),
]
REDUCE = {"mean": np.mean, "sum": np.sum, "none": lambda values: values}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("kind", "options", "inputs", "expected"), LOSSES, ids=[row[0].__name__ for row in LOSSES])
def test_loss_with_each_reduction(kind, options, inputs, expected, reduction):
    loss = kind(reduction=reduction, **options)(*map(minidl.tensor, inputs))
    np.testing.assert_allclose(loss.numpy(), REDUCE[reduction](expected), rtol=2e-5, atol=1e-6)


def test_cross_entropy_weighs_classes_ignores_and_smooths():
    weight = np.array([1, 2, 0.5, 1], np.float32)
    loss = nn.CrossEntropyLoss(minidl.tensor(weight), ignore_index=3)(minidl.tensor(LOGITS), minidl.tensor(LABELS))
    kept = LABELS != 3
    per_row = -LOG_PROBS[range(6), LABELS] * weight[LABELS]
    assert loss.item() == pytest.approx(per_row[kept].sum() / weight[LABELS[kept]].sum(), rel=1e-5)
    smooth = nn.CrossEntropyLoss(label_smoothing=0.2)(minidl.tensor(LOGITS), minidl.tensor(LABELS))
    expected = (-0.8 * LOG_PROBS[range(6), LABELS] - 0.2 * LOG_PROBS.mean(1)).mean()
    assert smooth.item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_refuses_labels_that_are_no_classes():
    loss = nn.CrossEntropyLoss()
    with pytest.raises(ValueError, match="4"):
        loss(minidl.zeros(2, 4), minidl.tensor([0, 4]))
    with pytest.raises(TypeError, match="class indices must be int64"):
        loss(minidl.zeros(2, 4), minidl.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        loss(minidl.zeros(2, 4), minidl.tensor([0, 1, 2]))


def test_binary_cross_entropies_take_weights():
    weight, positive = np.float32([1, 2, 3, 4, 5]), np.float32(3)
    per_element = -(TARGET * np.log(PROBS) + (1 - TARGET) * np.log(1 - PROBS))
    loss = nn.BCELoss(weight=minidl.tensor(weight))(minidl.tensor(PROBS), minidl.tensor(TARGET))
    assert loss.item() == pytest.approx((weight * per_element).mean(), rel=1e-5)
    criterion = nn.BCEWithLogitsLoss(pos_weight=minidl.tensor(positive))
    expected = -(positive * TARGET * np.log(PROBS) + (1 - TARGET) * np.log(1 - PROBS))
    assert criterion(minidl.tensor(X), minidl.tensor(TARGET)).item() == pytest.approx(expected.mean(), rel=1e-5)
    assert list(criterion.state_dict()) == ["pos_weight"]


def test_kl_divergence_takes_logarithms_and_the_batch_mean():
    inputs = minidl.tensor(LOG_PROBS), minidl.tensor(np.log(DISTRIBUTION))
    expected = (DISTRIBUTION * (np.log(DISTRIBUTION) - LOG_PROBS)).sum() / 6
    assert nn.KLDivLoss(reduction="batchmean", log_target=True)(*inputs).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCEWithLogitsLoss])
def test_elementwise_losses_refuse_shapes_that_differ(kind):
    with pytest.raises(ValueError, match=r"\(3, 1\)"):
        kind()(tensor(3), tensor(3, 1))


def test_the_old_reduction_arguments_still_choose():
    assert nn.MSELoss(size_average=False).reduction == "sum"
    assert nn.MSELoss(reduce=False).reduction == "none"
    assert nn.MSELoss(size_average=True, reduce=True).reduction == "mean"
    logits, labels = minidl.tensor(LOGITS), minidl.tensor(LABELS)
    summed = F.nll_loss(F.log_softmax(logits, dim=1), labels, size_average=False)
    assert summed.item() == pytest.approx(F.cross_entropy(logits, labels, reduction="sum").item(), rel=1e-6)


def test_functional_losses_take_pytorchs_arguments():
    logits, labels = minidl.tensor(LOGITS), minidl.tensor(LABELS)
    x, y = minidl.tensor(X), minidl.tensor(Y)
    probs, target = minidl.tensor(PROBS), minidl.tensor(TARGET)
    pairs = [
        (
            F.cross_entropy(logits, labels, None, None, 3, None, "sum", 0.1),
            nn.CrossEntropyLoss,
            (logits, labels),
            {"ignore_index": 3, "reduction": "sum", "label_smoothing": 0.1},
        ),
        (F.mse_loss(x, y), nn.MSELoss, (x, y), {}),
        (F.l1_loss(x, y, reduction="sum"), nn.L1Loss, (x, y), {"reduction": "sum"}),
        (F.smooth_l1_loss(x, y, beta=0.3), nn.SmoothL1Loss, (x, y), {"beta": 0.3}),
        (F.huber_loss(x, y, "sum", 0.3), nn.HuberLoss, (x, y), {"reduction": "sum", "delta": 0.3}),
        (F.binary_cross_entropy(probs, target), nn.BCELoss, (probs, target), {}),
        (F.binary_cross_entropy_with_logits(x, target), nn.BCEWithLogitsLoss, (x, target), {}),
        (
            F.kl_div(minidl.tensor(LOG_PROBS), minidl.tensor(DISTRIBUTION), reduction="batchmean"),
            nn.KLDivLoss,
            (minidl.tensor(LOG_PROBS), minidl.tensor(DISTRIBUTION)),
            {"reduction": "batchmean"},
        ),
    ]
    for value, kind, inputs, options in pairs:
        assert value.item() == kind(**options)(*inputs).item()


def test_one_hot_is_in_functional():
    assert F.one_hot(minidl.tensor([1, 0]), num_classes=3).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_layers_make_no_warnings_when_used_as_documented():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Softmax(dim=1))(tensor(5, 4))
