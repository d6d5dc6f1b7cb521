"""Generator: where random numbers come from - a seed and a count of calls, kept in device memory."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from minidl.backends import Backend

__all__ = ["Generator", "default_generator", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]


class Generator:
    """A reproducible source of random numbers (Philox 4x32-10, counter based).

    Every draw takes a ticket {seed, number of the call}; the numbers follow from the ticket alone, so they are the same
    on the CPU and the GPU and for any number of threads. Each back end counts its own calls, from where the CPU's count
    is at its first one: weights drawn on the CPU and masks drawn on the GPU are those of the CPU alone. ``device`` is
    accepted as in PyTorch; one generator serves every device.

    >>> import minidl
    >>> first = minidl.rand(3, generator=minidl.Generator().manual_seed(1))
    >>> again = minidl.rand(3, generator=minidl.Generator().manual_seed(1))
    >>> minidl.equal(first, again)
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = device
        self._seed = 0
        self._calls: dict[str, int] = {}  # by back end: where the count starts
        self._drawn: set[str] = set()  # back ends that have drawn since the sequence began
        # By back end: the int64 array {seed, calls} that take_ticket advances.
        self._states: dict[str, tuple[Backend, Any]] = {}

    def manual_seed(self, seed: int) -> Generator:
        """Starts the sequence of ``seed``, a whole number in [-2^63, 2^64); negative ones count down from 2^64."""
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"manual_seed: seed must lie in [-2^63, 2^64), got {seed}")
        self._start(int(seed) % 2**64, {})
        return self

    def seed(self) -> int:
        """Starts the sequence of a seed that the operating system draws, and returns it."""
        return self.manual_seed(secrets.randbits(63)).initial_seed()

    def initial_seed(self) -> int:
        """The seed of the sequence in use."""
        return self._seed

    def get_state(self) -> dict[str, Any]:
        """Plain numbers for ``set_state``: {"seed": 7, "calls": {"cpu": 12}}. (PyTorch returns a tensor of bytes.)"""
        drawn = {name: int(s[1]) for name, (_, s) in self._states.items() if name in self._drawn}
        return {"seed": self._seed, "calls": self._calls | drawn}

    def set_state(self, state: dict[str, Any]) -> Generator:
        """Continues where ``get_state`` was called."""
        if not isinstance(state, dict) or not {"seed", "calls"} <= state.keys():
            raise TypeError(f"set_state: state must be what get_state() returns, got {state!r}")
        self._start(int(state["seed"]), {name: int(calls) for name, calls in state["calls"].items()})
        return self

    def ticket(self, backend: Backend) -> Any:
        """A new int64 array {seed, call} on the back end; every ticket is another call."""
        if backend.name not in self._drawn or backend.name not in self._states:
            self._begin_on(backend)
        state = self._states[backend.name][1]
        ticket = backend.empty((2,), _int64)
        backend.kernels.take_ticket(state, ticket)
        return ticket

    def _begin_on(self, backend: Backend) -> None:
        """The count goes on from the CPU's, so that a training on a GPU meets the numbers of one on the CPU."""
        self._drawn.add(backend.name)
        cpu = self._states.get("cpu")
        first = int(cpu[1][1]) if cpu is not None else self._calls.get("cpu", 0)
        numbers = _signed(self._seed), self._calls.get(backend.name, first)
        if backend.name in self._states:
            backend.write(self._states[backend.name][1], numbers)
        else:
            self._states[backend.name] = backend, backend.from_host(np.array(numbers, _int64))

    def _start(self, seed: int, calls: dict[str, int]) -> None:
        self._seed, self._calls = seed, calls
        self._drawn = set(calls)
        for name, (backend, state) in self._states.items():  # in place: a captured step goes on reading the same memory
            backend.write(state, (_signed(seed), calls.get(name, 0)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Generator:
        return Generator(self.device).set_state(self.get_state())


_int64 = np.dtype(np.int64)


def _signed(seed: int) -> int:
    return seed - 2**64 if seed >= 2**63 else seed


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Starts the default generator's sequence of ``seed``; weights, masks and shuffles then repeat exactly."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Starts the default generator on a seed that the operating system draws, and returns it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> dict[str, Any]:
    """The default generator's state, as plain numbers."""
    return default_generator.get_state()


def set_rng_state(state: dict[str, Any]) -> None:
    """Continues the default generator where ``get_rng_state`` was called."""
    default_generator.set_state(state)
