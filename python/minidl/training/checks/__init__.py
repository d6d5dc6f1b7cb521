"""diagnose(): looks for the mistakes that training most often fails by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from minidl.nn import functional
from minidl.tensor import Tensor
from minidl.training.checks import data as of_data, network, settings
from minidl.training.checks.examination import examine
from minidl.training.checks.finding import Finding, Findings
from minidl.training.evaluation import Loss
from minidl.training.preserved import untouched

__all__ = ["Finding", "Findings", "diagnose"]


def diagnose(
    model: Any,
    batch: Any,
    loss: Loss | None = None,
    optimizer: Any = None,
    *,
    step: Callable[[], Any] | None = None,
    train_data: Iterable[Any] | None = None,
) -> Findings:
    """Runs one batch through model and loss, backward included, and returns what looks wrong, one sentence each.

    Names of findings: "input-scale", "input-integers", "input-not-finite"; "labels" (one-hot, float, out of range,
    shapes that broadcast); "activation-before-loss"; "dead-relu" (more than 75 % of the units are 0 for the whole
    batch), "saturated" (more than 90 % of the outputs where the derivative is below 1 % of its maximum; both for
    batches of at least 16); "vanishing-gradient", "exploding-gradient" (the norm of the output's gradient at the first
    layer is below 1e-4, or above 1e3, of that at the last), "no-gradient"; "equal-weights", "unused-parameters",
    "no-graph", "not-finite", "batch-norm-batch-1"; and "model" or "loss" with what these raise.

    With an optimizer: "not-optimized", and "evaluation-mode" for dropout and batch norm that are not in training mode.
    With `step`, a function that takes one whole training step on a fixed batch: "zero-grad" where gradients add up.
    With `train_data`: "learning-rate" where it is above 10 or below 1/100 of what `lr_find` suggests.

    The model is measured in the mode that it is in; parameters, buffers, gradients, the optimizer and the default
    random generator are bitwise as before afterwards.

    Args:
        batch: (x, target).
        loss: `loss(model(x), target)` is a scalar; cross-entropy if None.

    Raises ValueError for a `step` or `train_data` without an optimizer, TypeError for another batch.

    >>> import minidl
    >>> from minidl import nn
    >>> _ = minidl.manual_seed(0)
    >>> batch = minidl.randn(64, 20), minidl.randint(0, 3, (64,))
    >>> model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3), nn.Softmax(1))
    >>> print(minidl.diagnose(model, batch))  # doctest: +ELLIPSIS
    error: layer '3' is a softmax before the loss: cross-entropy takes the softmax itself: leave it out...
    >>> print(minidl.diagnose(model[:3], batch))
    nothing found
    """
    if optimizer is None and (step is not None or train_data is not None):
        raise ValueError("diagnose: step and train_data need the optimizer, too, whose state is put back afterwards")
    if not isinstance(batch, tuple | list) or [isinstance(part, Tensor) for part in batch] != [True, True]:
        raise TypeError(f"diagnose: batch must be a pair of tensors (x, target), got {type(batch).__name__}")
    x, target = batch
    loss = loss or functional.cross_entropy
    findings = [*of_data.check_input(x), *settings.check_batch_size(model, x)]
    if optimizer is not None:
        findings += [*settings.check_optimizer(model, optimizer), *settings.check_modes(model)]
    findings += network.check_weights(model)
    if any(finding.severity == "error" for finding in findings if finding.name != "equal-weights"):
        return Findings(findings)
    with untouched(model):
        findings += _findings_of_batch(model, x, target, loss)
    if step is not None:
        findings += settings.check_zero_grad(model, optimizer, step)
    if train_data is not None:
        findings += settings.check_learning_rate(model, optimizer, train_data, loss)
    return Findings(findings)


def _findings_of_batch(model: Any, x: Any, target: Any, loss: Loss) -> list[Finding]:
    found = examine(model, x, target, loss)
    findings = list(of_data.check_labels(found))
    if found.failure is None:
        for check in (network.check_finite, network.check_unused, network.check_output, network.check_units):
            findings += check(found)
        if not any(finding.name == "not-finite" for finding in findings):
            findings += network.check_gradients(found)
    elif not findings:
        place = "model" if found.output is None else "loss"
        findings.append(
            Finding(place, "", f"the {place} raises {type(found.failure).__name__}: {found.failure}", "error")
        )
    return findings
