"""What a Sequential runs as one kernel gives the numbers of the single layers, and whoever looks on sees these."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.backends import Backend

STACKS: dict[str, Callable[[], list[nn.Module]]] = {
    "relu": lambda: [nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)],
    "sigmoid": lambda: [nn.Linear(7, 5), nn.Sigmoid(), nn.Linear(5, 3)],
    "tanh": lambda: [nn.Linear(7, 5, bias=False), nn.Tanh(), nn.Linear(5, 3)],
    "relu twice": lambda: [nn.Linear(7, 5), nn.ReLU(), nn.ReLU(), nn.Linear(5, 3)],
    "relu in place": lambda: [nn.Linear(7, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)],
    "relu, dropout": lambda: [nn.Linear(7, 67), nn.ReLU(), nn.Dropout(0.4), nn.Linear(67, 3)],
    "relu, dropout, in place": lambda: [nn.Linear(7, 67), nn.ReLU(), nn.Dropout(0.4), nn.Tanh(), nn.Linear(67, 3)],
    "norm, relu": lambda: [nn.Linear(7, 67), nn.BatchNorm1d(67), nn.ReLU(), nn.Linear(67, 3)],
    "norm, relu, dropout": lambda: [
        *(nn.Linear(7, 67), nn.BatchNorm1d(67), nn.ReLU(), nn.Dropout(0.3)),
        *(nn.Linear(67, 17), nn.BatchNorm1d(17, affine=False), nn.ReLU(), nn.Dropout(0.6), nn.Linear(17, 3)),
    ],
    "norm without statistics": lambda: [
        *(nn.BatchNorm1d(7, track_running_stats=False, momentum=None), nn.ReLU(), nn.Dropout(0.3), nn.Linear(7, 3)),
    ],
    "dropout last": lambda: [nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.3)],
}


def one_by_one(modules: Any, x: minidl.Tensor) -> minidl.Tensor:
    for module in modules:
        x = module(x)
    return x


def results(model: nn.Sequential, run: Callable[..., minidl.Tensor], dtype: Any) -> dict[str, np.ndarray]:
    """Everything that two steps compute and leave behind."""
    model = copy.deepcopy(model).to(dtype)
    minidl.manual_seed(5)
    x = minidl.randn(64, 7).to(dtype).requires_grad_()
    for _ in range(2):
        out = run(model, x)
        (out * out).sum().backward()
    found = {"out": out.detach().numpy(), "x.grad": x.grad.numpy(), "next": minidl.rand(3).numpy()}
    found |= {f"{name}.grad": p.grad.numpy() for name, p in model.named_parameters()}
    return found | {name: buffer.numpy() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize("mode", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("stack", STACKS)
def test_fused_layers_give_the_bits_of_single_ones(stack: str, mode: bool, backend: Backend) -> None:
    for dtype in (minidl.float32, minidl.float64):
        model = nn.Sequential(*STACKS[stack]()).train(mode)
        single = results(model, one_by_one, dtype)
        for name, value in results(model, lambda model, x: model(x), dtype).items():
            np.testing.assert_array_equal(value, single[name], err_msg=name)


def test_steps_show_what_is_fused() -> None:
    names = [type(step).__name__ for step in nn.Sequential(*STACKS["norm, relu, dropout"]()).steps()]
    assert names == ["Linear", "NormWithReLU", "Linear", "NormWithReLU", "Linear"]
    last = nn.Sequential(*STACKS["dropout last"]()).steps()
    assert [type(step).__name__ for step in last] == ["NormWithReLU", "Dropout"]


def test_modes_of_a_group_may_differ() -> None:
    model = nn.Sequential(*STACKS["norm, relu, dropout"]())
    for which in (1, 3):
        model[which].eval()
        single = results(model, one_by_one, minidl.float32)
        for name, value in results(model, lambda model, x: model(x), minidl.float32).items():
            np.testing.assert_array_equal(value, single[name], err_msg=name)


def test_hooks_see_single_layers() -> None:
    model = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
    x = minidl.randn(4, 7)
    expected = one_by_one(model[:1], x).detach().numpy()
    seen: list[np.ndarray] = []
    handle = model[0].register_forward_hook(lambda module, args, out: seen.append(out.detach().numpy().copy()))
    model(x)
    np.testing.assert_array_equal(seen[0], expected)
    assert (seen[0] < 0).any()
    assert len(model.steps()) == 3
    handle.remove()
    assert len(model.steps()) == 2
    gradients: list[minidl.Tensor] = []
    handle = model[1].register_full_backward_hook(lambda module, grad_in, grad_out: gradients.append(grad_out[0]))
    model(x).sum().backward()
    np.testing.assert_array_equal(gradients[0].numpy(), np.ones((4, 3), np.float32) @ model[2].weight.detach().numpy())


def test_a_changed_child_is_not_overlooked() -> None:
    model = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
    x = minidl.randn(4, 7)
    model(x)
    model[1] = nn.Tanh()
    assert minidl.equal(model(x), one_by_one(model, x))
    del model[1]
    assert minidl.equal(model(x), one_by_one(model, x))
    model[0].forward = lambda input: input[:, :5]
    assert minidl.equal(model(x), model[1](x[:, :5]))


def test_a_copy_runs_its_own_layers() -> None:
    model = nn.Sequential(nn.Linear(7, 5), nn.ReLU())
    x = minidl.randn(4, 7)
    model(x)
    other = copy.deepcopy(model)
    with minidl.no_grad():
        other[0].weight.fill_(0.0)
        other[0].bias.fill_(2.0)
    assert model(x).tolist() != other(x).tolist()
    assert other(x).tolist() == [[2.0] * 5] * 4


def test_a_subclass_is_left_alone() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: minidl.Tensor) -> minidl.Tensor:
            return super().forward(input) * 2

    model = nn.Sequential(Doubled(7, 5), nn.ReLU())
    x = minidl.randn(4, 7)
    assert minidl.equal(model(x), one_by_one(model, x))


# ---- the gradient of relu, taken back by the layer that follows it


def relu_between() -> tuple[minidl.Tensor, minidl.Tensor, nn.Linear]:
    """relu(x), with half of x negative, and a layer to go on with."""
    minidl.manual_seed(1)
    x = minidl.randn(8, 5, requires_grad=True)
    return x, minidl.relu(x), nn.Linear(5, 3)


def test_the_gradient_with_respect_to_relus_output_is_not_cut_off() -> None:
    _, hidden, layer = relu_between()
    expected = np.ones((8, 3), np.float32) @ layer.weight.detach().numpy()
    (wanted,) = minidl.autograd.grad(layer(hidden).sum(), hidden)
    np.testing.assert_array_equal(wanted.numpy(), expected)
    seen: list[np.ndarray] = []
    for watch in (lambda h: h.retain_grad(), lambda h: h.register_hook(lambda grad: seen.append(grad.numpy().copy()))):
        x, hidden, layer = relu_between()
        watch(hidden)
        layer(hidden).sum().backward()
        np.testing.assert_array_equal(seen[0] if seen else hidden.grad.numpy(), expected)
        np.testing.assert_array_equal(x.grad.numpy(), np.where(hidden.detach().numpy() > 0, expected, 0))
    assert len(seen) == 1


def test_relus_output_may_be_used_twice() -> None:
    x, hidden, layer = relu_between()
    (layer(hidden).sum() + (hidden * 3).sum() + layer(hidden).sum()).backward()
    through_layer = np.ones((8, 3), np.float32) @ layer.weight.detach().numpy()
    expected = np.where(hidden.detach().numpy() > 0, through_layer + 3 + through_layer, 0)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=4 * np.finfo(np.float32).eps)
    assert type(x.grad) is minidl.Tensor


@pytest.mark.parametrize("stack", ["relu", "tanh", "norm, relu"])
def test_gradients_and_second_gradients_of_fused_layers_are_right(stack: str) -> None:
    model = nn.Sequential(*STACKS[stack]()).double()
    x = minidl.randn(6, 7, dtype=minidl.float64, requires_grad=True)
    assert minidl.autograd.gradcheck(model, (x,))
    assert minidl.autograd.gradgradcheck(model, (x,))


def test_an_infinite_gradient_leaves_a_dropped_unit_at_0() -> None:
    x = minidl.ones(4, 5, requires_grad=True)
    dropped = minidl.ops.dropout(minidl.relu(x), 0.5)
    (dropped * float("inf")).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.where(dropped.detach().numpy() > 0, np.inf, 0))
