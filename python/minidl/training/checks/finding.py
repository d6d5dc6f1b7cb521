"""Finding: one mistake or risk that a check has seen, in a sentence that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
_ORDER = ("error", "warning")


@dataclass(frozen=True)
class Finding:
    """What is wrong and how to mend it.

    Fields:
        name: the kind of finding, such as "dead-relu".
        layer: the dotted name of the layer, "" where it is about the whole.
        sentence: what was seen, with its figures, and what to do.
        severity: "error" where the training cannot be what was meant, "warning" where it is likely to go badly.
    """

    name: str
    layer: str
    sentence: str
    severity: Severity = "warning"

    def __str__(self) -> str:
        return f"{self.severity}: {self.sentence}"


class Findings(list[Finding]):
    """A list of findings, errors first; printed, one line each.

    >>> print(Findings())
    nothing found
    >>> print(Findings([Finding("b", "", "look at b"), Finding("a", "", "mend a", "error")]))
    error: mend a
    warning: look at b
    """

    def __init__(self, findings: list[Finding] | None = None) -> None:
        super().__init__(sorted(findings or (), key=lambda finding: _ORDER.index(finding.severity)))

    @property
    def names(self) -> list[str]:
        """The kinds of findings."""
        return [finding.name for finding in self]

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing found"
