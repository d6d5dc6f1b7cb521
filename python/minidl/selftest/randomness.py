"""Checks of the random kernels: exact Philox words, and ranges, means and spreads of what is made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from minidl.selftest.check import Array, Call, Checks, Expected, Inputs, wide

SEED, CALL = 0x1234_5678_9ABC_DEF0, 0x0FED_CBA9_8765_4321
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW_WORD = np.uint64(0xFFFF_FFFF)


def philox_words(seed: int, call: int, count: int) -> Array:
    """The first `count` words of Philox 4x32-10 with the key `seed` and the counters (block, call).

    16 blocks form a group, in which word 0 of all blocks comes first, then word 1, and so on.
    """
    groups = -(-count // 64)
    blocks = np.arange(16 * groups, dtype=np.uint64)
    shift = np.uint64(32)
    words = [
        blocks & LOW_WORD,
        blocks >> shift,
        np.full_like(blocks, call & 0xFFFF_FFFF),
        np.full_like(blocks, call >> 32),
    ]
    keys = [seed & 0xFFFF_FFFF, seed >> 32]
    for _ in range(10):
        first, second = words[0] * MULTIPLIERS[0], words[2] * MULTIPLIERS[1]
        words = [
            (second >> shift) ^ words[1] ^ np.uint64(keys[0]),
            second & LOW_WORD,
            (first >> shift) ^ words[3] ^ np.uint64(keys[1]),
            first & LOW_WORD,
        ]
        keys = [(key + step) & 0xFFFF_FFFF for key, step in zip(keys, WEYL, strict=True)]
    grouped: Array = np.stack(words).reshape(4, groups, 16).swapaxes(0, 1)
    return grouped.reshape(-1)[:count].astype(np.int64)


def _ticket() -> Array:
    return np.array([SEED, CALL], np.int64)


def _take_ticket(inputs: Inputs) -> Iterator[Call]:
    generator, ticket = np.array([7, 41], np.int64), np.zeros(2, np.int64)
    yield Call((generator, ticket), (Expected(ticket, np.array([7, 41]), 0), Expected(generator, np.array([7, 42]), 0)))


class Summary(Expected):
    """Judges what `summarize` makes of the output, in multiples of `allowed`."""

    def __init__(self, out: Array, summarize: Callable[[Array], Array], wanted: Array, allowed: Array) -> None:
        super().__init__(out, wanted, 1.0, 1.0)
        object.__setattr__(self, "summarize", summarize)
        object.__setattr__(self, "allowed", allowed)

    def worst_error(self) -> float:
        difference = np.abs(self.summarize(wide(self.out)) - self.wanted)  # type: ignore[attr-defined]
        worst = float((difference / self.allowed).max())  # type: ignore[attr-defined]
        return worst if np.isfinite(worst) else np.inf


SAMPLES = 20_000


def five_sigma(size: int) -> float:
    """Five standard errors of a mean over `size` independent draws with spread 1."""
    return 5 / math.sqrt(size)


def _random_bits(inputs: Inputs) -> Iterator[Call]:
    for size in inputs.shapes((1003, 3, 64)):
        out = np.full(size, -1, np.int64)
        yield Call((_ticket(), out), (Expected(out, philox_words(SEED, CALL, size), 0),))


def _uniform(inputs: Inputs) -> Iterator[Call]:
    spread = 3 / np.sqrt(12)

    def summarize(x: Array) -> Array:
        return np.array([x.mean(), x.std(), (x >= -1).all(), (x < 2).all()])

    for size in inputs.shapes((SAMPLES,)):
        out = inputs.out(size)
        allowed = np.array([spread * five_sigma(size), spread * five_sigma(size), 0.5, 0.5])
        yield Call((_ticket(), out, -1.0, 2.0), (Summary(out, summarize, np.array([0.5, spread, 1, 1]), allowed),))


def _normal(inputs: Inputs) -> Iterator[Call]:
    def summarize(x: Array) -> Array:
        z = (x - 1) / 2
        return np.array([z.mean(), z.std(), (z**3).mean(), (z**4).mean()])

    for size in inputs.shapes((SAMPLES,)):
        out = inputs.out(size)
        # Standard errors of the first four moments of a normal variable: 1, 1/sqrt(2), sqrt(15), sqrt(96).
        allowed = five_sigma(size) * np.array([1, 0.8, 4, 10])
        yield Call((_ticket(), out, 1.0, 2.0), (Summary(out, summarize, np.array([0, 1, 0, 3]), allowed),))


def _bernoulli(inputs: Inputs) -> Iterator[Call]:
    def summarize(x: Array) -> Array:
        return np.array([x.mean(), ((x == 0) | (x == 1)).all()])

    for size in inputs.shapes((SAMPLES,)):
        out, allowed = inputs.out(size), np.array([0.46 * five_sigma(size), 0.5])
        yield Call((_ticket(), out, 0.3), (Summary(out, summarize, np.array([0.3, 1]), allowed),))


def _randint(inputs: Inputs) -> Iterator[Call]:
    def summarize(x: Array) -> Array:
        return np.array([np.mean(x == value) for value in range(-3, 4)])

    for size in inputs.shapes((SAMPLES,)):
        out, allowed = np.full(size, -99, np.int64), np.full(7, 0.35 * five_sigma(size))
        yield Call((_ticket(), out, -3, 4), (Summary(out, summarize, np.full(7, 1 / 7), allowed),))


def _permutation(inputs: Inputs) -> Iterator[Call]:
    for size in inputs.shapes((1003, 2, 1)):
        out = np.full(size, -1, np.int64)

        def summarize(x: Array) -> Array:
            return np.sort(x)

        yield Call((_ticket(), out), (Summary(out, summarize, np.arange(size), np.full(size, 0.5)),))


def _dropout(inputs: Inputs) -> Iterator[Call]:
    for size in inputs.shapes((SAMPLES,)):
        x, out = inputs.uniform(1, 2, size), inputs.out(size)

        def summarize(y: Array, x: Array = x) -> Array:
            kept = y != 0
            is_scaled = np.allclose(y[kept], wide(x)[kept] / 0.75, rtol=4 * np.finfo(inputs.dtype).eps)
            return np.array([kept.mean(), is_scaled])

        allowed = np.array([0.44 * five_sigma(size), 0.5])
        yield Call((x, _ticket(), out, 0.25), (Summary(out, summarize, np.array([0.75, 1]), allowed),))


CHECKS: Checks = {
    "take_ticket": [_take_ticket],
    "random_bits": [_random_bits],
    "uniform": [_uniform],
    "normal": [_normal],
    "bernoulli": [_bernoulli],
    "randint": [_randint],
    "permutation": [_permutation],
    "dropout_forward": [_dropout],
}
