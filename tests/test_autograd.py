"""The tape: accumulation, freeing, second derivatives, hooks, in-place changes, long chains, Function, gradcheck."""

import gc
import weakref

import numpy as np
import pytest

import minidl
from minidl import Tensor, autograd


def leaf(values: object) -> Tensor:
    return minidl.tensor(values, dtype=minidl.float64, requires_grad=True)


# ---- accumulation and what receives a gradient


def test_gradients_accumulate_over_calls_and_over_uses() -> None:
    x = leaf([1.0, 2.0])
    (x * x + x).sum().backward()
    assert x.grad.tolist() == [3.0, 5.0]
    (3 * x).sum().backward()
    assert x.grad.tolist() == [6.0, 8.0]


def test_gradients_of_two_leaves_do_not_share_memory() -> None:
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    seed = minidl.tensor([1.0, 1.0], dtype=minidl.float64)
    (a + b).backward(seed)
    a.grad.fill_(7.0)
    assert b.grad.tolist() == [1.0, 1.0]
    assert seed.tolist() == [1.0, 1.0]


def test_unused_parameter_keeps_no_gradient() -> None:
    used, unused = leaf([1.0]), leaf([1.0])
    used.sum().backward()
    assert used.grad is not None
    assert unused.grad is None


def test_only_leaves_receive_a_gradient_unless_they_retain_it() -> None:
    x = leaf([2.0])
    plain, kept = x * 3, x * 5
    kept.retain_grad()
    (plain * kept).sum().backward()
    assert plain.grad is None
    assert kept.grad.tolist() == [6.0]


def test_no_grad_records_nothing_and_is_a_decorator() -> None:
    x = leaf([1.0])
    with minidl.no_grad():
        assert not (x * 2).requires_grad
        with minidl.enable_grad():
            assert (x * 2).requires_grad
    assert minidl.is_grad_enabled()

    @minidl.no_grad()
    def double(x: Tensor) -> Tensor:
        return x * 2

    assert double(x).is_leaf


def test_no_grad_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), minidl.no_grad():
        raise KeyError
    assert minidl.is_grad_enabled()


def test_detach_shares_memory_and_cuts_the_history() -> None:
    x = leaf([1.0, 2.0])
    y = (x * 2).detach()
    assert y.is_leaf
    assert not y.requires_grad
    assert np.shares_memory(x.detach().numpy(), x.array)


def test_backward_wants_a_scalar_or_a_gradient_of_the_same_shape() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match="scalar"):
        (x * 2).backward()
    with pytest.raises(ValueError, match="shape"):
        (x * 2).backward(minidl.ones(3))
    with pytest.raises(RuntimeError, match="requires_grad"):
        minidl.ones(1).backward()


def test_second_backward_through_a_freed_graph_says_retain_graph() -> None:
    y = leaf([1.0]).exp().sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_retained_graph_can_be_walked_again() -> None:
    x = leaf([1.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0]


def test_integers_cannot_require_a_gradient() -> None:
    with pytest.raises((TypeError, RuntimeError), match="float"):
        minidl.tensor([1, 2]).requires_grad_()


# ---- grad() and higher derivatives


def test_grad_returns_gradients_and_leaves_dot_grad_alone() -> None:
    x, y = leaf(2.0), leaf(3.0)
    dx, dy = autograd.grad(x * x * y, (x, y))
    assert (dx.item(), dy.item()) == (12.0, 4.0)
    assert x.grad is None


def test_grad_with_respect_to_an_intermediate() -> None:
    x = leaf(2.0)
    middle = x * x
    (slope,) = autograd.grad(middle * middle, middle)
    assert slope.item() == 8.0


def test_grad_of_an_unused_input_raises_or_gives_none() -> None:
    x, y = leaf(2.0), leaf(3.0)
    with pytest.raises(RuntimeError, match="allow_unused"):
        autograd.grad(x * x, (x, y), retain_graph=True)
    assert autograd.grad(x * x, (x, y), allow_unused=True)[1] is None


def test_derivatives_up_to_the_fourth() -> None:
    x = leaf(2.0)
    value = x**5
    for expected in (80.0, 160.0, 240.0, 240.0):
        (value,) = autograd.grad(value, x, create_graph=True)
        assert value.item() == expected


def test_gradient_penalty_trains_through_a_network() -> None:
    weight = minidl.randn(4, 3, dtype=minidl.float64).requires_grad_()
    x = minidl.randn(5, 3, dtype=minidl.float64).requires_grad_()

    def penalty(weight: Tensor) -> Tensor:
        (slope,) = autograd.grad(minidl.tanh(x @ weight.T).sum(), x, create_graph=True)
        return (slope * slope).sum()

    assert autograd.gradcheck(penalty, (weight,))


def test_backward_with_create_graph_leaves_a_differentiable_gradient() -> None:
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    (second,) = autograd.grad(x.grad, x)
    assert second.item() == 18.0


# ---- broadcasting, views, slicing


@pytest.mark.parametrize(
    ("left", "right"), [((3, 1), (1, 4)), ((4,), (2, 3, 4)), ((), (2, 2)), ((2, 1, 3), (5, 1)), ((0, 3), (3,))]
)
def test_gradients_of_broadcast_operands_have_their_shapes(left: tuple, right: tuple) -> None:
    a = minidl.randn(*left, dtype=minidl.float64).requires_grad_()
    b = minidl.randn(*right, dtype=minidl.float64).requires_grad_()
    (a * b).sum().backward()
    full = np.broadcast_shapes(left, right)
    for x, other in ((a, b), (b, a)):
        padded = (1,) * (len(full) - x.ndim) + tuple(x.shape)
        repeated = tuple(axis for axis, extent in enumerate(padded) if extent != full[axis])
        expected = np.broadcast_to(other.detach().numpy(), full).sum(repeated, keepdims=True).reshape(x.shape)
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-14)


def test_gradients_flow_through_views_and_slices() -> None:
    x = leaf(np.arange(12.0).reshape(3, 4))
    (x.reshape(4, 3).T[1:, ::2] * 2).sum().backward()
    expected = np.zeros((4, 3))
    expected.T[1:, ::2] = 2
    np.testing.assert_array_equal(x.grad.numpy(), expected.reshape(3, 4))


def test_gradient_of_repeated_indices_adds_up() -> None:
    x = leaf([1.0, 2.0, 3.0])
    x[minidl.tensor([0, 0, 2, 0])].sum().backward()
    assert x.grad.tolist() == [3.0, 0.0, 1.0]


def test_gradient_of_a_mask_and_of_an_ellipsis() -> None:
    x = leaf(np.arange(6.0).reshape(1, 2, 3))
    (x[..., 1].sum() + x[x > 3].sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[[0, 1, 0], [0, 2, 1]]])


def test_expanded_leaf_receives_the_sum() -> None:
    x = leaf([[1.0], [2.0]])
    x.expand(2, 5).sum().backward()
    assert x.grad.tolist() == [[5.0], [5.0]]


# ---- changes in place


def test_changing_a_saved_input_raises() -> None:
    x = leaf([1.0, 2.0])
    y = x * 1.0
    z = y * y
    with minidl.no_grad():
        y.add_(1.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()


def test_changing_a_saved_output_raises() -> None:
    y = leaf([1.0, 2.0]).exp()
    total = y.sum()
    with minidl.no_grad():
        y.mul_(2.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        total.backward()


@pytest.mark.parametrize("alias", ["view", "slice", "detach", "transpose"])
def test_changing_a_saved_tensor_through_an_alias_raises(alias: str) -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    y = x * 1.0
    z = y.square()
    with minidl.no_grad():
        aliases = {"view": y.view(4), "slice": y[0], "detach": y.detach(), "transpose": y.T}
        aliases[alias].fill_(0.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()


def test_setting_an_item_of_a_saved_tensor_raises() -> None:
    y = leaf([1.0, 2.0]) * 1.0
    z = y.square()
    with minidl.no_grad():
        y[0] = 5.0
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()


def test_optimizer_like_update_between_forward_and_backward_raises() -> None:
    weight, x = leaf([[1.0, 2.0]]), leaf([[3.0, 4.0]])
    out = (x @ weight.T).sum()
    with minidl.no_grad():
        weight -= 0.1
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


def test_changing_what_the_gradient_does_not_need_is_allowed() -> None:
    x = leaf([1.0, 2.0])
    y = x + 1.0
    z = y + 1.0
    with minidl.no_grad():
        y.zero_()
    z.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_leaf_changes_in_place_only_under_no_grad() -> None:
    x = leaf([1.0])
    with pytest.raises(RuntimeError, match="no_grad"):
        x.add_(1.0)
    with minidl.no_grad():
        x.add_(1.0)
    assert x.tolist() == [2.0]
    assert x.is_leaf


def test_recorded_change_in_place_has_the_right_gradient() -> None:
    x = leaf([1.0, 2.0])
    y = x * 3
    y.mul_(2.0)
    y += x
    y.sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]


# ---- hooks


def test_hook_sees_and_replaces_the_gradient_until_removed() -> None:
    x = leaf([1.0, 2.0])
    seen = []
    handle = x.register_hook(lambda grad: seen.append(grad.tolist()))
    doubling = x.register_hook(lambda grad: grad * 2)
    (x * 3).sum().backward()
    assert seen == [[3.0, 3.0]]
    assert x.grad.tolist() == [6.0, 6.0]
    handle.remove()
    doubling.remove()
    (x * 3).sum().backward()
    assert seen == [[3.0, 3.0]]
    assert x.grad.tolist() == [9.0, 9.0]


def test_hook_of_an_intermediate_changes_what_flows_on() -> None:
    x = leaf([1.0])
    y = x * 2
    y.register_hook(lambda grad: grad * 10)
    (y * 3 + y).sum().backward()
    assert x.grad.tolist() == [80.0]


def test_hook_on_a_tensor_without_gradient_raises() -> None:
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        minidl.ones(1).register_hook(lambda grad: grad)


# ---- long chains and memory


def test_chain_of_100_000_operations_goes_forward_backward_and_away() -> None:
    x = leaf([1.0])
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.sum().backward()
    assert x.grad.tolist() == [1.0]
    z = x
    for _ in range(100_000):
        z = z * 1.0
    del y, z  # neither a freed nor an unused graph may recurse while it is destroyed


def test_graph_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        x = leaf([1.0, 2.0])
        hidden = (x * 2).exp().sigmoid()
        array = weakref.ref(hidden)
        loss = (hidden / hidden.sum()).log().sum()
        del hidden
        loss.backward()
        del loss
        assert array() is None
    finally:
        gc.enable()


# ---- Function


class Cube(autograd.Function):
    """x^3 with a hand-written derivative."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, grad_out: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_out * 3 * x * x


def test_function_uses_the_derivative_of_its_author() -> None:
    x = leaf([1.0, 2.0])
    Cube.apply(x).sum().backward()
    assert x.grad.tolist() == [3.0, 12.0]


def test_function_written_with_ops_is_twice_differentiable() -> None:
    x = leaf([1.0, -2.0])
    assert autograd.gradcheck(Cube.apply, (x,))
    assert autograd.gradgradcheck(Cube.apply, (x,))


class ScaledSum(autograd.Function):
    """a * scale + b for a number `scale`."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return a * scale + b

    @staticmethod
    def backward(ctx, grad_out: Tensor) -> tuple[Tensor, Tensor, None]:
        return grad_out * ctx.scale, grad_out, None


def test_function_takes_several_inputs_and_numbers() -> None:
    a, b = leaf([1.0]), leaf([2.0])
    ScaledSum.apply(a, b, 4.0).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([4.0], [1.0])


def test_function_detects_a_change_of_what_it_saved() -> None:
    y = leaf([1.0]) * 1.0
    z = Cube.apply(y)
    with minidl.no_grad():
        y.add_(1.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()


# ---- gradcheck itself


class WrongGradient(autograd.Function):
    """x^2 whose author forgot the factor 2."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad_out: Tensor) -> Tensor:
        return grad_out * ctx.saved_tensors[0]


def test_gradcheck_finds_a_wrong_gradient() -> None:
    x = leaf([1.0, 2.0])
    assert not autograd.gradcheck(WrongGradient.apply, (x,), raise_exception=False)
    with pytest.raises((RuntimeError, ValueError)):
        autograd.gradcheck(WrongGradient.apply, (x,))


def test_gradgradcheck_accepts_composed_functions() -> None:
    a, b = leaf([[1.0, 2.0], [0.5, -1.0]]), leaf([[0.3, 0.4], [0.1, 0.9]])
    assert autograd.gradgradcheck(lambda a, b: (a @ b).sigmoid() / (1 + b * b), (a, b))


def test_removing_one_hook_keeps_its_twin() -> None:
    x = minidl.ones(2, requires_grad=True)
    calls: list[int] = []

    def hook(grad: minidl.Tensor) -> None:
        calls.append(1)

    first, _ = x.register_hook(hook), x.register_hook(hook)
    first.remove()
    x.sum().backward()
    assert calls == [1]


@pytest.mark.parametrize("is_leaf", [True, False])
def test_a_hook_may_take_itself_off(is_leaf: bool) -> None:
    x = minidl.ones(2, requires_grad=True)
    tensor = x if is_leaf else x * 2
    calls: list[int] = []

    def once(grad: minidl.Tensor) -> None:
        calls.append(1)
        handle.remove()

    handle = tensor.register_hook(once)
    tensor.sum().backward(retain_graph=True)
    tensor.sum().backward()
    assert calls == [1]
