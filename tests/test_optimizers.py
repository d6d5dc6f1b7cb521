"""Optimizers: trajectories of the published rules in NumPy float64, groups, skipped parameters, checkpoints, errors."""

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
from comparison import assert_bitwise_equal, assert_close, assert_denormal_numbers_are_kept
from minidl import Tensor, _cpu, optim
from minidl.backends import Backend

Array = np.ndarray
SHAPES = [(37, 5), (1,), (0,), (129,)]  # odd, one, none, beyond a register of every width
STEPS = 20


# ---- the rules, one parameter at a time: rule(w, g, state, t, options) returns the new w


def sgd(w: Array, g: Array, state: dict[str, Any], t: int, o: dict[str, Any]) -> Array:
    if o["momentum"] == 0:
        return w - o["lr"] * g
    state["v"] = g if t == 1 else o["momentum"] * state["v"] + (1 - o["dampening"]) * g
    return w - o["lr"] * (g + o["momentum"] * state["v"] if o["nesterov"] else state["v"])


def moments(g: Array, state: dict[str, Any], o: dict[str, Any]) -> tuple[Array, Array]:
    beta1, beta2 = o["betas"]
    state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
    return state["m"], state["v"]


def adam(w: Array, g: Array, state: dict[str, Any], t: int, o: dict[str, Any]) -> Array:
    m, v = moments(g, state, o)
    if o["amsgrad"]:
        v = state["largest"] = np.maximum(state.get("largest", 0), v)
    unbiased = v / (1 - o["betas"][1] ** t)
    return w - o["lr"] * (m / (1 - o["betas"][0] ** t)) / (np.sqrt(unbiased) + o["eps"])


def adagrad(w: Array, g: Array, state: dict[str, Any], t: int, o: dict[str, Any]) -> Array:
    state["s"] = state.get("s", o["initial_accumulator_value"]) + g**2
    return w - o["lr"] / (1 + (t - 1) * o["lr_decay"]) * g / (np.sqrt(state["s"]) + o["eps"])


def rmsprop(w: Array, g: Array, state: dict[str, Any], t: int, o: dict[str, Any]) -> Array:
    state["s"] = o["alpha"] * state.get("s", 0) + (1 - o["alpha"]) * g**2
    state["a"] = o["alpha"] * state.get("a", 0) + (1 - o["alpha"]) * g
    variance = state["s"] - state["a"] ** 2 if o["centered"] else state["s"]
    state["b"] = o["momentum"] * state.get("b", 0) + g / (np.sqrt(variance) + o["eps"])
    return w - o["lr"] * state["b"]


def adadelta(w: Array, g: Array, state: dict[str, Any], t: int, o: dict[str, Any]) -> Array:
    state["s"] = o["rho"] * state.get("s", 0) + (1 - o["rho"]) * g**2
    delta = np.sqrt(state.get("u", 0) + o["eps"]) / np.sqrt(state["s"] + o["eps"]) * g
    state["u"] = o["rho"] * state.get("u", 0) + (1 - o["rho"]) * delta**2
    return w - o["lr"] * delta


def adamax(w: Array, g: Array, state: dict[str, Any], t: int, o: dict[str, Any]) -> Array:
    m, _ = moments(g, state, o)
    state["u"] = np.maximum(o["betas"][1] * state.get("u", 0), np.abs(g) + o["eps"])
    return w - o["lr"] / (1 - o["betas"][0] ** t) * m / state["u"]


def nadam(w: Array, g: Array, state: dict[str, Any], t: int, o: dict[str, Any]) -> Array:
    m, v = moments(g, state, o)
    mu, next_mu = (o["betas"][0] * (1 - 0.5 * 0.96 ** (step * o["momentum_decay"])) for step in (t, t + 1))
    product = state["product"] = state.get("product", 1.0) * mu
    estimate = (1 - mu) / (1 - product) * g + next_mu / (1 - product * next_mu) * m
    return w - o["lr"] * estimate / (np.sqrt(v / (1 - o["betas"][1] ** t)) + o["eps"])


def radam(w: Array, g: Array, state: dict[str, Any], t: int, o: dict[str, Any]) -> Array:
    m, v = moments(g, state, o)
    beta1, beta2 = o["betas"]
    mean = m / (1 - beta1**t)
    limit = 2 / (1 - beta2) - 1
    rho = limit - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 5:
        return w - o["lr"] * mean
    rectification = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
    return w - o["lr"] * mean * rectification * math.sqrt(1 - beta2**t) / (np.sqrt(v) + o["eps"])


Rule = Callable[[Array, Array, dict[str, Any], int, dict[str, Any]], Array]
CASES: list[tuple[type[optim.Optimizer], Rule, dict[str, Any]]] = [
    (optim.SGD, sgd, {}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
    (optim.Adam, adam, {}),
    (optim.Adam, adam, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "amsgrad": True, "maximize": True}),
    (optim.Adam, adam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.AdamW, adam, {}),
    (optim.AdamW, adam, {"lr": 0.01, "weight_decay": 0.2, "amsgrad": True}),
    (optim.Adagrad, adagrad, {}),
    (optim.Adagrad, adagrad, {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    (optim.RMSprop, rmsprop, {}),
    (optim.RMSprop, rmsprop, {"momentum": 0.9, "weight_decay": 0.1}),
    (optim.RMSprop, rmsprop, {"momentum": 0.9, "centered": True, "alpha": 0.9, "maximize": True}),
    (optim.Adadelta, adadelta, {}),
    (optim.Adadelta, adadelta, {"rho": 0.8, "weight_decay": 0.1, "maximize": True}),
    (optim.Adamax, adamax, {}),
    (optim.Adamax, adamax, {"weight_decay": 0.1, "maximize": True}),
    (optim.NAdam, nadam, {}),
    (optim.NAdam, nadam, {"weight_decay": 0.1, "momentum_decay": 0.01, "decoupled_weight_decay": True}),
    (optim.RAdam, radam, {}),
    (optim.RAdam, radam, {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
]
each_case = pytest.mark.parametrize(
    ("kind", "rule", "options"), CASES, ids=[f"{kind.__name__} {options}" for kind, _, options in CASES]
)


def reference_step(rule: Rule, w: Array, g: Array, state: dict[str, Any], t: int, options: dict[str, Any]) -> Array:
    g = -g if options["maximize"] else g
    if options.get("decoupled_weight_decay"):
        w = w * (1 - options["lr"] * options["weight_decay"])
    else:
        g = g + options["weight_decay"] * w
    return rule(w, g, state, t, options)


def starts(dtype: type) -> list[Array]:
    random = np.random.default_rng(0)
    return [random.standard_normal(shape).astype(dtype) for shape in SHAPES]


def gradients(step: int, dtype: type) -> list[Array | None]:
    """None for the last parameter in some steps: its own count of steps must stand still."""
    random = np.random.default_rng(step + 1)
    grads = [random.standard_normal(shape).astype(dtype) for shape in SHAPES]
    return [*grads[:-1], None] if step in (2, 3, 7) else grads


def make(dtype: type = np.float32) -> list[Tensor]:
    return [Tensor(w, requires_grad=True) for w in starts(dtype)]


def set_gradients(params: list[Tensor], step: int, dtype: type = np.float32) -> None:
    for param, grad in zip(params, gradients(step, dtype), strict=True):
        param.grad = None if grad is None else Tensor(grad)


def run(optimizer: optim.Optimizer, params: list[Tensor], steps: range, dtype: type = np.float32) -> None:
    for step in steps:
        set_gradients(params, step, dtype)
        optimizer.step()


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@each_case
def test_trajectory_follows_the_published_rule(
    kind: type[optim.Optimizer], rule: Rule, options: dict[str, Any], dtype: type, backend: Backend
) -> None:
    params = make(dtype)
    optimizer = kind(params, **options)
    run(optimizer, params, range(STEPS), dtype)
    used = dict(optimizer.param_groups[0])
    for i, w in enumerate(starts(dtype)):
        expected, state, t = w.astype(np.float64), {}, 0
        largest = np.abs(expected)
        for step in range(STEPS):
            grad = gradients(step, dtype)[i]
            if grad is not None:
                t += 1
                expected = reference_step(rule, expected, grad.astype(np.float64), state, t, used)
                largest = np.maximum(largest, np.abs(expected))
        # Each step rounds the parameter and a step of its size or less; RMSprop's centered variance cancels.
        tolerance = 200 if options.get("centered") else 2 * STEPS
        assert_close(params[i].array, expected, tolerance, f"parameter {i}", largest + used["lr"])


@pytest.mark.parametrize("isa", _cpu.available_isas())
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.RMSprop, optim.Adamax, optim.NAdam, optim.RAdam])
def test_averages_of_gradients_that_have_ended_become_zero(
    kind: type[optim.Optimizer], dtype: type, threads: int, isa: str
) -> None:
    """Denormal numbers would stay for ever, and many processors take some 100 cycles for each of them."""
    _cpu.set_isa(isa)
    _cpu.set_thread_count(threads)
    tiny = np.full(40001, np.finfo(dtype).tiny, dtype)
    param = Tensor(np.ones_like(tiny), requires_grad=True)
    options = {"lr": 0.1, "momentum": 0.9} if kind in (optim.SGD, optim.RMSprop) else {"lr": 0.1}
    optimizer = kind([param], **options)
    param.grad = Tensor(np.zeros_like(tiny))
    optimizer.step()
    averages = [tensor for tensor in optimizer.state[param].values() if tensor.shape == param.shape]
    for average in averages:
        average.array[...] = tiny
    optimizer.step()
    for average in averages:
        # Adamax adds eps, which is no denormal number
        assert not ((average.array != 0) & (np.abs(average.array) < tiny)).any()
    assert (averages[0].array == 0).all()
    assert (param.array == 1).all()
    assert_denormal_numbers_are_kept(dtype)


@pytest.mark.parametrize("kind", [optim.Adam, optim.Adagrad, optim.RMSprop, optim.NAdam])
def test_a_square_beyond_the_largest_number_leaves_the_parameter(kind: type[optim.Optimizer], backend: Backend) -> None:
    for dtype in (np.float32, np.float64):
        gradient = np.full(37, np.sqrt(np.finfo(dtype).max) * 10, dtype)
        param = Tensor(np.ones_like(gradient), requires_grad=True)
        param.grad = Tensor(gradient)
        kind([param], lr=0.1).step()
        assert (param.array == 1).all(), dtype  # divided by infinity


def test_results_do_not_depend_on_the_threads(backend: Backend) -> None:
    def result(threads: int) -> Array:
        _cpu.set_thread_count(threads)
        param = Tensor(np.linspace(-1, 1, 100003, dtype=np.float32), requires_grad=True)
        optimizer = optim.Adam([param], max_grad_norm=1.0)
        for step in range(3):
            param.grad = Tensor(np.cos(np.arange(100003) + step).astype(np.float32))
            optimizer.step()
        return param.array

    expected = result(1)
    for threads in (2, 3):
        assert_bitwise_equal(result(threads), expected, f"{threads} threads")


def test_large_and_small_parameters_are_shared_by_threads(backend: Backend) -> None:
    sizes = [0, 1, 63, 40009, 5, 769, 768, 767, 200, 30000, 17, 0]

    def result(threads: int) -> list[Array]:
        _cpu.set_thread_count(threads)
        params = [Tensor(np.linspace(-1, 1, size, dtype=np.float32), requires_grad=True) for size in sizes]
        optimizer = optim.Adam(params, lr=0.1, max_grad_norm=1.0, l1_decay=0.01)
        for param in params:
            param.grad = Tensor(np.sin(1 + np.arange(param.array.size)).astype(np.float32))
        optimizer.step()
        return [param.array for param in params]

    expected = result(1)
    for before, after in zip(sizes, expected, strict=True):
        moved = np.abs(after - np.linspace(-1, 1, before))
        assert (moved > 0.05).all(), before  # each by 0.1 at first, no element left out or moved twice, l1 a little
        assert (moved < 0.15).all(), before
    for threads in (2, 3, 4, 7):
        for before, after, wanted in zip(sizes, result(threads), expected, strict=True):
            assert_bitwise_equal(after, wanted, f"{before} on {threads} threads")


def test_groups_have_options_of_their_own() -> None:
    first, second = minidl.ones(3, requires_grad=True), minidl.ones(3, requires_grad=True)
    optimizer = optim.SGD([{"params": [first]}, {"params": second, "lr": 0.5, "name": "head"}], lr=0.25)
    first.grad = second.grad = minidl.ones(3)
    optimizer.step()
    assert first.tolist() == [0.75] * 3
    assert second.tolist() == [0.5] * 3
    assert optimizer.param_groups[1]["name"] == "head"
    assert "lr: 0.5" in repr(optimizer)


def test_a_new_learning_rate_reaches_the_kernels_array() -> None:
    param = minidl.ones(1, requires_grad=True)
    optimizer = optim.AdamW([param], lr=0.25)
    param.grad = minidl.ones(1)
    optimizer.step()
    group = optimizer.param_groups[0]
    schedule = group.schedule(param.backend)
    group["lr"] = 0.125
    group.update(betas=(0.5, 0.75), weight_decay=0.5)
    assert schedule is group.schedule(param.backend)
    assert schedule.tolist() == [0.125, 0.5, 0.5]


def test_one_group_may_mix_number_types_and_layouts() -> None:
    single, double = minidl.ones(3, requires_grad=True), minidl.ones(3, dtype=minidl.float64, requires_grad=True)
    memory = np.ones((4, 3), np.float32)
    transposed = Tensor(memory.T, requires_grad=True)
    optimizer = optim.SGD([single, double, transposed], lr=0.5, momentum=0.5)
    for param in (single, double):
        param.grad = minidl.ones(3, dtype=param.dtype)
    transposed.grad = Tensor(np.arange(12, dtype=np.float32).reshape(4, 3).T)
    optimizer.step()
    assert single.tolist() == double.tolist() == [0.5] * 3
    np.testing.assert_array_equal(memory, 1 - 0.5 * np.arange(12).reshape(4, 3))
    assert transposed.array.base is memory


def test_max_grad_norm_clips_the_group_before_the_step() -> None:
    params = [minidl.zeros(2, requires_grad=True), minidl.zeros(1, dtype=minidl.float64, requires_grad=True)]
    optimizer = optim.SGD(params, lr=1.0, max_grad_norm=1.0)
    params[0].grad, params[1].grad = minidl.tensor([2.0, 3.0]), minidl.tensor([6.0], dtype=minidl.float64)
    optimizer.step()  # the norm is 7
    np.testing.assert_allclose(params[0].detach().numpy(), [-2 / 7, -3 / 7], rtol=1e-6)
    np.testing.assert_allclose(params[1].detach().numpy(), [-6 / 7], rtol=1e-6)


def test_step_returns_what_the_closure_computes() -> None:
    param = minidl.tensor([2.0], requires_grad=True)
    optimizer = optim.SGD([param], lr=0.25)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (param * param).sum()
        loss.backward()
        return loss

    with minidl.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 4.0
    assert param.item() == 1.0


def test_a_step_counts_as_a_change_in_place() -> None:
    param = minidl.ones(3, requires_grad=True)
    loss = (param * param).sum()
    param.grad = minidl.ones(3)
    optim.SGD([param], lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_zero_grad_drops_or_fills() -> None:
    param = minidl.ones(2, requires_grad=True)
    optimizer = optim.SGD([param])
    param.grad = minidl.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert param.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert param.grad is None


# ---- checkpoints


@each_case
def test_a_loaded_state_continues_bit_by_bit(kind: type[optim.Optimizer], rule: Rule, options: dict[str, Any]) -> None:
    params = make()
    optimizer = kind(params, **options)
    run(optimizer, params, range(10))
    saved = optimizer.state_dict()
    json.dumps(saved["param_groups"])
    saved = copy.deepcopy(saved)
    resumed_params = [Tensor(param.array.copy(), requires_grad=True) for param in params]
    resumed = kind(resumed_params)
    resumed.load_state_dict(saved)
    run(optimizer, params, range(10, STEPS))
    run(resumed, resumed_params, range(10, STEPS))
    for param, again in zip(params, resumed_params, strict=True):
        assert_bitwise_equal(again.array, param.array, "parameter")


def test_state_dict_has_pytorchs_structure() -> None:
    params = make()
    optimizer = optim.Adam(params, amsgrad=True)
    run(optimizer, params, range(3))
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["params"] == [0, 1, 2, 3]
    assert set(saved["state"]) == {0, 1, 2, 3}
    assert set(saved["state"][0]) == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    assert [saved["state"][i]["step"].item() for i in range(4)] == [3, 3, 3, 2]
    assert optim.SGD(params).state_dict()["state"] == {}


def test_momentum_of_pytorch_is_taken_over() -> None:
    # PyTorch's SGD keeps no count: a buffer that is there is past its first step.
    param = minidl.zeros(1, requires_grad=True)
    optimizer = optim.SGD([param], lr=1.0, momentum=0.5, dampening=0.5)
    saved = optimizer.state_dict()
    saved["state"] = {0: {"momentum_buffer": minidl.ones(1)}}
    optimizer.load_state_dict(saved)
    param.grad = minidl.ones(1)
    optimizer.step()
    assert param.item() == -1.0


def test_the_gradients_norm_of_an_old_state_is_taken_over_under_its_new_name() -> None:
    param = minidl.zeros(1, requires_grad=True)
    saved = optim.SGD([param], max_grad_norm=2.0).state_dict()
    group = saved["param_groups"][0]
    group["max_norm"] = group.pop("max_grad_norm")
    optimizer = optim.SGD([param], max_norm=5.0)
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["max_grad_norm"] == 2.0
    assert optimizer.param_groups[0]["max_norm"] == 5.0


def test_a_state_that_does_not_fit_is_refused() -> None:
    optimizer = optim.Adam(make())
    run(optimizer, optimizer.param_groups[0]["params"], range(1))
    with pytest.raises(ValueError, match=r"Adam: the loaded state has groups of \[4\] parameters"):
        optim.Adam([minidl.ones(1, requires_grad=True)]).load_state_dict(optimizer.state_dict())
    others = [Tensor(np.zeros((2, 2), np.float32), requires_grad=True) for _ in SHAPES]
    with pytest.raises(ValueError, match=r"state 'exp_avg' of parameter 0 must have shape \(2, 2\), got \(37, 5\)"):
        optim.Adam(others).load_state_dict(optimizer.state_dict())


# ---- errors


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (optim.SGD, {"lr": -1}, "SGD: lr must be at least 0"),
        (optim.SGD, {"lr": math.nan}, "SGD: lr must be at least 0"),
        (optim.SGD, {"nesterov": True}, "SGD: nesterov needs a momentum"),
        (optim.Adam, {"betas": (0.9, 1.0)}, r"Adam: betas must lie in \[0, 1\), got \(0.9, 1.0\)"),
        (optim.AdamW, {"weight_decay": -1}, "AdamW: weight_decay must be at least 0"),
        (optim.Adadelta, {"rho": 1.5}, r"Adadelta: rho must lie in \[0, 1\], got 1.5"),
        (optim.RMSprop, {"eps": -1}, "RMSprop: eps must be at least 0"),
        (optim.Adam, {"differentiable": True}, "differentiable=True is not supported"),
    ],
)
def test_options_outside_their_range_are_refused(
    kind: type[optim.Optimizer], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind([minidl.ones(1, requires_grad=True)], **options)


def test_parameters_that_cannot_be_optimized_are_refused() -> None:
    param = minidl.ones(1, requires_grad=True)
    with pytest.raises(TypeError, match="params must be an iterable of tensors or of dicts, got Tensor"):
        optim.SGD(param)
    with pytest.raises(ValueError, match="SGD: params is empty"):
        optim.SGD([])
    with pytest.raises(ValueError, match="appears twice"):
        optim.SGD([param, param])
    with pytest.raises(ValueError, match="is not a leaf and cannot be optimized"):
        optim.SGD([param * 2])
    with pytest.raises(TypeError, match="params must hold tensors, got str"):
        optim.SGD(["weight"])
    with pytest.raises(TypeError, match="must be float32 or float64"):
        optim.SGD([minidl.ones(1, dtype=minidl.int64)])
    with pytest.raises(TypeError, match="unexpected keyword argument 'learning_rate'"):
        optim.SGD([param], learning_rate=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must have the key 'params'"):
        optim.SGD([param]).add_param_group({"lr": 1})
    assert optim.Adam([param], foreach=True, fused=None, capturable=True).defaults["lr"] == 1e-3


def test_step_kernels_refuse_missing_arrays() -> None:
    x, schedule = np.ones(3, np.float32), np.zeros(3)
    with pytest.raises(ValueError, match="list 0 of counters must not be empty"):
        _cpu.adam_step([x], [x], [[x], [x], []], [[]], schedule, 0.9, 1e-8, False, False)
    with pytest.raises(ValueError, match="states must hold 3 lists of arrays, got 1"):
        _cpu.adam_step([x], [x], [[x]], [[np.zeros(1)]], schedule, 0.9, 1e-8, False, False)
    with pytest.raises(ValueError, match="schedule must have 3 elements"):
        _cpu.sgd_step([x], [x], [[]], [[]], np.zeros(4), 0.0, False, False)
