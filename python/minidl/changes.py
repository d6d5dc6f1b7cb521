"""What a captured step depends on beside the memory it reads: settings, and which gradients its leaves hold."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_version = 0
_modes = 0


def version() -> int:
    """Differs once a setting that a recorded step cannot see has changed."""
    return _version


def setting_changed() -> None:
    """To be called when a child, a hook, a parameter's memory or an option that kernels take by value changes: steps
    recorded before are not replayed any more."""
    global _version
    _version += 1


_late_writes: dict[int, Callable[[], None]] = {}


def write_later(owner: object, write: Callable[[], None]) -> None:
    """Has ``write`` called before the next recorded step is replayed, once for each owner, however often it is asked
    for: for what kernels read from memory and Python changes in several steps."""
    _late_writes[id(owner)] = write


def write_what_is_late() -> None:
    """To be called before a replay."""
    while _late_writes:
        _late_writes.popitem()[1]()


def modes() -> int:
    """Which modules are in training mode, as one number: switched to evaluation and back, it is what it was."""
    return _modes


def mode_switched(module: Any) -> None:
    """To be called when a module goes into training mode or out of it."""
    global _modes
    _modes ^= hash((id(module), "mode"))


class Leaves:
    """The leaves whose ``.grad`` a step touches: what it must be before the step, and what it is after it."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[Any, Any]] = {}  # first touched by adding to it: leaf, grad before
        self._cleared: dict[int, Any] = {}  # first touched by dropping it: whatever was there does not matter
        self._after: list[tuple[Any, Any]] = []

    def note_added(self, leaf: Any) -> None:
        """Before something is added to leaf.grad."""
        if id(leaf) not in self._cleared:
            self._before.setdefault(id(leaf), (leaf, leaf.grad))

    def note_cleared(self, leaf: Any) -> None:
        """Before leaf.grad is dropped."""
        if id(leaf) not in self._before:
            self._cleared[id(leaf)] = leaf

    def finish(self) -> None:
        """After the step."""
        leaves = [leaf for leaf, _ in self._before.values()] + list(self._cleared.values())
        self._after = [(leaf, leaf.grad) for leaf in leaves]

    def are_as_before(self) -> bool:
        """Whether the gradients are those that the recorded step began with."""
        return all(leaf.grad is grad for leaf, grad in self._before.values())

    def are_left_as_before(self) -> bool:
        """Whether the recorded step can follow itself: whether it left the gradients that it began with."""
        after = {id(leaf): grad for leaf, grad in self._after}
        return all(after[id(leaf)] is grad for leaf, grad in self._before.values())

    def restore(self) -> None:
        """Gives the leaves the gradients that the recorded step left, whose memory a replay has filled."""
        for leaf, grad in self._after:
            leaf.grad = grad


class _Watch(threading.local):
    leaves: Leaves | None = None
    refuse: Callable[[str], None] | None = None


watch = _Watch()


@contextmanager
def watched_by(leaves: Leaves, refuse: Callable[[str], None] | None = None) -> Iterator[None]:
    """Inside it, this thread's changes of gradients are noted, and ``refuse`` hears of what no replay would repeat."""
    watch.leaves, watch.refuse = leaves, refuse
    try:
        yield
    finally:
        watch.leaves, watch.refuse = None, None


def note_foreign_write(name: str) -> None:
    """Before something other than a kernel changes the memory of a tensor that was there before."""
    if watch.refuse is not None:
        watch.refuse(f"capture: {name} changes a tensor by something other than a kernel, which is not replayed")
