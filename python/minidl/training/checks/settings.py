"""Checks of what surrounds a model: modes, batch size, optimizer, forgotten zero_grad, learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from minidl import nn, ops
from minidl.training.checks.finding import Finding
from minidl.training.evaluation import Loss
from minidl.training.preserved import preserved
from minidl.training.range_test import lr_find

# The finder's suggestion is good to a factor of some units either way.
TOO_HIGH, TOO_LOW = 10.0, 1 / 100


def check_batch_size(model: Any, x: Any) -> Iterator[Finding]:
    """Batch norm cannot normalize one sample."""
    norm = next((n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm1d) and m.training), None)
    if norm is not None and len(x) == 1 and x.dim() == 2:
        advice = "take larger batches, drop_last=True in the DataLoader, LayerNorm, or model.eval() to predict"
        sentence = f"layer {norm!r} is batch norm and sees a batch of 1, which has no spread to divide by: {advice}"
        yield Finding("batch-norm-batch-1", norm, sentence, "error")


def check_modes(model: Any) -> Iterator[Finding]:
    """Layers that train differently and are in evaluation mode."""
    kinds = (nn.Dropout, nn.BatchNorm1d)
    layers = [name for name, module in model.named_modules() if isinstance(module, kinds) and not module.training]
    if layers:
        listed = ", ".join(repr(name) for name in layers[:4]) + (", ..." if len(layers) > 4 else "")
        noun = "layers" if len(layers) > 1 else "layer"
        sentence = f"{noun} {listed} would train in evaluation mode: call model.train() before training"
        yield Finding("evaluation-mode", layers[0], sentence)


def check_optimizer(model: Any, optimizer: Any) -> Iterator[Finding]:
    """Whether the optimizer has the model's parameters, and no others."""
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    named = list(model.named_parameters())
    missing = [name for name, parameter in named if parameter.requires_grad and id(parameter) not in held]
    foreign = len(held - {id(parameter) for _, parameter in named})
    if missing and len(missing) == sum(parameter.requires_grad for _, parameter in named):
        sentence = "the optimizer holds no parameter of this model: make it from model.parameters() again, after the "
        yield Finding("not-optimized", "", sentence + "model was built", "error")
    elif missing:
        listed = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        sentence = (
            f"the optimizer does not hold {listed}: give it model.parameters(), or freeze them by requires_grad_(False)"
        )
        yield Finding("not-optimized", missing[0].rpartition(".")[0], sentence)
    elif foreign:
        sentence = f"the optimizer holds {foreign} parameters that the model does not have: make it after the model"
        yield Finding("not-optimized", "", sentence)


def check_zero_grad(model: Any, optimizer: Any, step: Callable[[], Any]) -> Iterator[Finding]:
    """Takes the same step from no gradients and from others: what it leaves must not depend on that."""
    with preserved(model, optimizer, None):
        first = _gradients_after(model, optimizer, step, {})
        left = {name: grad for name, grad in first.items() if ops.norm(grad).item() > 0}
        # Not a multiple of the gradient, which clipping would bring back to it.
        others = {name: ops.full_like(grad, 1 + ops.norm(grad).item()) for name, grad in left.items()}
        second = _gradients_after(model, optimizer, step, others)
    if any(not ops.allclose(second[name], grad, rtol=1e-3) for name, grad in left.items()):
        sentence = "gradients are added to those of the step before: call optimizer.zero_grad() before loss.backward()"
        yield Finding("zero-grad", "", sentence, "error")


def _gradients_after(model: Any, optimizer: Any, step: Callable[[], Any], before: dict[str, Any]) -> dict[str, Any]:
    with preserved(model, optimizer, None):
        for name, parameter in model.named_parameters():
            parameter.grad = before[name].clone() if name in before else None
        step()
        return {
            name: parameter.grad.detach().clone()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None
        }


def check_learning_rate(model: Any, optimizer: Any, data: Iterable[Any], loss: Loss) -> Iterator[Finding]:
    """The optimizer's rate against the range test's suggestion."""
    suggestion = lr_find(model, data, optimizer, loss=loss).suggestion
    if suggestion is None:
        return
    rate = max(float(group["lr"]) for group in optimizer.param_groups)
    if rate > TOO_HIGH * suggestion or rate < TOO_LOW * suggestion:
        word = "high" if rate > suggestion else "low"
        sentence = f"the learning rate {rate:.2g} is too {word}: lr_find suggests about {suggestion:.1g}"
        yield Finding("learning-rate", "", sentence)
