"""Reads checkpoints of the trainer, and says where one belongs to another model."""

from __future__ import annotations

import os
from typing import Any

from minidl import io

CHECKPOINT_VERSION = 1


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of a checkpoint: config, model, optimizer, scheduler, random, progress, history, callbacks.

    Raises:
        ValueError: the file is not a checkpoint of this version of the trainer.
    """
    state = io.load(path)
    if not isinstance(state, dict) or state.get("checkpoint_version") != CHECKPOINT_VERSION:
        raise ValueError(f"load: {path} must be a checkpoint of minidl's trainer, version {CHECKPOINT_VERSION}")
    return state


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
