"""Philox 4x32-10 in NumPy, and the order in which the kernels read its words: the reference of the random tests."""

import numpy as np

Array = np.ndarray
LOW_HALF = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox(counter: list[Array], key: tuple[int, int]) -> list[Array]:
    """Four words per counter (four arrays of words), as Salmon, Moraes, Dror and Shaw define them (2011)."""
    a, b, c, d = (np.asarray(word, np.uint64) for word in counter)
    first, second = key
    for _ in range(10):
        left, right = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (
            (right >> HALF) ^ b ^ np.uint64(first),
            right & LOW_HALF,
            (left >> HALF) ^ d ^ np.uint64(second),
            left & LOW_HALF,
        )
        first, second = (first + 0x9E3779B9) & 0xFFFFFFFF, (second + 0xBB67AE85) & 0xFFFFFFFF
    return [a, b, c, d]


def groups(seed: int, call: int, count: int) -> Array:
    """count x 4 x 16 words: word w of block b of each group of 16 consecutive blocks."""
    seed, call = seed % 2**64, call % 2**64
    block = np.arange(16 * count, dtype=np.uint64)
    fixed = [np.full(block.shape, word, np.uint64) for word in (call & 0xFFFFFFFF, call >> 32)]
    words = philox([block & LOW_HALF, block >> HALF, *fixed], (seed & 0xFFFFFFFF, seed >> 32))
    return np.stack(words).reshape(4, count, 16).transpose(1, 0, 2)


def words_32(seed: int, call: int, size: int) -> Array:
    """The 32 random bits of each element, as uint64."""
    return groups(seed, call, -(-size // 64)).reshape(-1)[:size]


def words_64(seed: int, call: int, size: int) -> Array:
    """The 64 random bits of each element: words 0 and 1, or 2 and 3, of one block."""
    words = groups(seed, call, -(-size // 32))
    return (words[:, 0::2] | words[:, 1::2] << HALF).reshape(-1)[:size]


def words_16(seed: int, call: int, size: int) -> Array:
    """The 16 random bits of each element: the low halves of 16 words, then their high halves."""
    words = groups(seed, call, -(-size // 128))
    return np.stack([words & np.uint64(0xFFFF), words >> np.uint64(16)], axis=2).reshape(-1)[:size]


def dropout_factors(seed: int, call: int, size: int, p: float) -> Array:
    """What dropout multiplies each element by, in float64."""
    kept = round((1 - p) * 65536)
    return np.where(words_16(seed, call, size) < kept, 65536 / kept if kept else 0.0, 0.0)
