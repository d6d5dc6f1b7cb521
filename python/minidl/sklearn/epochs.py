"""Passes over the training data: batches gathered by kernels within a captured step, the loss, alpha's penalty."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import ops
from minidl.autograd import enable_grad
from minidl.capture import capture
from minidl.data import TensorDataset
from minidl.generator import default_generator
from minidl.ops.gradient_clipping import squared_norm
from minidl.sklearn.network import Array, Network
from minidl.tensor import Tensor
from minidl.training.interrupt import InterruptFlag


class Loss:
    """What a step makes small, by the output's activation: the mean over samples, each with its weight, of the
    cross-entropy (softmax), the sum over outputs of the binary cross-entropy (logistic), or half the sum over outputs
    of the squared error (identity)."""

    def __init__(self, out_activation: str, outputs: int) -> None:
        functions: dict[str, tuple[Callable[..., Tensor], float, float]] = {
            "softmax": (ops.cross_entropy, 1.0, 1.0),
            "logistic": (ops.binary_cross_entropy_with_logits, 1.0, float(outputs)),
            "identity": (ops.mse_loss, 0.5, 0.5 * outputs),
        }
        self.function, self.scale, self.scale_of_mean = functions[out_activation]

    def __call__(self, output: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """target is what the function takes, weight (samples, 1) or None; the weighted mean divides by their sum."""
        if weight is None:
            mean = self.function(output, target)
            return mean if self.scale_of_mean == 1 else ops.mul(mean, self.scale_of_mean)
        losses = self.function(output, target, reduction="none").reshape(len(output), -1)
        weighted = ops.div(ops.sum(ops.mul(losses, weight)), ops.sum(weight))
        return weighted if self.scale == 1 else ops.mul(weighted, self.scale)


class Epochs:
    """Runs the network's optimizer over chosen rows of the data, pass by pass.

    Args:
        network: with an optimizer.
        loss: see Loss.
        x, target, weight: arrays of all samples; weight may be None.
        rows: which samples to learn from; as scikit-learn does, each pass mixes the order of the one before.
        alpha: adds alpha / (2 s) times the sum of the squared weights to the loss of a batch of s samples, or of the
            weight s. "adamw" takes alpha / s as decoupled weight decay instead, which is no part of the loss.
        batch_size: samples of a step; the last batch may be smaller.
        shuffle: whether each pass has a new order.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        x: Array,
        target: Array,
        weight: Array | None,
        rows: Array,
        alpha: float,
        batch_size: int,
        shuffle: bool,
    ) -> None:
        self.network = network
        self.loss = loss
        self.order = rows
        self.weight = weight
        self.alpha = alpha
        self.shuffle = shuffle
        self.bounds = batch_bounds(len(rows), batch_size, 2 if network.architecture.batch_norm else 1)
        self.has_penalty = alpha > 0 and network.solver != "adamw"
        self.matrices = network.optimizer.param_groups[0]
        target_tensor = network.tensor(target) if target.dtype.kind == "f" else ops.from_numpy(target)
        parts = [network.tensor(x), target_tensor.to(network.device)]
        self.data = TensorDataset(*parts, *([] if weight is None else [network.tensor(weight.reshape(-1, 1))]))
        self.step = capture(self._compute_step, strict=False)

    def _compute_step(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """(loss without the penalty, sum of the squared weights before the step)."""
        x, target, *weight = self.data.get_batch(index)
        optimizer = self.network.optimizer
        optimizer.zero_grad()
        loss = self.loss(self.network.model(x), target, weight[0] if weight else None)
        loss.backward()
        squares = None
        if self.has_penalty:
            matrices = self.matrices["params"]
            squares = Tensor(squared_norm(matrices), matrices[0].backend)
        optimizer.step()
        return loss, squares

    def run(self, random_state: np.random.RandomState, interrupt: InterruptFlag) -> float | None:
        """One pass; the mean loss over its samples, the penalty included, or None where Ctrl-C ended it.

        The order, and where there is dropout the seed of the default generator, are drawn from `random_state`.
        """
        if self.shuffle:
            order = np.arange(len(self.order))
            random_state.shuffle(order)
            self.order = self.order[order]
        if self.network.architecture.dropout:
            default_generator.manual_seed(int(random_state.randint(2**31)))
        index = ops.from_numpy(self.order).to(self.network.device)
        sizes = self._batch_weights()
        losses, squares = [], []
        self.network.model.train()
        with enable_grad():
            for (begin, end), size in zip(self.bounds, sizes, strict=True):
                if self.matrices["weight_decay"] != self.alpha / size:
                    self.matrices["weight_decay"] = self.alpha / size
                loss, squared = self.step(index[begin:end])
                losses.append(self._kept(loss))
                squares.append(0.0 if squared is None else self._kept(squared))
                if interrupt.is_set:
                    return None
        total = sum(float(loss) * size for loss, size in zip(losses, sizes, strict=True))
        return (total + 0.5 * self.alpha * sum(float(squared) for squared in squares)) / sum(sizes)

    def _kept(self, number: Tensor) -> Any:
        """A result of a step, whose memory the next one writes to; a GPU is not waited for."""
        return number.item() if self.network.device == "cpu" else number.clone()

    def _batch_weights(self) -> list[float]:
        """For each batch of the pass the sum of its samples' weights, or their number."""
        if self.weight is None:
            return [float(end - begin) for begin, end in self.bounds]
        begins = [begin for begin, _ in self.bounds]
        sums: list[float] = np.add.reduceat(self.weight[self.order], begins, dtype=np.float64).tolist()
        return sums


def batch_bounds(samples: int, batch_size: int, least: int) -> list[tuple[int, int]]:
    """Where each batch of a pass begins and ends; a last one of fewer than `least` samples joins the one before.

    >>> batch_bounds(7, 3, 1)
    [(0, 3), (3, 6), (6, 7)]
    >>> batch_bounds(7, 3, 2)
    [(0, 3), (3, 7)]
    """
    ends = [*range(batch_size, samples, batch_size), samples]
    if len(ends) > 1 and ends[-1] - ends[-2] < least:
        del ends[-2]
    return list(itertools.pairwise([0, *ends]))
