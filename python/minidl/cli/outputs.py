"""Where a run writes, checked before it starts."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outputs:
    """Paths of checkpoint, record (None for stdout) and learning curve."""

    checkpoint: Path
    record: Path | None
    plot: Path

    def check(self) -> None:
        """Makes the folders and tries each one.

        Raises:
            OSError: a path cannot be written.
        """
        for path in (self.checkpoint, self.record, self.plot):
            if path is not None:
                check_writable(path)

    def picture(self, name: str) -> Path:
        """The path of a further picture, named as the learning curve is."""
        before, found, _ = self.plot.stem.rpartition("learning-curve")
        return self.plot.with_name(f"{before if found else self.plot.stem + '-'}{name}{self.plot.suffix}")


def choose_outputs(
    dataset: str, checkpoint: Path | None, record: str | None, plot: Path | None, resume: Path | None
) -> Outputs:
    """What was asked for; the rest goes beside the resumed checkpoint, or into runs/<dataset>-<date>-<time>."""
    if checkpoint is None and resume is not None:
        checkpoint = resume
    folder = checkpoint.parent if checkpoint is not None else _new_folder(dataset)
    name = f"{checkpoint.stem}-" if checkpoint is not None and checkpoint.stem != "checkpoint" else ""
    return Outputs(
        checkpoint=checkpoint or folder / "checkpoint.safetensors",
        record=None if record == "-" else Path(record) if record else folder / f"{name}record.json",
        plot=plot or folder / f"{name}learning-curve.png",
    )


def _new_folder(dataset: str) -> Path:
    base = Path("runs") / f"{dataset}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def check_folder(path: Path) -> None:
    """Makes a folder and tries it.

    Raises:
        OSError: nothing can be written there; the message says why.
    """
    if path.exists() and not path.is_dir():
        raise OSError(f"cannot write into {path}: it is a file; name a folder")
    check_writable(path / "events")


def check_writable(path: Path) -> None:
    """Makes the folder of a file and tries it.

    Raises:
        OSError: the file could not be written; the message says why.
    """
    if path.is_dir():
        raise OSError(f"cannot write {path}: it is a folder; name a file")
    if path.exists() and not os.access(path, os.W_OK):
        raise OSError(f"cannot write {path}: it exists and is write-protected")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}; choose another place") from error
