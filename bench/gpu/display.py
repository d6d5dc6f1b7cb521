"""A row as a line of text."""

from __future__ import annotations

from gpu.log import Figures


def describe(name: str, figures: Figures) -> str:
    """The name, then what is known: medians with the middle half's width, ratios to the first contender."""
    if "failure" in figures:
        return f"{name}: FAILED: {figures['failure']}"
    if "skipped" in figures:
        return f"{name}: left out: {figures['skipped']}"
    parts = _timings(figures) if "timings" in figures else _plain(figures)
    return f"{name}: {'; '.join([*parts, *figures.get('notes', [])])}"


def _timings(figures: Figures) -> list[str]:
    timings = figures["timings"]
    own = next(iter(timings.values()), {"median": 0.0})["median"]
    parts = []
    for i, (contender, timing) in enumerate(timings.items()):
        text = f"{contender} {duration(timing['median'])} +-{timing['spread'] / 2:.1%}"
        parts.append(text if i == 0 else f"{text} ({timing['median'] / max(own, 1e-12):.2f}x)")
    if "flops" in figures:
        parts.append(f"{figures['flops'] / max(own, 1e-12) / 1e12:.1f} TFLOP/s")
    if "bytes" in figures:
        parts.append(f"{figures['bytes'] / max(own, 1e-12) / 1e12:.2f} TB/s")
    if "of_copy_rate" in figures:
        parts.append(f"{figures['of_copy_rate']:.0%} of the copy rate")
    return parts


def _plain(figures: Figures) -> list[str]:
    long = {"kernels", "notes", "took"}  # in the file
    return [f"{key} {_text(value)}" for key, value in figures.items() if key not in long and value is not None]


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """
    >>> duration(2.34e-5), duration(0.0123), duration(4.0)
    ('23.4 us', '12.3 ms', '4 s')
    """
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
