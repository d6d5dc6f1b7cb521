"""A whole training step: its memory, its reproducibility, and what the result does not depend on."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest

import minidl
from minidl import _cpu, nn, optim
from minidl.backends import Backend


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    """Memory must come back by reference counts alone: a cycle would hold every step's arrays until a collection."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def make_model() -> nn.Sequential:
    layers = [nn.Linear(20, 33), nn.BatchNorm1d(33), nn.GELU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(33, 17), nn.LayerNorm(17), nn.Tanh(), nn.Linear(17, 5))


def train(steps: int, threads: int = 2, batch: int = 64) -> list[float]:
    minidl.manual_seed(3)
    minidl.set_num_threads(threads)
    model = make_model()
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    random = np.random.default_rng(0)
    x = minidl.tensor(random.standard_normal((batch, 20), dtype=np.float32))
    labels = minidl.tensor(random.integers(0, 5, batch))
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.usefixtures("no_garbage_collector")
def test_memory_is_flat_over_1000_steps() -> None:
    in_use = []
    for steps in (10, 1000):
        train(steps)
        in_use.append(_cpu.pooled_bytes()[0])
    assert in_use[0] == in_use[1]
    before = sum(_cpu.pooled_bytes())
    train(1000)
    assert sum(_cpu.pooled_bytes()) == before, "a warm pool must serve every further step"


def test_equal_seeds_train_bitwise_alike(backend: Backend) -> None:
    assert train(30) == train(30)


def test_training_does_not_depend_on_the_number_of_threads(backend: Backend) -> None:
    # 4096 rows: enough for every kernel of the step to be split.
    assert train(5, threads=1, batch=4096) == train(5, threads=2, batch=4096) == train(5, threads=3, batch=4096)


def test_the_loss_falls(backend: Backend) -> None:
    losses = train(200)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] / 4
