"""Builds what a RunConfig describes: data, model, optimizer, schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import nn, ops, optim
from minidl.cli.config import ACTIVATIONS, OPTIMIZERS, RunConfig
from minidl.data import DataLoader, ImageSet, PixelDataset
from minidl.generator import Generator
from minidl.optim import lr_scheduler
from minidl.optim.optimizer import Optimizer

EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Loaders:
    train: DataLoader
    val: DataLoader | None
    test: DataLoader


def build_model(config: RunConfig, inputs: int, classes: int) -> nn.Sequential:
    """Linear, batch norm, activation and dropout per hidden layer, then a linear layer to the classes."""
    layers: list[nn.Module] = []
    for width in config.hidden:
        layers.append(nn.Linear(inputs, width, bias=not config.batch_norm))
        if config.batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(getattr(nn, ACTIVATIONS[config.activation])())
        if config.dropout > 0:
            layers.append(nn.Dropout(config.dropout))
        inputs = width
    layers.append(nn.Linear(inputs, classes))
    model = nn.Sequential(*layers)
    if config.init != "default":
        init = getattr(nn.init, config.init.replace("-", "_") + "_")
        model.apply(lambda module: init(module.weight) if isinstance(module, nn.Linear) else None)
    return model


def build_optimizer(config: RunConfig, model: nn.Module) -> Optimizer:
    """Weight decay acts on matrices only: biases and batch norm are not pulled to 0."""
    name, _, arguments = OPTIMIZERS[config.optimizer]
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer: Optimizer = getattr(optim, name)(groups, lr=config.lr, **arguments)
    return optimizer


def build_schedule(config: RunConfig, optimizer: Optimizer, steps: int) -> Any:
    """A scheduler that steps after every batch, or None for a constant learning rate."""
    if config.schedule == "one-cycle":
        cycles_momentum = config.optimizer in ("sgd", "rmsprop", "adam", "adamw")
        return lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=steps, cycle_momentum=cycles_momentum)
    if config.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if config.schedule == "linear":
        return lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.01, total_iters=steps)
    return None


def build_loaders(config: RunConfig, images: ImageSet, device: Any = "cpu") -> Loaders:
    """Shuffled training batches, validation batches where there is a split, test batches."""
    scale, shift = pixel_scale(images)

    def dataset(pixels: Any, labels: Any) -> PixelDataset:
        flat = ops.from_numpy(pixels.reshape(len(pixels), -1))
        return PixelDataset(flat.to(device), ops.from_numpy(labels).to(device), scale, shift)

    train_images, train_labels, val = images.train_images, images.train_labels, None
    if config.val_fraction > 0:
        order = ops.randperm(len(train_labels), generator=Generator().manual_seed(config.seed)).numpy()
        count = max(1, round(config.val_fraction * len(order)))
        held_out, kept = np.sort(order[:count]), np.sort(order[count:])
        val = DataLoader(dataset(train_images[held_out], train_labels[held_out]), EVALUATION_BATCH)
        train_images, train_labels = train_images[kept], train_labels[kept]
    if len(train_labels) < config.batch_size:
        raise ValueError(f"--batch-size must be at most the {len(train_labels)} training images")
    # A last batch of one sample has no variance for batch norm to divide by.
    drop_last = config.batch_norm and len(train_labels) % config.batch_size == 1
    train = DataLoader(dataset(train_images, train_labels), config.batch_size, shuffle=True, drop_last=drop_last)
    return Loaders(train, val, DataLoader(dataset(images.test_images, images.test_labels), EVALUATION_BATCH))


def pixel_scale(images: ImageSet) -> tuple[float, float]:
    """scale and shift that give the training pixels mean 0 and spread 1."""
    return 1 / (images.pixel_max * images.std), -images.mean / images.std
