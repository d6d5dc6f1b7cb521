"""The ends of a network: which activation its last layer has for which kind of target, and which loss goes with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minidl import ops
from minidl.nn import functional
from minidl.tensor import Tensor


@dataclass(frozen=True)
class Head:
    """What a task wants of the last layer.

    `loss(output, target)` takes the output before its activation and is a mean over the batch; it contains the
    activation where that is numerically safer. `expected` turns targets into what a perfect activation would be.
    """

    task: str
    activation: str
    loss_name: str
    activate: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    expected: Callable[[Tensor, int], Tensor]
    gradient_factor: float = 1.0


def _as_they_are(target: Tensor, outputs: int) -> Tensor:
    return target


HEADS = {
    "binary": Head(
        "binary",
        "sigmoid",
        "binary cross-entropy",
        ops.sigmoid,
        functional.binary_cross_entropy_with_logits,
        _as_they_are,
    ),
    "multi-class": Head(
        "multi-class",
        "softmax",
        "cross-entropy",
        lambda output: functional.softmax(output, 1),
        functional.cross_entropy,
        lambda target, outputs: ops.one_hot(target, outputs).float(),
    ),
    "regression": Head(
        "regression", "identity", "squared error", lambda output: output, functional.mse_loss, _as_they_are, 2.0
    ),
}


def gradient_gap(head: Head, output: Tensor, target: Tensor) -> float:
    """How far the gradient of a sample's loss, by autograd, is from factor * (activation - expected) at the most.

    For all three heads the loss belongs to the activation such that nothing else is left: the derivative of the one
    cancels that of the other (Bishop 2006, section 4.3.6). The factor is 2 for the squared error, else 1.

    >>> output, target = ops.tensor([[2.0], [-1.0]]), ops.tensor([[1.0], [0.0]])
    >>> gradient_gap(HEADS["binary"], output, target) < 1e-6
    True
    """
    leaf = output.detach().clone().requires_grad_()
    loss = head.loss(leaf, target)
    (loss * len(leaf)).backward()
    if leaf.grad is None:
        raise RuntimeError(f"{head.loss_name}: the loss does not depend on the output")
    expected = head.expected(target, output.shape[1])
    wanted = head.gradient_factor * (head.activate(leaf.detach()) - expected)
    return float((leaf.grad - wanted).abs().max().item())


def predict(head: Head, output: Tensor) -> npt.NDArray[np.float32]:
    """A number per sample: the probability of class 1, the number of the likeliest class, or the value."""
    activated = head.activate(output)
    numbers: npt.NDArray[np.float32] = activated.detach().cpu().numpy()
    return numbers.argmax(1).astype(np.float32) if numbers.shape[1] > 1 else numbers[:, 0]
