"""Anomaly mode: it names the operation, the layer and the line where nan came up first, and leaves all else alone."""

import re
import threading

import numpy as np
import pytest

import minidl
from minidl import autograd, nn, optim
from minidl.data import DataLoader, TensorDataset
from minidl.training import NonFiniteLossError, fit


@pytest.fixture(autouse=True)
def mode_is_off_at_the_end():
    yield
    assert not minidl.is_anomaly_enabled()


def line_of(text: str) -> int:
    """The line of this file that ends in a comment."""
    with open(__file__) as file:
        return next(number for number, line in enumerate(file, 1) if line.rstrip().endswith("# " + text))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, x):
        hidden = self.body(x)
        return hidden.log()  # the logarithm


def block(bias: float) -> nn.Sequential:
    model = nn.Sequential(Block(), nn.Linear(2, 2))
    with minidl.no_grad():
        model[0].body[2].bias.fill_(bias)
        model[0].body[2].weight.fill_(0.0)
    return model


def test_forward_names_operation_layer_and_line() -> None:
    with autograd.detect_anomaly(), pytest.raises(FloatingPointError) as caught:
        block(-1.0)(minidl.ones(2, 3))
    text = str(caught.value)
    assert text.startswith("log: its output of shape (2, 2) holds nan, which its inputs do not; layer '0', Block; ")
    assert f"called at test_anomaly.py:{line_of('the logarithm')} in forward: return hidden.log()" in text


def test_layers_are_not_fused_while_they_are_watched() -> None:
    model = block(1.0)
    with minidl.no_grad():
        model[0].body[0].weight.fill_(float("nan"))
    with autograd.detect_anomaly(), pytest.raises(FloatingPointError) as caught:
        model(minidl.ones(2, 3))
    assert "linear: its output of shape (2, 4) holds nan, and so does its input 1" in str(caught.value)
    assert "layer '0.body.0', Linear(in_features=3, out_features=4, bias=True)" in str(caught.value)
    assert len(model[0].body.steps()) == 2


def test_backward_names_the_line_of_the_forward_call() -> None:
    x = minidl.tensor([0.0, 1.0], requires_grad=True)
    with autograd.set_detect_anomaly(True):
        loss = (x.sqrt() * minidl.tensor([0.0, 1.0])).sum()  # the root
        with pytest.raises(FloatingPointError) as caught:
            loss.backward()
    text = str(caught.value)
    assert text.startswith("sqrt: the gradient of its input 0, of shape (2,), holds nan, which that of its output does")
    assert f"called at test_anomaly.py:{line_of('the root')} in test_backward_names_the_line_of_the_for" in text
    assert x.grad is None


def test_backward_of_a_layer_names_it() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Sigmoid())
    with minidl.no_grad():
        model[0].weight.fill_(1.0)
    with autograd.detect_anomaly():
        out = model(minidl.ones(1, 1))
        with pytest.raises(FloatingPointError) as caught:
            out.backward(minidl.full((1, 1), float("nan")))
    assert "sigmoid: the gradient of its input 0, of shape (1, 1), holds nan, and so does that of its output" in str(
        caught.value
    )
    assert "layer '1', Sigmoid()" in str(caught.value)


def test_a_graph_from_before_the_mode_is_checked_without_its_line() -> None:
    x = minidl.zeros(1, requires_grad=True)
    loss = (x.sqrt() * 0).sum()
    with autograd.detect_anomaly(), pytest.raises(FloatingPointError, match="switch the mode on before the forward"):
        loss.backward()


def test_functions_of_the_user_are_checked_too() -> None:
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad_out):
            return grad_out * float("nan")

    x = minidl.ones(3, requires_grad=True)
    with autograd.detect_anomaly(), pytest.raises(FloatingPointError, match="Wrong: the gradient of its input 0"):
        Wrong.apply(x).sum().backward()


def test_fused_gradients_of_the_loss_are_checked() -> None:
    logits = minidl.tensor([[float("inf"), 0.0]], requires_grad=True)
    with autograd.detect_anomaly(), pytest.raises(FloatingPointError, match="cross_entropy: its output"):
        nn.functional.cross_entropy(logits, minidl.tensor([0]))


def test_inf_and_what_is_not_recorded_are_no_anomalies() -> None:
    x = minidl.tensor([0.0, 1.0], requires_grad=True)
    with autograd.detect_anomaly():
        assert minidl.log(x).tolist() == [-float("inf"), 0.0]
        x.masked_fill(minidl.tensor([True, False]), -float("inf")).softmax(0).sum().backward()
        with minidl.no_grad():
            assert minidl.isnan(minidl.sqrt(x - 2)).all()
        assert minidl.isnan(minidl.sqrt(minidl.tensor([-1.0]))).all()


def test_a_healthy_step_computes_the_same_bits_with_the_mode_on() -> None:
    x, target = minidl.randn(16, 6), minidl.randint(0, 3, (16,))

    def step(is_on: bool) -> list:
        minidl.manual_seed(1)
        model = nn.Sequential(
            nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
        )
        with autograd.set_detect_anomaly(is_on):
            nn.functional.cross_entropy(model(x), target).backward()
        return [parameter.grad.numpy() for parameter in model.parameters()]

    for with_mode, without in zip(step(True), step(False), strict=True):
        np.testing.assert_array_equal(with_mode, without)


def test_mode_nests_and_goes_back_to_what_it_was() -> None:
    autograd.set_detect_anomaly(True)
    try:
        with autograd.set_detect_anomaly(False):
            assert not minidl.is_anomaly_enabled()
            with autograd.detect_anomaly():
                assert minidl.is_anomaly_enabled()
            assert not minidl.is_anomaly_enabled()
        assert minidl.is_anomaly_enabled()
    finally:
        autograd.set_detect_anomaly(False)


def test_captured_steps_run_eagerly_and_are_replayed_again_afterwards() -> None:
    weight = minidl.ones(2, requires_grad=True)
    calls = []

    @minidl.capture
    def step(x):
        calls.append(1)
        return (weight * x).sqrt().sum()

    for _ in range(3):
        step(minidl.ones(2))
    assert len(calls) == 2
    with autograd.detect_anomaly(), pytest.raises(FloatingPointError, match="sqrt: its output"):
        step(-minidl.ones(2))
    for _ in range(4):
        assert step(minidl.ones(2)).item() == 2
    assert len(calls) == 5


def test_fit_passes_on_what_the_mode_found() -> None:
    model = block(-1.0)
    data = DataLoader(TensorDataset(minidl.ones(4, 3), minidl.zeros(4).long()), 4)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with autograd.detect_anomaly(), pytest.raises(NonFiniteLossError, match=re.escape("log: its output")):
        fit(model, data, epochs=1, optimizer=optimizer)


def test_layers_are_those_of_the_own_thread() -> None:
    model = block(-1.0)
    inside, done = threading.Event(), threading.Event()

    class Waiting(nn.Module):
        def forward(self, x):
            inside.set()
            done.wait(10)
            return x

    def other() -> None:
        Waiting()(minidl.ones(1))

    with autograd.detect_anomaly():
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait(10)
        with pytest.raises(FloatingPointError) as caught:
            model[0](minidl.ones(2, 3))
        done.set()
        thread.join()
    assert "layer Block;" in str(caught.value)
    assert "Waiting" not in str(caught.value)
