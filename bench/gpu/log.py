"""The file of a run: a JSON line for each row, written as soon as it is measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minidl.io import write_atomically

# What is known of a row. "failure" says why it has no figures, "skipped" what this machine lacks for it.
Figures = Mapping[str, Any]


class Log:
    """The rows measured so far, in a file that several processes append to one after the other."""

    def __init__(self, path: Path, say: Callable[[str, Figures], None] = lambda name, figures: None) -> None:
        self.path = path
        self.say = say
        self.rows: dict[str, Figures] = {}
        self.reload()

    def reload(self) -> None:
        """Reads the file again. A last line that a killed process has not finished is left out."""
        text = self.path.read_text() if self.path.exists() else ""
        self.rows = {}
        for line in text.splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            self.rows[row.pop("row")] = row

    def add(self, name: str, figures: Figures) -> None:
        self.rows[name] = figures
        with self.path.open("a") as file:
            file.write(json.dumps({"row": name, **figures}) + "\n")
        self.say(name, figures)

    def forget_failures(self) -> None:
        """Leaves out rows without figures, and half a line at the end, so that they are measured anew."""
        kept = {name: row for name, row in self.rows.items() if not row.get("failure") and not row.get("skipped")}
        self._rewrite(kept)

    def clear(self) -> None:
        self._rewrite({})

    def _rewrite(self, rows: dict[str, Figures]) -> None:
        self.rows = rows
        lines = [json.dumps({"row": name, **row}) + "\n" for name, row in rows.items()]
        write_atomically(self.path, "".join(lines).encode())
