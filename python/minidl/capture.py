"""capture(step): runs a training step, records its kernel calls, then replays them without Python."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minidl import autograd, backends, changes
from minidl.anomaly import anomaly
from minidl.tensor import Tensor

# Every signature keeps its memory; a step that is called with ever new numbers would fill the machine.
MAX_RECORDS = 8
# A kernel, and the shape and bytes an element of each of its arrays.
KernelProfile = tuple[str, tuple[tuple[tuple[int, ...], int], ...]]
# A call: its name, the kernels whose work it does, seconds.
CallProfile = tuple[str, tuple[KernelProfile, ...], float]


class Record:
    """The plan of one signature: its kernel calls, what the step returned and the gradients that it left behind."""

    def __init__(self, key: tuple[Any, ...], is_strict: bool, backend: backends.Backend) -> None:
        self.key = key
        self.is_strict = is_strict
        self.backend = backend  # of the inputs; then that of the kernels
        self.plan = backend.kernels.Plan(is_strict)
        self.version = changes.version()
        self.result: Any = None
        self.leaves = changes.Leaves()
        self.has_run = False
        self.is_complete = False
        self.has_failed = False

    def run(self, step: Callable[..., Any], args: tuple[Any, ...], inputs: list[Any]) -> Any:
        """Traces the first time, records the second time, replays from then on."""
        if self.is_complete:
            return self._replay(step, args, inputs)
        if self.plan.failure:
            return _without_history(step(*args))
        self.has_failed = True
        is_second, self.has_run = self.has_run, True
        leaves = changes.Leaves()
        watched = changes.watched_by(leaves, self.plan.fail if is_second else None)
        try:
            with self._recorded(inputs) if is_second else self._traced(inputs), watched:
                self.result = _without_history(step(*args))
        except RuntimeError as error:
            raise _with_op(error) from None
        if is_second:
            for tensor in _tensors_in(self.result):
                if tensor.backend is self.backend:
                    self.plan.require_determined(tensor.array)
                else:
                    self.plan.fail(f"capture: a step on {self.backend.device} returns a tensor on {tensor.device}")
            leaves.finish()
            self.leaves, self.is_complete = leaves, not self.plan.failure
        self.has_failed = False
        return self.result

    @contextmanager
    def _traced(self, inputs: list[Any]) -> Iterator[None]:
        """Inside it, plans of all devices note what kernels do; the one that has something to note is kept."""
        plans = [(self.backend, self.plan)]
        plans += [(b, b.kernels.Plan(self.is_strict)) for b in backends.loaded() if b is not self.backend]
        for _, plan in plans:
            plan.begin_trace()
        try:
            yield
        finally:
            for _, plan in plans:
                plan.end()
        used = [(backend, plan) for backend, plan in plans if plan.is_used]
        if len(used) == 1 and not inputs:
            self.backend, self.plan = used[0]
        elif any(backend is not self.backend for backend, _ in used):
            where = " and on ".join(str(backend.device) for backend, _ in used)
            self.plan.fail(
                f"capture: the step computes on {where} with arguments on {self.backend.device}; a replay takes place "
                "on one device: move tensors before the step"
            )

    @contextmanager
    def _recorded(self, inputs: list[Any]) -> Iterator[None]:
        """Inside it, the plan records kernel calls."""
        self.plan.begin_recording(inputs)
        try:
            yield
        finally:
            self.plan.end()

    def _replay(self, step: Callable[..., Any], args: tuple[Any, ...], inputs: list[Any]) -> Any:
        if not self.leaves.are_as_before():
            return _without_history(step(*args))
        changes.write_what_is_late()
        self.plan.replay(inputs)
        self.leaves.restore()
        return self.result

    @property
    def is_repeatable(self) -> bool:
        """Whether the step can be replayed now, and once more after that."""
        return self.is_complete and self.leaves.are_as_before() and self.leaves.are_left_as_before()

    def replay_each(self, stacks: list[Tensor]) -> Any:
        """Replays for every element along the first axis of the tensors, of which there is at least one."""
        changes.write_what_is_late()
        self.plan.replay_each([stack.array for stack in stacks], len(stacks[0]))
        self.leaves.restore()
        return self.result


class CapturedStep:
    """What ``capture`` returns: call it like the step."""

    def __init__(self, step: Callable[..., Any], strict: bool) -> None:
        functools.update_wrapper(self, step)
        self.step = step
        self.strict = strict
        self.records: dict[tuple[Any, ...], Record] = {}

    @property
    def failure(self) -> str:
        """Why the step is not replayed, for one that was captured with ``strict=False``; empty where it is."""
        return next((record.plan.failure for record in self.records.values() if record.plan.failure), "")

    def profile(self, *args: Any, repeats: int = 20) -> list[CallProfile]:
        """What each kernel call of the step takes, the mean of some replays: ``(name, kernels, seconds)``, where
        ``kernels`` has one ``(kernel, arrays)``, or several where a replay joins them, and ``arrays`` has
        ``(shape, itemsize)``.

        The step really runs - up to twice to be recorded, then ``repeats`` times - and changes what it changes. Raises
        RuntimeError where it cannot be replayed.
        """
        for _ in range(3):
            self(*args)
        record, inputs = self._record_of(args)
        if record is None or not record.is_complete:
            raise RuntimeError(f"capture: this step has no record to profile: {self.failure or 'it has too many'}")
        calls: list[CallProfile] = record.plan.profile(inputs, repeats)
        record.leaves.restore()
        return calls

    def recorded(self, *args: Any) -> Record | None:
        """The record of a step with which calls with such arguments, one after the other, would run no Python; None
        where they would."""
        record = None if anomaly.is_on else self._record_of(args)[0]
        return record if record is not None and record.is_repeatable else None

    def each(self, *args: Any) -> Any:
        """Calls the step with each element along the first axis of its tensors, which must have one length: with
        ``x[0]``, then with ``x[1]``. Returns what the last call did.

        Once recorded, it runs without Python between the calls, on a GPU several of them as one graph; the numbers are
        those of single calls, bit for bit.

        >>> import minidl
        >>> total = minidl.zeros(2)
        >>> step = minidl.capture(lambda x: total.add_(x))
        >>> step.each(minidl.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).tolist()
        [9.0, 12.0]
        """
        stacks: list[Tensor] = []
        _describe(args, stacks, [])
        lengths = {len(stack) for stack in stacks}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"each: the tensors must have one length, of at least 1; got {sorted(lengths)}")
        steps, result = lengths.pop(), None
        for done in range(steps):
            row = _element(args, done)
            record = self.recorded(*row)
            if record is not None:
                return record.replay_each([stack[done:] for stack in stacks])
            result = self(*row)
        return result

    def _record_of(self, args: tuple[Any, ...]) -> tuple[Record | None, list[Any]]:
        """The record of a signature, a new one where there is none, or None where there are too many; the arrays."""
        tensors: list[Tensor] = []
        signature: list[Any] = [autograd.is_grad_enabled(), changes.modes()]
        _describe(args, tensors, signature)
        inputs = [tensor.array for tensor in tensors]
        on = {tensor.backend for tensor in tensors} or {backends.cpu}
        if len(on) > 1:
            raise TypeError("capture: the tensors given to a step must be on one device, got some on a GPU, some not")
        backend = on.pop()
        key = (backend.name, backend.kernels.signature(inputs), *signature)
        record = self.records.get(key)
        if record is None or record.version != changes.version():
            if record is None and len(self.records) >= MAX_RECORDS:
                return None, inputs
            record = self.records[key] = Record(key, self.strict, backend)
        return record, inputs

    def __call__(self, *args: Any) -> Any:
        if anomaly.is_on:
            return _without_history(self.step(*args))
        record, inputs = self._record_of(args)
        if record is None:
            return _without_history(self.step(*args))
        try:
            return record.run(self.step, args, inputs)
        finally:
            if record.has_failed:
                del self.records[record.key]


def capture(step: Callable[..., Any], *, strict: bool = True) -> CapturedStep:
    """``step`` as a function that Python runs twice and that is then replayed, kernel after kernel, by C++.

    The first call runs, the second runs and records, later calls replay the record with the tensors that they are
    given: the same numbers, bit for bit, without the time that Python takes. Each signature - shapes, layouts and
    number types of the tensors, values of all other arguments - has a record of its own, at most 8, beyond which the
    step just runs; so does a step whose gradients are not where the recorded one found them. What the step returns is
    overwritten by the next call with the same signature, and carries no history: call backward inside.

    Learning rates, momentum, weight decay, step counts and random numbers go on from call to call. A change of mode
    (``train()``, ``eval()``) has a record of its own; a change of hooks or of other options makes the step be recorded
    anew. What it does in Python - print, count, step a scheduler - is not replayed: keep that outside. Numbers that are
    neither arguments nor options (``0.01 * penalty``) stay what they were when the step was recorded: make one that
    changes an argument or a tensor.

    Raises RuntimeError where a kernel reads, or the step returns, what NumPy computed during the step, which a replay
    would not repeat; the message names the kernel. With ``strict=False`` such a step just runs, time after time, and
    ``failure`` of the result says why. TypeError for an argument that has no hash, and for tensors on more than
    one device.

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
    return CapturedStep(step, strict)


def require_finite(x: Tensor, name: str) -> None:
    """FloatingPointError, "name became nan", unless x is finite. A captured step checks again in every replay, and what
    follows in the step is not run then."""
    x.backend.kernels.require_finite(x.backend.contiguous(x.array), name)


def _with_op(error: RuntimeError) -> RuntimeError:
    """The error of a plan with the name of the op that the step called, or whose gradient was computed."""
    if not str(error).startswith("capture:"):
        return error
    node = getattr(error, "node", None)  # set on the way back
    name, trace = "" if node is None else repr(node), error.__traceback__
    while trace is not None and not name:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_globals.get("__name__", "").startswith("minidl.ops."):
            name = frame.f_code.co_name + "()"
    return RuntimeError(f"{error} (in {name})") if name else error


def _describe(value: Any, tensors: list[Tensor], signature: list[Any]) -> None:
    """Adds the tensors in an argument to ``tensors`` and all else that it says to ``signature``."""
    if isinstance(value, Tensor):
        tensors.append(value)
        signature.append(value.requires_grad)
    elif isinstance(value, list | tuple):
        signature.append((type(value), len(value)))
        for item in value:
            _describe(item, tensors, signature)
    elif isinstance(value, dict):
        signature.append((type(value), *value))
        for item in value.values():
            _describe(item, tensors, signature)
    else:
        hash(value)
        signature.append((type(value), value))


def _element(value: Any, i: int) -> Any:
    """An argument with ``x[i]`` in place of each tensor."""
    if isinstance(value, Tensor):
        return value[i]
    if isinstance(value, dict):
        return {key: _element(x, i) for key, x in value.items()}
    if hasattr(value, "_fields"):
        return type(value)(*(_element(x, i) for x in value))
    return type(value)(_element(x, i) for x in value) if isinstance(value, list | tuple) else value


def _tensors_in(result: Any) -> list[Tensor]:
    tensors: list[Tensor] = []
    _describe(result, tensors, [])
    return tensors


def _without_history(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.detach()
    if isinstance(result, dict):
        return {key: _without_history(x) for key, x in result.items()}
    return type(result)(_without_history(x) for x in result) if type(result) in (list, tuple) else result
