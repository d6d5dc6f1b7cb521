"""A module's state as a flat dictionary of tensors, and back: what checkpoints hold."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from minidl.autograd import no_grad
from minidl.nn.parameter import Parameter
from minidl.tensor import Tensor

if TYPE_CHECKING:
    from minidl.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """Which keys a checkpoint lacked, and which it had that the module has no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Slot(NamedTuple):
    """Where one entry of the state lives: an attribute of a module."""

    module: Module
    name: str

    @property
    def tensor(self) -> Tensor:
        tensor: Tensor = self.module.__dict__[self.name]
        return tensor


def slots(module: Module, prefix: str = "") -> Iterator[tuple[str, Slot]]:
    """Every entry with its key: a module's parameters, then its persistent buffers, then its children."""
    for name, parameter in module._of_kind("parameter"):
        if parameter is not None:
            yield prefix + name, Slot(module, name)
    for name, buffer in module._of_kind("buffer"):
        if buffer is not None and name not in module._non_persistent_buffers:
            yield prefix + name, Slot(module, name)
    for name, child in module._of_kind("module"):
        if child is not None:
            yield from slots(child, f"{prefix}{name}.")


def save(module: Module, prefix: str, keep_vars: bool) -> OrderedDict[str, Tensor]:
    """The state in order; detached tensors that share memory with the module's unless `keep_vars`."""
    return OrderedDict((key, slot.tensor if keep_vars else slot.tensor.detach()) for key, slot in slots(module, prefix))


def load(module: Module, state: Mapping[str, Tensor], strict: bool, assign: bool) -> IncompatibleKeys:
    """Check everything, then copy: after an error the module is as it was."""
    if not isinstance(state, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state)}.")
    wanted = dict(slots(module))
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    problems = []
    if strict and missing:
        problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}. ")
    if strict and unexpected:
        problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
    found = {key: slot for key, slot in wanted.items() if key in state}
    problems += [text for key, slot in found.items() if (text := _mismatch(key, slot.tensor, state[key]))]
    if problems:
        lines = "\n\t".join(problems)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{lines}")
    with no_grad():
        for key, slot in found.items():
            if assign:
                slot.module.__dict__[slot.name] = _replacement(slot.tensor, state[key])
            else:
                slot.tensor.copy_(state[key])
    return IncompatibleKeys(missing, unexpected)


def _mismatch(key: str, own: Tensor, given: object) -> str | None:
    if not isinstance(given, Tensor):
        return f'While copying the parameter named "{key}", expected a Tensor but received {type(given)}'
    if tuple(given.shape) != tuple(own.shape):
        return (
            f"size mismatch for {key}: copying a param with shape {tuple(given.shape)} from checkpoint, "
            f"the shape in current model is {tuple(own.shape)}."
        )
    return None


def _replacement(own: Tensor, given: Tensor) -> Tensor:
    if isinstance(own, Parameter) and not isinstance(given, Parameter):
        return Parameter(given, own.requires_grad)
    return given


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
