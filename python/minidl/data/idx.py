"""The IDX format of MNIST, gzipped or plain: read with every field checked, corrupt files moved aside."""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

# The third byte of an IDX file names the type of its elements, big-endian.
DTYPES = {0x08: "uint8", 0x09: "int8", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CHUNK_BYTES = 1 << 20
# Few calls: between them, a thread that has the interpreter's lock keeps it for 5 ms.
UNPACKED_CHUNK_BYTES = 16 << 20
MAX_BYTES = 1 << 32


class CorruptFileError(ValueError):
    """A data file is not what its name says; it was moved aside and nothing of it was used."""


def read_idx(
    path: str | os.PathLike[str], size_bytes: int | None = None, sha256: str | None = None
) -> npt.NDArray[Any]:
    """The array in an IDX file, gzipped or plain, in the machine's byte order.

    Args:
        path: the file; whether it is gzipped is read from its first two bytes.
        size_bytes: size that the uncompressed content must have.
        sha256: SHA-256 that the uncompressed content must have.

    Raises:
        CorruptFileError: a web page, a wrong header, too few or too many bytes, another size or hash. The message
            names the file, which is renamed to `<path>.bad`.
    """
    path = Path(path)
    try:
        return verify_idx(path, size_bytes, sha256)
    except CorruptFileError as error:
        raise CorruptFileError(f"read_idx: {path} {error}; {_set_aside(path)}") from None


def verify_idx(path: Path, size_bytes: int | None = None, sha256: str | None = None) -> npt.NDArray[Any]:
    """read_idx without renaming: the error says what is wrong, and the file stays where it is."""
    with path.open("rb") as file:
        start = file.read(64)
        file.seek(0)
        _refuse_web_page(start)
        try:
            if start[:2] == b"\x1f\x8b":
                return _parse(_Unpacked(file.read()), size_bytes, sha256)
            return _parse(file, size_bytes, sha256)
        except EOFError:
            raise CorruptFileError("must be a whole gzip file, but it is cut short") from None
        except zlib.error as error:
            raise CorruptFileError(f"must be a sound gzip file, but it is damaged ({error})") from None


class _Unpacked:
    """The content of gzip data, in as few calls as it is read by: gzip.GzipFile takes 8 KiB at a time."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, fewer only at the end. Raises zlib.error, and EOFError where the data are cut short."""
        content = self._member.decompress(self._packed, count)
        self._packed = self._member.unconsumed_tail
        while len(content) < count:
            if not self._member.eof:
                raise EOFError
            following = self._member.unused_data.lstrip(b"\0")  # another member, after padding
            if not following:
                break
            self._member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            content += self._member.decompress(following, count - len(content))
            self._packed = self._member.unconsumed_tail
        return content


def _parse(file: IO[bytes] | _Unpacked, size_bytes: int | None, sha256: str | None) -> npt.NDArray[Any]:
    header = file.read(4)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in DTYPES or header[3] == 0:
        raise CorruptFileError(f"must start with an IDX header such as 00 00 08 03, got {header.hex(' ') or 'nothing'}")
    extents = file.read(4 * header[3])
    if len(extents) < 4 * header[3]:
        raise CorruptFileError(f"must hold {header[3]} extents after its header, but it is cut short")
    shape = tuple(int(extent) for extent in np.frombuffer(extents, ">u4"))
    dtype = np.dtype(DTYPES[header[2]])
    content_bytes = math.prod(shape) * dtype.itemsize
    claimed_bytes = len(header) + len(extents) + content_bytes
    if claimed_bytes > MAX_BYTES or (size_bytes is not None and claimed_bytes != size_bytes):
        wanted = f"be {size_bytes}" if size_bytes is not None else f"be at most {MAX_BYTES}"
        raise CorruptFileError(f"must {wanted} bytes uncompressed, but its header {shape} makes {claimed_bytes}")
    content = _read_exactly(file, content_bytes)
    if file.read(1):
        raise CorruptFileError(f"must end after {claimed_bytes} bytes as its header {shape} says, but it goes on")
    if sha256 is not None:
        digest = hashlib.sha256(header + extents)
        digest.update(content)
        if digest.hexdigest() != sha256:
            raise CorruptFileError(f"must have SHA-256 {sha256}, got {digest.hexdigest()}")
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_exactly(file: IO[bytes] | _Unpacked, count: int) -> bytearray:
    # In chunks: memory grows with what is really there, not with what a header claims.
    chunks: list[bytes] = []
    missing = count
    while missing > 0:
        chunks.append(file.read(min(UNPACKED_CHUNK_BYTES, missing)))
        missing -= len(chunks[-1])
        if not chunks[-1]:
            raise CorruptFileError(f"must hold {count} bytes after its header, but ends after {count - missing}")
    return bytearray().join(chunks)


def _refuse_web_page(start: bytes) -> None:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        first_line = text.split(b"\n")[0].decode("ascii", "replace")
        raise CorruptFileError(f"must be an IDX file, but it is a web page (it starts with {first_line!r})")


def _set_aside(path: Path) -> str:
    bad = path.with_name(path.name + ".bad")
    try:
        os.replace(path, bad)
    except OSError as error:
        return f"it could not be moved aside ({error.strerror}): replace it"
    return f"it was moved to {bad.name}, put a good copy in its place"
