"""The compiled part of the tape: what its objects hold and let go of, and what it refuses."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

import minidl
from minidl import Tensor, _tape, autograd, backends, nn


def recorded(x: Tensor, backward: object, name: str = "same") -> Tensor:
    return _tape.record(Tensor(x.array.copy(), x.backend), (x,), backward, name=name)  # type: ignore[arg-type]


def test_a_tensor_starts_with_nothing_but_its_array() -> None:
    array = np.ones(3, np.float32)
    for x in (Tensor(array), Tensor(array, backends.cpu), Tensor(data=array, backend=None, requires_grad=False)):
        assert x.array is array
        assert x.backend is backends.cpu
        assert x.grad is None
        assert x.grad_fn is None
        assert x.requires_grad is False
        assert x._version is None
    assert Tensor(array, backends.cpu, True).requires_grad is True
    assert Tensor([1, 2]).dtype == minidl.float32  # lists become float32 whatever they hold


@pytest.mark.parametrize("arguments", [(), (1, 2, 3, 4), (np.zeros(1), None, False, 0)])
def test_a_tensor_takes_one_to_three_arguments(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError, match="Tensor"):
        Tensor(*arguments)  # type: ignore[arg-type]


def test_requires_grad_is_a_bool_and_nothing_else() -> None:
    x = minidl.ones(2)
    with pytest.raises(TypeError, match="bool"):
        x.requires_grad = "yes"  # type: ignore[assignment]
    assert x.requires_grad is False


def test_tensors_are_collected_with_the_cycles_they_are_in() -> None:
    x = minidl.ones(2, requires_grad=True)
    y = recorded(x, lambda grad: (grad,))
    x.grad = y  # x -> y -> node -> x
    gone = [weakref.ref(x), weakref.ref(y)]
    del x, y
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_a_hundred_thousand_nodes_in_a_row_are_walked_and_let_go() -> None:
    x = minidl.ones((), requires_grad=True)
    y = x
    for _ in range(100_000):
        y = recorded(y, lambda grad: (grad,))
    y.backward(retain_graph=True)
    assert x.grad is not None
    assert x.grad.item() == 1
    del y  # each node holds the one before
    gc.collect()


def test_subclasses_copies_and_pickles_keep_their_type() -> None:
    weight = nn.Parameter(minidl.ones(2))
    for twin in (copy.deepcopy(weight), pickle.loads(pickle.dumps(weight))):
        assert type(twin) is nn.Parameter
        assert twin.requires_grad
        assert twin.tolist() == [1, 1]
        assert twin.array is not weight.array
    assert type(weight * 2) is Tensor


def test_fields_that_the_tape_relies_on_cannot_be_replaced() -> None:
    y = minidl.ones(2, requires_grad=True) * 2
    for field in ("sequence", "edges", "saved", "backward"):
        with pytest.raises(AttributeError):
            setattr(y.grad_fn, field, None)


def test_what_was_never_filled_breaks_nothing() -> None:
    x, y = Tensor.__new__(Tensor), minidl.ones(2, requires_grad=True)
    assert x.array is None
    assert x.backend is None
    node = autograd.Node()
    assert (node.edges, node.saved, node.backward, node.sequence) == ((), (), None, 0)
    with pytest.raises(AttributeError):
        _tape.step_operands([x], {}, (), ())
    y._node = node
    with pytest.raises(RuntimeError, match="already freed"):
        y.backward(minidl.ones(2))
    y._node = "a name"  # type: ignore[assignment]
    with pytest.raises(TypeError, match="the end of a graph must be a tensor, got str"):
        y.backward(minidl.ones(2))


def test_what_is_no_tensor_is_refused_by_name() -> None:
    x = minidl.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match=r"record: an input must be a tensor, got numpy\.ndarray"):
        _tape.record(x, (x.array,), lambda grad: (grad,))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the gradient of an output must be a tensor, got float"):
        _tape.run_backward((x,), (1.0,), None, False, False)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an output must be a tensor, got int"):
        _tape.run_backward((1,), (None,), None, False, False)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a gradient must be a tensor, got float"):
        recorded(x, lambda grad: (1.0,)).sum().backward()
    with pytest.raises(TypeError, match="derived from"):
        _tape.connect_tensor(dict)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [(), (None, None)])
def test_backward_answers_for_each_input(answer: tuple[None, ...]) -> None:
    x = minidl.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=f"one gradient for each of its 1 inputs, got {len(answer)}"):
        recorded(x, lambda grad: answer).sum().backward()
    with pytest.raises(TypeError, match="one gradient for each of its inputs"):
        recorded(x, lambda grad: 5).sum().backward()


def test_an_error_in_backward_leaves_recording_as_it_was() -> None:
    x = minidl.ones(2, requires_grad=True)

    def broken(grad: Tensor) -> tuple[Tensor]:
        assert not autograd.is_grad_enabled()
        raise ArithmeticError("broken")

    y = recorded(x, broken, "break")
    with pytest.raises(ArithmeticError, match="broken") as error:
        y.sum().backward()
    assert error.value.node is y.grad_fn  # type: ignore[attr-defined]
    assert autograd.is_grad_enabled()


def test_every_thread_records_by_its_own_switch() -> None:
    seen = []
    with minidl.no_grad():
        thread = threading.Thread(target=lambda: seen.append(autograd.is_grad_enabled()))
        thread.start()
        thread.join()
        assert not autograd.is_grad_enabled()
    assert seen == [True]


def test_backward_may_walk_another_graph_meanwhile() -> None:
    x, w = minidl.tensor([3.0], requires_grad=True), minidl.tensor([2.0], requires_grad=True)

    def walks(grad: Tensor) -> tuple[Tensor]:
        with minidl.enable_grad():
            (inner * inner).sum().backward()
        return (grad * 2,)

    inner = w * 5
    recorded(x, walks).sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    assert (x.grad.tolist(), w.grad.tolist()) == ([2.0], [100.0])  # d (5w)^2 / dw = 50 w


def test_the_gradient_of_a_loss_is_not_asked_for_a_one_that_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fill = backends.cpu.kernels.fill
    monkeypatch.setattr(backends.cpu.kernels, "fill", lambda *a: (calls.append(a), fill(*a)))
    labels = minidl.tensor([0, 2])
    for retain, fills in ((False, 0), (True, 1)):
        x = minidl.zeros(2, 3)
        x.requires_grad_()
        loss = minidl.ops.cross_entropy(x, labels)
        calls.clear()
        loss.backward(retain_graph=retain)
        assert len(calls) == fills
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), (np.full((2, 3), 1 / 3) - np.eye(3)[[0, 2]]) / 2, atol=1e-7)


def test_step_operands_gathers_arrays_by_role() -> None:
    first, second = (minidl.ones(n, requires_grad=True) for n in (2, 3))
    for x in (first, second):
        x.grad = minidl.zeros(x.array.size)
    state = {x: {"step": minidl.zeros(()), "average": minidl.ones(x.array.size)} for x in (first, second)}
    operands = _tape.step_operands([first, second], state, ("average", None), ("step",))
    assert operands is not None
    params, grads, states, counters = operands
    assert [a is x.array for a, x in zip(params, (first, second), strict=True)] == [True, True]
    assert [a is x.grad.array for a, x in zip(grads, (first, second), strict=True)] == [True, True]  # type: ignore[union-attr]
    assert [len(arrays) for arrays in (*states, *counters)] == [2, 0, 2]
    assert states[0][1] is state[second]["average"].array
    assert counters[0][0] is state[first]["step"].array
    del state[second]["average"]
    assert _tape.step_operands([first, second], state, ("average", None), ("step",)) is None
    assert _tape.step_operands([first], {}, (None,), (None,)) == ([first.array], [first.grad.array], [[]], [[]])  # type: ignore[union-attr]
    second.grad = None
    with pytest.raises(TypeError, match="the gradient of a parameter must be a tensor, got NoneType"):
        _tape.step_operands([second], state, (), ())


def test_changes_are_counted_for_all_views_of_one_memory() -> None:
    x, y = Tensor(np.ones(2)), Tensor(np.ones(2))
    view = x.detach()
    _tape.note_changes([x, y])
    _tape.note_changes([view])
    assert (x._version, view._version, y._version) == ([2], [2], [1])
