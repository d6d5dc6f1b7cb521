"""Reads checkpoints of the trainer, and says where one belongs to another model."""

from __future__ import annotations

import os
from typing import Any

from minidl import io

CHECKPOINT_VERSION = 2


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of a checkpoint: config, model, optimizer, scheduler, random, progress, history, callbacks.

    One of version 1, before gradients could be accumulated, is brought up to date.

    Raises:
        ValueError: the file is not a checkpoint of the trainer, or of a version that this one does not know.
    """
    state = io.load(path)
    version = state.get("checkpoint_version") if isinstance(state, dict) else None
    if version not in (1, CHECKPOINT_VERSION):
        raise ValueError(
            f"load: {path} must be a checkpoint of minidl's trainer, version 1 to {CHECKPOINT_VERSION}, "
            f"got {'no checkpoint' if version is None else f'version {version}'}"
        )
    if version == 1:
        state["progress"]["accumulate"] = 1
    checkpoint: dict[str, Any] = state
    return checkpoint


def load_model(model: Any, state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Loads a state dict; where it belongs to another architecture, the first differing key is named.

    Raises:
        ValueError: keys or shapes differ.
    """
    own = model.state_dict()
    for key in [*own, *(key for key in state if key not in own)]:
        wanted = tuple(own[key].shape) if key in own else "absent"
        got = tuple(state[key].shape) if key in state else "absent"
        if wanted != got:
            raise ValueError(
                f"load: {path} is of another architecture: {key!r} has shape {wanted} in the model, {got} in the file"
            )
    model.load_state_dict(state)


def names_of(callbacks: list[Any]) -> list[str]:
    """A name for the state of each callback: its class, with a number where there are several."""
    names: list[str] = []
    for callback in callbacks:
        name = type(callback).__name__
        count = sum(type(other).__name__ == name for other in callbacks[: len(names)])
        names.append(f"{name} {count + 1}" if count else name)
    return names
