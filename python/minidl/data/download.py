"""Fetches one data file from the first mirror that has a sound copy of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from minidl.data.idx import CHUNK_BYTES, CorruptFileError, verify_idx

TIMEOUT_SECONDS = 30

# Called with the bytes received so far and the bytes expected, None where the server does not say.
Progress = Callable[[int, "int | None"], None]


class DownloadError(OSError):
    """No mirror gave a sound copy; the message says for each of them why."""


def download(
    urls: Sequence[str],
    target: Path,
    size_bytes: int,
    sha256: str,
    progress: Progress | None = None,
) -> None:
    """Writes an IDX file to `target`, from the first of `urls` whose content is right.

    The file is received under a temporary name, checked (size and SHA-256 of the uncompressed content), flushed to
    the disk, and only then renamed: `target` is never a partial or wrong file.

    Raises:
        DownloadError: every mirror failed.
    """
    import http.client

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    failures = []
    try:
        for url in urls:
            try:
                # A gzipped file may be a little larger than its content, never much.
                _receive(url, temporary, size_bytes + CHUNK_BYTES, progress)
                verify_idx(temporary, size_bytes, sha256)
            except CorruptFileError as error:
                failures.append(f"{url}: the file {error}")
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{url}: {_reason(error)}")
            else:
                os.replace(temporary, target)
                return
    finally:
        temporary.unlink(missing_ok=True)
    raise DownloadError(f"{target.name} could not be downloaded (" + "; ".join(failures) + ")")


def _receive(url: str, path: Path, max_bytes: int, progress: Progress | None) -> None:
    import urllib.request

    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, path.open("wb") as file:
        length = response.headers.get("Content-Length")
        expected = int(length) if length and length.isdigit() else None
        received = 0
        while chunk := response.read(CHUNK_BYTES >> 4):
            received += len(chunk)
            if received > max_bytes:
                raise CorruptFileError(f"must have at most {max_bytes} bytes, but it goes on")
            file.write(chunk)
            if progress:
                progress(received, expected)
        if expected is not None and received < expected:
            raise CorruptFileError(f"must have {expected} bytes, but the connection ended after {received}")
        file.flush()
        os.fsync(file.fileno())


def _reason(error: Exception) -> str:
    import urllib.error

    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(getattr(error.reason, "strerror", None) or error.reason)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@contextlib.contextmanager
def progress_bar(description: str, enabled: bool = True) -> Iterator[Progress | None]:
    """A bar on stderr with bytes, speed and the time left; yields what `download` reports to."""
    if not enabled:
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress as RichProgress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with RichProgress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(description, total=None)
        yield lambda received, expected: bars.update(task, completed=received, total=expected)
