"""untouched() and preserved(): passes through a model, and a piece of training, that leave no trace."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd import no_grad
from minidl.generator import Generator, default_generator


@contextlib.contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Inside it, the model computes on copies of its buffers; afterwards these, the modes and the default random
    generator are those from before."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer) for module in model.modules() for name, buffer in module.named_buffers(recurse=False)
    ]
    copies = {id(buffer): buffer.clone() for _, _, buffer in buffers}  # modules that share a buffer go on sharing
    random_state = default_generator.get_state()
    # Straight into __dict__: steps captured before stay valid, since the old memory comes back.
    for module, name, buffer in buffers:
        module.__dict__[name] = copies[id(buffer)]
    try:
        yield
    finally:
        for module, name, buffer in buffers:
            module.__dict__[name] = buffer
        for module, mode in modes:
            module.training = mode
        default_generator.set_state(random_state)


@contextlib.contextmanager
def preserved(model: Any, optimizer: Any, data: Any) -> Iterator[None]:
    """Whatever is trained inside it, model, optimizer and random numbers are afterwards as they were, bit by bit.

    Put back are parameters, buffers, gradients and modes; the optimizer's state, count of steps and options; the random
    generators: minidl's own, those of `data` (a DataLoader and its samplers), Python's and NumPy's global ones. Records
    of captured steps stay valid: the memory of weights and states is the same as before.
    """
    parameters = {id(p): p for p in (*model.parameters(), *_stepped(optimizer))}.values()
    values = [(parameter, parameter.detach().clone()) for parameter in parameters]
    grads = [(parameter, parameter.grad) for parameter in parameters]
    state, steps_taken = optimizer.state, optimizer.steps_taken
    options = [dict(group) for group in optimizer.param_groups]
    generators = [(generator, generator.get_state()) for generator in _generators(data)]
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (what a data set may use)
    try:
        # Training goes on with copies of the state, and with gradients of its own.
        optimizer.state = {p: {name: t.clone() for name, t in kept.items()} for p, kept in state.items()}
        for parameter in parameters:
            parameter.grad = None
        with untouched(model):
            yield
    finally:
        with no_grad():
            for parameter, value in values:
                parameter.copy_(value)
        for parameter, grad in grads:
            parameter.grad = grad
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
    """Those that a loader or its samplers hold; `untouched` keeps the default one."""
    sampler, batch_sampler = getattr(data, "sampler", None), getattr(data, "batch_sampler", None)
    owners = (data, sampler, batch_sampler, getattr(batch_sampler, "sampler", None))
    held = [getattr(owner, "generator", None) for owner in owners]
    return list({id(g): g for g in held if isinstance(g, Generator)}.values())
