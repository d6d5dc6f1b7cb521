"""Rows of the random kernels; other libraries draw other numbers, so their results are not compared."""

from __future__ import annotations

from minidl.bench.row import ELEMENTS, Row

GENERATOR = {"numpy": "generator = np.random.default_rng(0)"}


def _random(kernel: str, flops: float, numpy: str, torch: str) -> Row:
    """Integer operations of the generator are not counted."""
    return Row(kernel, ELEMENTS, flops, numpy, torch, is_random=True, setup=GENERATOR)


ROWS = [
    Row("take_ticket", {"cache": (None,), "memory": ()}, 0, rewritten=(0,)),
    _random("random_bits", 0, "generator.integers(0, 1 << 32, out.size, np.uint32)", "out.random_(0, 1 << 32)"),
    _random("uniform", 2, "generator.random(dtype=out.dtype, out=out)", "out.uniform_(low, high)"),
    _random("normal", 6, "generator.standard_normal(dtype=out.dtype, out=out)", "out.normal_(mean, std)"),
    _random("bernoulli", 0, "generator.random(out.size, out.dtype) < p", "out.bernoulli_(p)"),
    _random("randint", 0, "generator.integers(low, high, out.size)", "torch.randint(low, high, out.shape, out=out)"),
    _random("permutation", 0, "generator.permutation(out.size)", "torch.randperm(out.numel(), out=out)"),
    _random(
        "dropout_forward",
        1,
        "x * ((generator.random(x.shape, x.dtype) >= p) / x.dtype.type(1 - p))",
        "torch.native_dropout(x, p, True)",
    ),
]
