"""Networks, data and short runs that the tests of training share."""

import os
import signal

import numpy as np

import minidl
from minidl import nn, optim
from minidl.data import DataLoader, PixelDataset, load_images
from minidl.tensor import Tensor
from minidl.training import Callback, Training, fit

DIGITS = load_images("digits")


def digits_loader(batch_size: int = 64, generator: minidl.Generator | None = None) -> DataLoader:
    images = minidl.from_numpy(DIGITS.train_images.reshape(len(DIGITS.train_images), -1))
    dataset = PixelDataset(images, minidl.from_numpy(DIGITS.train_labels), 1 / 16)
    return DataLoader(dataset, batch_size, shuffle=True, generator=generator)


def held_out() -> DataLoader:
    images = minidl.from_numpy(DIGITS.test_images.reshape(len(DIGITS.test_images), -1))
    return DataLoader(PixelDataset(images, minidl.from_numpy(DIGITS.test_labels), 1 / 16), 128)


def build(seed: int = 0, lr: float = 0.01) -> dict:
    """A small network with everything that has state: batch norm, dropout, momentum, a schedule."""
    minidl.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 10))
    optimizer = optim.AdamW(model.parameters(), lr=lr)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=4 * 23)
    return {"model": model, "optimizer": optimizer, "scheduler": schedule}


def train(epochs: int = 4, seed: int = 0, loader: DataLoader | None = None, **options: object):
    parts = build(seed)
    model = parts["model"]
    history = fit(train_data=loader or digits_loader(), epochs=epochs, **parts, **options)
    return history, model


def make_model() -> nn.Sequential:
    """A network for `make_data`, with state and random numbers of its own."""
    return nn.Sequential(
        nn.Linear(12, 24),
        nn.BatchNorm1d(24),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(24, 16),
        nn.Tanh(),
        nn.Linear(16, 5),
    )


def make_data(count: int = 70) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(0)
    x = random.standard_normal((count, 12), dtype=np.float32)
    return minidl.tensor(x), minidl.tensor(random.integers(0, 5, count))


def without_capture(run: Training) -> Training:
    """Every step of it runs in Python."""
    run._steps.captured = run._steps._compute
    run._steps._source.stacks = lambda *arguments: None
    return run


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all(minidl.equal(ours[key], theirs[key]) for key in ours)


class StopAt(Callback):
    """Does what Ctrl-C does, after one step."""

    def __init__(self, epoch: int, step: int) -> None:
        self.place = (epoch, step)

    def on_batch_end(self, training) -> None:
        if (training.epoch, training.step) == self.place:
            os.kill(os.getpid(), signal.SIGINT)
