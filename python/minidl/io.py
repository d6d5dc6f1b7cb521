"""Saving and loading: safetensors files, written whole or not at all. Nothing is ever pickled or unpickled."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from minidl import ops
from minidl.tensor import Tensor

StrPath = str | os.PathLike[str]
STRUCTURE_KEY = "minidl"


def write_atomically(path: StrPath, content: bytes) -> None:
    """Writes a file under a temporary name, flushes it to the disk and renames it over `path`.

    Whatever happens - a full disk, a kill, a power cut - `path` holds either its old content or all of the new one.

    Raises:
        OSError: the file could not be written; what was at `path` is still there.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        kept = "; the file that was there is unchanged" if target.exists() else ""
        raise OSError(error.errno, f"{error.strerror} while writing{kept}", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    # The rename itself is durable only once the folder is; systems without folder handles cannot be asked for it.
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save_safetensors(tensors: Mapping[str, Any], path: StrPath, metadata: Mapping[str, str] | None = None) -> None:
    """Writes named tensors (or arrays) to a safetensors file, which every safetensors reader can open.

    Raises:
        TypeError: a value that is neither a tensor nor an array.
        OSError: the file could not be written; what was at `path` is still there.
    """
    write_atomically(path, _serialize(tensors, metadata))


def load_safetensors(path: StrPath, device: Any = "cpu") -> dict[str, Any]:
    """The tensors of a safetensors file by name.

    Raises:
        ValueError: the file is damaged or not a safetensors file.
    """
    arrays, _ = read_arrays(Path(path).read_bytes(), str(path))
    return {name: _to_device(array, device) for name, array in arrays.items()}


def save(obj: Any, f: StrPath | IO[bytes]) -> None:
    """Saves tensors in dicts, lists and tuples, with numbers, strings and None among them, as a safetensors file.

    A state dict becomes a file with one tensor per key, as safetensors' own functions write it; PyTorch's
    `torch.save(model.state_dict(), path)` and `torch.save({"model": ..., "epoch": 3}, path)` work unchanged.

    Raises:
        TypeError: an object that is none of these, such as a whole module; save its `state_dict()`.
        OSError: the file could not be written; what was at the path is still there.
    """
    content = pack(obj)
    if hasattr(f, "write"):
        f.write(content)
    else:
        write_atomically(f, content)


def load(f: StrPath | IO[bytes], map_location: Any = None, weights_only: bool = True) -> Any:
    """What `save` wrote, or the tensors of any safetensors file, on the device `map_location` (the CPU if None).

    `weights_only` is accepted for PyTorch's sake: nothing in the file is ever executed.

    Raises:
        ValueError: the file is damaged or not a safetensors file.
    """
    content = f.read() if hasattr(f, "read") else Path(f).read_bytes()
    return unpack(content, str(getattr(f, "name", f)), "cpu" if map_location is None else map_location)


def pack(obj: Any) -> bytes:
    """The bytes of the safetensors file that `save` writes."""
    tensors: dict[str, Any] = {}
    structure = _flatten(obj, "", tensors)
    return _serialize(tensors, {STRUCTURE_KEY: json.dumps(structure)})


def unpack(content: bytes, name: str = "bytes", device: Any = "cpu") -> Any:
    """The object that `pack` made bytes of; `name` is used in errors."""
    arrays, metadata = read_arrays(content, name)
    if STRUCTURE_KEY not in metadata:
        return {key: _to_device(array, device) for key, array in arrays.items()}
    return _restore(json.loads(metadata[STRUCTURE_KEY]), arrays, device)


def read_arrays(content: bytes, name: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Arrays and metadata of a safetensors file; `name` is used in errors."""
    import safetensors
    import safetensors.numpy

    try:
        arrays = safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        is_pickle = content[:2] == b"PK" or content[:1] == b"\x80"
        got = "got a pickle, which is never opened" if is_pickle else f"but it is damaged or something else ({error})"
        raise ValueError(f"load: {name} must be a safetensors file, {got}") from None
    header_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_bytes])
    return arrays, header.get("__metadata__", {})


def _serialize(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None) -> bytes:
    import safetensors.numpy

    arrays = {name: _to_array(name, value) for name, value in tensors.items()}
    return safetensors.numpy.save(arrays, dict(metadata) if metadata else None)


def _to_array(name: str, value: Any) -> npt.NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"save: {name!r} must be a tensor or an array, got {type(value).__name__}")
    array: npt.NDArray[Any] = np.ascontiguousarray(value).reshape(value.shape)
    return array


def _to_device(array: npt.NDArray[Any], device: Any) -> Any:
    tensor = ops.tensor(array)
    return tensor if str(device) == "cpu" else tensor.to(device)


# The structure is JSON with the tensors taken out: {"tensor": name}, {"dict": [[key, value], ...]}, {"list": [...]},
# {"tuple": [...]}; numbers, strings, booleans and None stand for themselves.
def _flatten(obj: Any, name: str, tensors: dict[str, Any]) -> Any:
    if obj is None or isinstance(obj, str | bool | int | float):
        return obj
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, Tensor | np.ndarray):
        key = name or "tensor"
        while key in tensors:
            key += "_"
        tensors[key] = obj
        return {"tensor": key}
    prefix = f"{name}." if name else ""
    if isinstance(obj, Mapping):
        for key in obj:
            if not isinstance(key, str | int):
                raise TypeError(f"save: keys must be strings or integers, got {key!r}")
        return {"dict": [[key, _flatten(value, f"{prefix}{key}", tensors)] for key, value in obj.items()]}
    if isinstance(obj, list | tuple):
        kind = "tuple" if isinstance(obj, tuple) else "list"
        return {kind: [_flatten(value, f"{prefix}{i}", tensors) for i, value in enumerate(obj)]}
    hint = "; save its state_dict()" if hasattr(obj, "state_dict") else ""
    raise TypeError(
        f"save: {name or 'the object'} must be tensors in dicts, lists and tuples, numbers, strings or None, "
        f"got {type(obj).__name__}{hint}"
    )


def _restore(structure: Any, arrays: Mapping[str, npt.NDArray[Any]], device: Any) -> Any:
    if not isinstance(structure, dict):
        return structure
    ((kind, content),) = structure.items()
    if kind == "tensor":
        return _to_device(arrays[content], device)
    if kind == "dict":
        return {key: _restore(value, arrays, device) for key, value in content}
    restored = [_restore(value, arrays, device) for value in content]
    return tuple(restored) if kind == "tuple" else restored
