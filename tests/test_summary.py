"""summary(): counts by hand, what is fused, and a model that is afterwards as it was."""

import numpy as np
import pytest

import minidl
from minidl import nn


def network() -> nn.Sequential:
    hidden = nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Identity())
    return nn.Sequential(nn.Flatten(), hidden, nn.Linear(5, 3), nn.Tanh())


def test_counts_are_those_counted_by_hand() -> None:
    model = network()
    model[2].weight.requires_grad_(False)
    found = minidl.summary(model, (8, 2, 3))
    layers = {layer.name: layer for layer in found.layers}
    assert [layer.output_shape for layer in found.layers] == [(8, 3), (8, 6), *[(8, 5)] * 6, (8, 3), (8, 3)]
    assert (layers["1.0"].parameters, layers["1.1"].parameters, layers["2"].parameters) == (30, 10, 18)
    assert (layers["1.0"].flops, layers["2"].flops, layers["3"].flops) == (2 * 8 * 30, 2 * 8 * 15, 0)
    assert (found.parameters, found.trainable, found.parameter_bytes) == (58, 43, 232)
    assert found.flops == 2 * 8 * 45
    assert found.output_bytes == 4 * 8 * (6 + 5 * 5 + 3 + 3)


def test_it_shows_what_runs_as_one_kernel() -> None:
    layers = {layer.name: layer.fused_with for layer in minidl.summary(network(), (8, 6)).layers}
    assert layers["1.1"] == "2, 3"
    assert layers["1.2"] == "1, 3"
    assert layers["2"] == "3"
    assert layers["1.0"] == layers["0"] == ""


def test_the_model_is_as_it_was() -> None:
    model = network()
    model[1][3].eval()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    minidl.manual_seed(1)
    expected = minidl.rand(3).tolist()
    minidl.manual_seed(1)
    minidl.summary(model, (8, 6))
    assert minidl.rand(3).tolist() == expected
    assert [module.training for module in model.modules()] == [True] * 6 + [False] + [True] * 3
    assert len(model[1].steps()) == 3
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_a_shape_that_does_not_fit_is_refused_and_no_hook_is_left() -> None:
    model = network()
    with pytest.raises(ValueError, match="input must have 6 columns"):
        minidl.summary(model, (8, 7))
    assert not any(module._forward_hooks for module in model.modules())


def test_the_table_is_aligned() -> None:
    lines = str(minidl.summary(network(), (8, 6))).splitlines()
    assert len(lines) == 1 + 10 + 2
    assert lines[1].startswith("Sequential ")
    assert lines[-2] == "58 parameters (58 trained), 232 bytes"
