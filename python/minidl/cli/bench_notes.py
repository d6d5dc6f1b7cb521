"""What every benchmark says before its figures: what is missing, and what is not as it would be by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape


def print_notes(machine: Mapping[str, Any], missing: Sequence[str], console: Console) -> None:
    """A line for each library that is left out, and for each variable that binds one to other code than its own choice:
    its figures are not those of the library as it comes."""
    settings = [
        f"{name}={value} is set: a library may be slower so than by itself; unset it to compare"
        for name, value in machine["settings"].items()
    ]
    for line in (*missing, *settings):
        console.print(f"[yellow]{escape(line)}[/]", highlight=False, soft_wrap=True)
