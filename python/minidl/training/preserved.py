"""preserved(): a piece of training that leaves no trace."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd import no_grad
from minidl.generator import Generator, default_generator


@contextlib.contextmanager
def preserved(model: Any, optimizer: Any, data: Any) -> Iterator[None]:
    """Whatever is trained inside it, model, optimizer and random numbers are afterwards as they were, bit by bit.

    Put back are parameters, buffers, gradients and modes; the optimizer's state, count of steps and options; the random
    generators: minidl's own, those of `data` (a DataLoader and its samplers), Python's and NumPy's global ones. Records
    of captured steps stay valid: the memory of weights and states is the same as before.
    """
    parameters = {id(p): p for p in (*model.parameters(), *_stepped(optimizer))}.values()
    values = [(tensor, tensor.detach().clone()) for tensor in (*parameters, *model.buffers())]
    grads = [(parameter, parameter.grad) for parameter in parameters]
    modes = [(module, module.training) for module in model.modules()]
    state, steps_taken = optimizer.state, optimizer.steps_taken
    options = [dict(group) for group in optimizer.param_groups]
    generators = [(generator, generator.get_state()) for generator in _generators(data)]
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (what a data set may use)
    try:
        # Training goes on with copies of the state, and with gradients of its own.
        optimizer.state = {p: {name: t.clone() for name, t in kept.items()} for p, kept in state.items()}
        for parameter in parameters:
            parameter.grad = None
        yield
    finally:
        with no_grad():
            for tensor, value in values:
                tensor.copy_(value)
        for parameter, grad in grads:
            parameter.grad = grad
        for module, is_training in modes:
            module.training = is_training
        optimizer.state, optimizer.steps_taken = state, steps_taken
        for group, before in zip(optimizer.param_groups, options, strict=True):
            group.update({name: value for name, value in before.items() if group[name] is not value})
        for generator, generator_state in generators:
            generator.set_state(generator_state)
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


def _stepped(optimizer: Any) -> Iterator[Any]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def _generators(data: Any) -> list[Generator]:
    """minidl's default generator and those that a loader or its samplers hold."""
    sampler, batch_sampler = getattr(data, "sampler", None), getattr(data, "batch_sampler", None)
    owners = (data, sampler, batch_sampler, getattr(batch_sampler, "sampler", None))
    held = [getattr(owner, "generator", None) for owner in owners]
    return list({id(g): g for g in (default_generator, *held) if isinstance(g, Generator)}.values())
