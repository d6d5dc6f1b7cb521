"""How long runs will take: their steps and operations, and what this machine takes for each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from minidl import generator, nn, ops, optim
from minidl.capture import capture
from minidl.nn import functional
from minidl.tensor import Tensor


@dataclass(frozen=True)
class Cost:
    """Steps of an optimizer, and floating-point operations of all matrix products."""

    steps: float = 0.0
    flops: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.steps + other.steps, self.flops + other.flops)


def training_cost(widths: Sequence[int], batch_size: int, steps: float, evaluated: float = 0.0) -> Cost:
    """Of a multilayer perceptron: `steps` of forward and backward pass, and forward passes of `evaluated` samples.

    A multiply-add is two operations; backward takes as many for the weights' gradients and, but for the first layer,
    for the inputs'.

    >>> training_cost((784, 10), batch_size=100, steps=1).flops
    3136000.0
    """
    layers = list(itertools.pairwise(widths))
    forward = 2.0 * sum(a * b for a, b in layers)
    backward = 2 * forward - 2.0 * layers[0][0] * layers[0][1]
    return Cost(steps, steps * batch_size * (forward + backward) + evaluated * forward)


@dataclass(frozen=True)
class Pace:
    """Seconds that a step takes beside its matrix products, and operations a second within them."""

    seconds_per_step: float
    flops_per_second: float

    def seconds(self, cost: Cost) -> float:
        """What a run of this cost takes, roughly: batch norm, dropout and slow activations are not counted."""
        return cost.steps * self.seconds_per_step + cost.flops / self.flops_per_second


def measure_pace(device: str = "cpu", seconds: float = 0.2) -> Pace:
    """Trains a tiny and a middle-sized network for a moment; the random state is as before afterwards."""
    state = generator.get_rng_state()
    try:
        tiny = _seconds_per_step((16, 16, 10), 16, device, seconds / 2)
        widths, batch_size = (784, 256, 128, 10), 128
        middle = _seconds_per_step(widths, batch_size, device, seconds / 2)
    finally:
        generator.set_rng_state(state)
    flops = training_cost(widths, batch_size, 1).flops
    return Pace(tiny, flops / max(middle - tiny, 0.1 * middle))


def _seconds_per_step(widths: Sequence[int], batch_size: int, device: str, seconds: float) -> float:
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(*itertools.chain(*((layer, nn.ReLU()) for layer in layers[:-1])), layers[-1]).to(device)
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x = ops.randn(batch_size, widths[0]).to(device)
    target = ops.randint(widths[-1], (batch_size,)).to(device)

    @capture
    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        step().item()
        count += 1
    return (time.perf_counter() - started) / count
