"""The folder of an experiment: a file per finished run, then table, pictures and page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from minidl.io import write_atomically
from minidl.lab.experiment import Result, Run

SETTINGS = "settings.json"


class Folder:
    """Where an experiment writes.

    Raises:
        FileExistsError: the folder holds something, and neither `resume` nor `force` was asked for.
        ValueError: `resume`, and the folder belongs to another experiment or to other settings.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, experiment: str, settings: dict[str, Any], resume: bool, force: bool) -> None:
        self.path = path
        self.runs = path / "runs"
        wanted = {"experiment": experiment, "settings": plain(settings)}
        if path.exists() and not path.is_dir():
            raise FileExistsError(f"cannot write to {path}: it is a file; name a folder")
        if path.is_dir() and any(path.iterdir()):
            if resume:
                self._require_settings(wanted)
            elif force:
                self._clear()
            else:
                raise FileExistsError(
                    f"{path} already holds results: --resume goes on with them, --force replaces them, --out FOLDER "
                    "writes elsewhere"
                )
        self.runs.mkdir(parents=True, exist_ok=True)
        self.write(SETTINGS, json.dumps(wanted, indent=2) + "\n")

    def _require_settings(self, wanted: dict[str, Any]) -> None:
        file = self.path / SETTINGS
        if not file.is_file():
            raise ValueError(f"--resume: {self.path} holds no {SETTINGS}, so it is not the folder of an experiment")
        found = json.loads(file.read_text())
        if found.get("experiment") != wanted["experiment"]:
            raise ValueError(
                f"--resume: {self.path} belongs to {found.get('experiment')!r}, not {wanted['experiment']!r}"
            )
        keys = {**found["settings"], **wanted["settings"]}
        different = [key for key in keys if found["settings"].get(key) != wanted["settings"].get(key)]
        if different:
            pairs = ", ".join(
                f"{key} was {found['settings'].get(key)!r}, is {wanted['settings'].get(key)!r}" for key in different
            )
            raise ValueError(f"--resume: {self.path} was begun with other settings: {pairs}")

    def _clear(self) -> None:
        """Removes what an experiment has written before; files of others stay."""
        if not (self.path / SETTINGS).is_file():
            raise FileExistsError(
                f"--force: {self.path} holds no {SETTINGS}, so nothing in it is replaced; name another"
            )
        for file in (*self.runs.glob("*.json"), *self.path.iterdir()):
            if file.is_file():
                file.unlink()

    def finished(self, run: Run) -> Result | None:
        """The result of a run that an earlier call has finished."""
        file = self.runs / f"{run.key}.json"
        if not file.is_file():
            return None
        figures: dict[str, Any] = json.loads(file.read_text())["figures"]
        return Result(run, figures)

    def keep(self, run: Run, figures: dict[str, Any]) -> Result:
        """Writes the result of a run at once; what is returned is what a later `finished` returns."""
        figures = plain(figures)
        content = {"variant": run.variant, "seed": run.seed, "settings": plain(run.settings), "figures": figures}
        write_atomically(self.runs / f"{run.key}.json", (json.dumps(content) + "\n").encode())
        return Result(run, figures)

    def write(self, name: str, text: str) -> Path:
        """Writes a text file; returns its path."""
        path = self.path / name
        write_atomically(path, text.encode())
        return path


def plain(value: Any) -> Any:
    """A value as JSON has it: lists for tuples and arrays, numbers of Python, None for nan and inf.

    >>> plain({"losses": (1.0, float("nan"))})
    {'losses': [1.0, None]}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
