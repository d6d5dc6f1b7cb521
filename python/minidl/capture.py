"""capture(step): runs a training step, records its kernel calls, then replays them without Python."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from minidl import autograd, backends, changes
from minidl.tensor import Tensor

# Every signature keeps its memory; a step that is called with ever new numbers would fill the machine.
MAX_PLANS = 8


class _Replay:
    """The plan of one signature: its kernel calls, what it returned and the gradients that it left behind."""

    def __init__(self) -> None:
        self.plan = backends.cpu.kernels.Plan()
        self.version = changes.version()
        self.result: Any = None
        self.has_run = False
        self.has_failed = False
        self.is_recorded = False
        self.leaves: changes.Leaves = changes.Leaves()

    def run(self, step: Callable[..., Any], args: tuple[Any, ...], inputs: list[Any]) -> Any:
        """Traces the first time, records the second time, replays from then on."""
        if self.is_recorded:
            if not self.leaves.are_as_before():
                return _without_history(step(*args))
            self.plan.replay(inputs)
            self.leaves.restore()
            return self.result
        is_second, self.has_run = self.has_run, True
        self.has_failed = True
        leaves = changes.Leaves()
        self.plan.begin_recording(inputs) if is_second else self.plan.begin_trace()
        try:
            with changes.watched_by(leaves):
                self.result = _without_history(step(*args))
        finally:
            self.plan.end()
        if is_second:
            leaves.finish()
            for tensor in _tensors(self.result):
                if not self.plan.determines(tensor.array):
                    raise RuntimeError(
                        f"capture: the step returns a tensor of shape {tuple(tensor.shape)} that no kernel wrote; "
                        "NumPy's work is not replayed"
                    )
            self.leaves, self.is_recorded = leaves, True
        self.has_failed = False
        return self.result


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, dict):
        result = list(result.values())
    return [x for item in result for x in _tensors(item)] if isinstance(result, list | tuple) else []


def _without_history(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.detach()
    if isinstance(result, dict):
        return {key: _without_history(x) for key, x in result.items()}
    return type(result)(_without_history(x) for x in result) if type(result) in (list, tuple) else result


def _signature(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What must be equal for a recorded step to be replayed: layouts of tensors, which of them are the same memory, and
    all other arguments."""
    seen: dict[int, int] = {}
    parts: list[Any] = [autograd.is_grad_enabled()]
    for arg in args:
        if isinstance(arg, Tensor):
            array = arg.array
            place = seen.setdefault(array.ctypes.data if len(args) > 1 else 0, len(seen))
            parts.append((array.shape, array.strides, array.dtype.char, arg.requires_grad, place))
        else:
            parts.append(arg)
    return tuple(parts)


def capture(step: Callable[..., Any]) -> Callable[..., Any]:
    """``step`` as a function that Python runs twice and that is then replayed, kernel after kernel, by C++.

    The first call runs, the second runs and records, later calls replay the record with the tensors that they are
    given: the same numbers, bit for bit, without the time that Python takes. Each signature - shapes, layouts and
    number types of the tensors, values of all other arguments - has a record of its own, at most 8, beyond which the
    step just runs; so does a step whose gradients are not where the recorded one found them. What the
    step returns is overwritten by the next call with the same signature, and carries no history: call backward inside.

    Learning rates, momentum, weight decay, step counts and random numbers go on from call to call. A change of mode
    (``train()``, ``eval()``), of hooks or of other options makes the step be recorded anew. What it does in Python -
    print, count, step a scheduler - is not replayed: keep that outside.

    Raises RuntimeError where a kernel reads, or the step returns, what NumPy computed during the step, which a replay
    would not repeat; the message names the kernel.

    >>> import minidl
    >>> from minidl import nn, optim
    >>> model = nn.Linear(3, 1)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> @minidl.capture
    ... def step(x, target):
    ...     optimizer.zero_grad()
    ...     loss = nn.functional.mse_loss(model(x), target)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> x, target = minidl.ones(8, 3), minidl.zeros(8, 1)
    >>> losses = [step(x, target).item() for _ in range(10)]
    >>> losses[-1] < losses[0]
    True
    """
    replays: dict[tuple[Any, ...], _Replay] = {}

    @functools.wraps(step)
    def captured(*args: Any) -> Any:
        signature = _signature(args)
        replay = replays.get(signature)
        if replay is None or replay.version != changes.version():
            if replay is None and len(replays) >= MAX_PLANS:
                return _without_history(step(*args))
            replay = replays[signature] = _Replay()
        inputs = [arg.array for arg in args if isinstance(arg, Tensor)]
        try:
            return replay.run(step, args, inputs)
        finally:
            if replay.has_failed:
                del replays[signature]

    captured.replays = replays  # type: ignore[attr-defined]
    return captured
