"""activation_statistics: its figures against NumPy by hand, and a model that is left as it was."""

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.training import activation_statistics
from minidl.training.inspection import untouched


def by_name(layers: list) -> dict:
    return {layer.name: layer for layer in layers}


def test_figures_of_a_hand_made_network_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    x, target = random.standard_normal((16, 5)), random.standard_normal((16, 3))
    w1, b1, w2, b2 = (random.standard_normal(shape) for shape in ((7, 5), 7, (3, 7), 3))
    b1[[2, 5]] = -100  # two dead units
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    with minidl.no_grad():
        for parameter, value in zip(model.parameters(), (w1, b1, w2, b2), strict=True):
            parameter.copy_(minidl.tensor(value, dtype=minidl.float64))
    layers = by_name(
        activation_statistics(model, minidl.from_numpy(x), minidl.from_numpy(target), nn.functional.mse_loss, bins=9)
    )

    z1 = x @ w1.T + b1
    h1 = np.maximum(z1, 0)
    z2 = h1 @ w2.T + b2
    grad_z2 = 2 * (z2 - target) / z2.size
    grad_h1 = grad_z2 @ w2
    grad_z1 = grad_h1 * (z1 > 0)
    for name, output, grad in (("0", z1, grad_z1), ("1", h1, grad_h1), ("2", z2, grad_z2)):
        layer = layers[name]
        assert layer.output_mean == pytest.approx(output.mean(), rel=1e-12)
        assert layer.output_std == pytest.approx(output.std(), rel=1e-12)
        assert layer.grad_output_norm == pytest.approx(np.linalg.norm(grad), rel=1e-12)
        for (counts, edges), values in ((layer.histogram, output), (layer.grad_histogram, grad)):
            wanted = np.histogram(values, 9)
            np.testing.assert_allclose(edges, wanted[1], rtol=1e-12, atol=1e-15)
            assert counts.sum() == values.size
            assert np.abs(counts - wanted[0]).sum() <= 2  # a value on an edge may fall on either side
    assert layers["1"].dead_fraction == 2 / 7
    assert layers["0"].dead_fraction is layers["2"].dead_fraction is None
    assert layers["0"].weight_norm == pytest.approx(np.linalg.norm(w1), rel=1e-12)
    assert layers["0"].grad_weight_norm == pytest.approx(np.linalg.norm(grad_z1.T @ x), rel=1e-12)
    assert layers["2"].grad_weight_norm == pytest.approx(np.linalg.norm(grad_z2.T @ h1), rel=1e-12)
    assert layers["1"].weight_norm is layers["1"].grad_weight_norm is None


@pytest.mark.parametrize(
    ("layer", "slope"),
    [
        (nn.Sigmoid(), lambda x: 4 * np.exp(-x) / (1 + np.exp(-x)) ** 2),
        (nn.Tanh(), lambda x: 1 / np.cosh(x) ** 2),
        (nn.Softsign(), lambda x: 1 / (1 + np.abs(x)) ** 2),
        (nn.Hardtanh(-2, 3), lambda x: 1.0 * ((x > -2) & (x < 3))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_saturated_is_where_the_derivative_is_below_a_hundredth_of_its_maximum(layer, slope) -> None:
    x = np.linspace(-12, 12, 240).reshape(24, 10)
    (found,) = activation_statistics(layer, minidl.from_numpy(x))
    assert found.name == ""
    assert found.label == type(layer).__name__
    assert found.saturated_fraction == (slope(x) < 0.01).mean()
    assert found.dead_fraction is None


def test_the_layer_before_one_that_works_in_place_is_measured_before_it() -> None:
    apart = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    in_place = nn.Sequential(apart[0], nn.ReLU(inplace=True), apart[2])
    x, target = minidl.randn(8, 4), minidl.zeros(8).long()
    for ours, theirs in zip(*(activation_statistics(model, x, target) for model in (in_place, apart)), strict=True):
        assert ours.output_mean == theirs.output_mean
        assert ours.grad_output_norm == theirs.grad_output_norm
        np.testing.assert_array_equal(ours.histogram[0], theirs.histogram[0])


def test_a_layer_that_is_called_twice_is_measured_over_both_calls() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.narrow, self.relu = nn.Linear(2, 6), nn.Linear(6, 2), nn.ReLU()

        def forward(self, x):
            return self.relu(self.narrow(self.relu(self.wide(x))))

    model = Twice()
    with minidl.no_grad():
        model.wide.bias.fill_(-100.0)
        model.narrow.bias.copy_(minidl.tensor([1.0, -1.0]))
    layers = by_name(activation_statistics(model, minidl.rand(5, 2)))
    assert layers["relu"].dead_fraction == 7 / 8
    assert layers["relu"].histogram[0].sum() == 5 * 8


@pytest.mark.parametrize("is_training", [True, False])
def test_the_model_is_left_bitwise_as_it_was(is_training: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))
    x, target = minidl.randn(8, 4), minidl.zeros(8).long()
    nn.functional.cross_entropy(model(x), target).backward()
    model.train(is_training)
    model[0].eval()
    buffers = dict(model.named_buffers())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grads = [(parameter.grad, parameter.grad.clone()) for parameter in model.parameters()]
    modes, random = [module.training for module in model.modules()], minidl.get_rng_state()

    activation_statistics(model, x, target)
    with pytest.raises(ValueError, match="columns"):
        activation_statistics(model, minidl.zeros(8, 5), target)

    assert all(minidl.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(buffers[name] is buffer for name, buffer in model.named_buffers())
    for parameter, (grad, values) in zip(model.parameters(), grads, strict=True):
        assert parameter.grad is grad
        assert minidl.equal(grad, values)
    assert [module.training for module in model.modules()] == modes
    assert minidl.get_rng_state() == random
    assert not any(module._forward_hooks for module in model.modules())


def test_what_is_seen_is_a_training_step_where_the_model_trains() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    x = minidl.randn(200, 3) * 5 + 7
    norm, dropout = activation_statistics(model, x)
    assert norm.output_mean == pytest.approx(0, abs=1e-5)
    assert dropout.histogram[0].max() > 250  # the zeros
    norm, _ = activation_statistics(model.eval(), x)
    assert norm.output_mean == pytest.approx(x.mean().item(), rel=1e-4)


def test_nan_is_left_out_of_the_histogram() -> None:
    (layer,) = activation_statistics(nn.Identity(), minidl.tensor([[1.0, float("nan")], [3.0, float("inf")]]))
    assert layer.histogram[0].sum() == 2


def test_a_frozen_model_has_no_gradients_to_measure() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh()).requires_grad_(False)
    layers = activation_statistics(model, minidl.randn(4, 2), minidl.zeros(4).long())
    assert [(layer.grad_output_norm, layer.grad_weight_norm) for layer in layers] == [(None, None)] * 2
    with pytest.raises(ValueError, match="needs a target"):
        activation_statistics(model, minidl.randn(4, 2), loss=nn.functional.mse_loss)


def test_untouched_puts_everything_back_after_an_error() -> None:
    model = nn.BatchNorm1d(2)
    mean, random = model.running_mean, minidl.get_rng_state()

    def fail() -> None:
        with untouched(model):
            model.eval()
            model.running_mean.fill_(9.0)
            minidl.rand(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert model.training
    assert model.running_mean is mean
    assert mean.tolist() == [0.0, 0.0]
    assert minidl.get_rng_state() == random
