"""Anomaly mode: the first recorded operation whose output or gradient holds nan raises and says where it was called."""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from minidl._tape import set_checks
from minidl.changes import setting_changed

if TYPE_CHECKING:
    from minidl.autograd import Node
    from minidl.tensor import Tensor


class _Anomaly:
    __slots__ = ("is_on",)

    def __init__(self) -> None:
        self.is_on = False


anomaly = _Anomaly()


class _Layers(threading.local):
    """The modules whose forward is running, outermost first; kept only while the mode is on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []


_layers = _Layers()


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return anomaly.is_on


class set_detect_anomaly:
    """Switches anomaly mode on or off, for all threads: at once as a function, until its end as a context manager.

    While it is on, the first recorded operation whose output holds nan, or that computes a gradient with nan, raises
    FloatingPointError with the operation, the layer by its dotted name, and the line of the program that called it in
    the forward pass. inf is no anomaly: masks are made of it. Operations that are not recorded (`no_grad`, no input
    that requires a gradient) are not looked at. PyTorch's mode looks at gradients only.

    Every result is read through, layers are not fused and captured steps run eagerly: for looking for a mistake.

    >>> import minidl
    >>> from minidl import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> with minidl.autograd.set_detect_anomaly(True):
    ...     y = model(minidl.ones(1, 2)) - 9.0
    ...     z = y.log()
    Traceback (most recent call last):
    ...
    FloatingPointError: log: its output of shape (1, 2) holds nan, which its inputs do not; called at ...
    >>> minidl.is_anomaly_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        self.previous = anomaly.is_on
        _switch(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _switch(self.previous)


class detect_anomaly(set_detect_anomaly):
    """Anomaly mode inside a `with` block; see :class:`set_detect_anomaly`.

    >>> import minidl
    >>> x = minidl.zeros(2, requires_grad=True)
    >>> with minidl.autograd.detect_anomaly():
    ...     (x.sqrt() * 0).sum().backward()
    Traceback (most recent call last):
    ...
    FloatingPointError: sqrt: the gradient of its input 0, of shape (2,), holds nan, which that of its ...
    """

    def __init__(self) -> None:
        self.previous = anomaly.is_on

    def __enter__(self) -> None:
        self.previous = anomaly.is_on
        _switch(True)


def _switch(is_on: bool) -> None:
    if is_on != anomaly.is_on:
        anomaly.is_on = is_on
        set_checks(*((check_forward, check_backward) if is_on else (None, None)))
        setting_changed()  # fused layers come apart, captured steps begin anew


@contextmanager
def running(module: Any) -> Iterator[None]:
    """Around a module's forward: what is recorded inside belongs to this layer."""
    _layers.stack.append(module)
    try:
        yield
    finally:
        _layers.stack.pop()


class Origin(NamedTuple):
    """Where a node was recorded."""

    layers: tuple[Any, ...]
    file: str
    line: int
    function: str

    def __str__(self) -> str:
        code = linecache.getline(self.file, self.line).strip()
        place = f"called at {Path(self.file).name}:{self.line} in {self.function}" + (f": {code}" if code else "")
        return f"layer {_describe(self.layers)}; {place}" if self.layers else place


def _here() -> Origin:
    """The innermost line outside of minidl."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "minidl":
        frame = frame.f_back
    return Origin(tuple(_layers.stack), frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def _describe(layers: tuple[Any, ...]) -> str:
    root, module = layers[0], layers[-1]
    kind = type(module).__name__ if list(module.children()) else repr(module)
    name = next((name for name, other in root.named_modules() if other is module), "")
    return f"{name!r}, {kind}" if name else kind


def check_forward(node: Node, result: Tensor, inputs: Sequence[Tensor | None]) -> None:
    """Remembers where the node was recorded; FloatingPointError where its output holds nan."""
    node.origin = _here()
    if not _has_nan(result):
        return
    bad = next((place for place, x in enumerate(inputs) if _has_nan(x)), None)
    blame = "which its inputs do not" if bad is None else f"and so does its input {bad}, which was not recorded"
    raise FloatingPointError(
        f"{node.operation}: its output of shape {tuple(result.shape)} holds nan, {blame}; {node.origin}"
    )


def check_backward(node: Node, grad_out: Any, grads: Sequence[Any]) -> None:
    """FloatingPointError where a gradient that the node computed holds nan."""
    bad = next((place for place, grad in enumerate(grads) if _has_nan(grad)), None)
    if bad is None:
        return
    if _has_nan(grad_out):
        blame = "and so does that of its output: as it was given to backward(), or changed by a hook, or summed"
    else:
        blame = "which that of its output does not"
    origin = getattr(node, "origin", "switch the mode on before the forward pass to see where it was called")
    shape = tuple(grads[bad].shape)
    raise FloatingPointError(
        f"{node.operation}: the gradient of its input {bad}, of shape {shape}, holds nan, {blame}; {origin}"
    )


def _has_nan(x: Any) -> bool:
    array = getattr(x, "array", None)  # None, and what a Function passes between its nodes, have none
    return array is not None and array.dtype.kind == "f" and bool((array != array).any())
