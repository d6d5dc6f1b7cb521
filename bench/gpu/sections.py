"""All sections in the order in which they are run: what others rest on first, what takes longest last."""

from __future__ import annotations

from gpu import accuracy, correctness, environment, gemm, memory, sanitizer, steps
from gpu.session import Section

SECTIONS: dict[str, Section] = {
    section.name: section
    for section in (
        environment.SECTION,
        correctness.SECTION,
        gemm.SECTION,
        memory.SECTION,
        steps.SECTION,
        accuracy.SECTION,
        sanitizer.SECTION,
        correctness.PYTEST,
    )
}
