"""Over all parameters at once: gradient clipping, and parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable

from minidl.autograd import no_grad
from minidl.ops.gradient_clipping import power_norm, scale_to_norm_, squared_norm
from minidl.ops.in_place import clamp_
from minidl.ops.indexing import cat
from minidl.ops.shape import reshape
from minidl.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else parameters
    return [parameter.grad for parameter in listed if parameter.grad is not None]


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales the gradients, taken as one vector, down to the norm ``max_norm`` if theirs is larger (Pascanu 2013).

    grad *= min(1, max_norm / (norm + 1e-6)), in place; returns the norm before. ``norm_type`` is 2, inf or any p > 0.
    RuntimeError for a norm that is not finite with ``error_if_nonfinite``. ``foreach`` changes nothing.
    """
    if not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be positive, got {norm_type}")
    grads = _gradients(parameters)
    if not grads:
        return Tensor(0.0)
    backend = grads[0].backend
    if norm_type == 2:
        squared = squared_norm(grads)
        norm = backend.xp.sqrt(squared)
    else:
        norm = power_norm(grads, norm_type)
        squared = norm**2
    if error_if_nonfinite and not math.isfinite(float(norm[0])):
        raise RuntimeError(
            f"clip_grad_norm_: the norm of order {norm_type} of the gradients is {float(norm[0])}, so they cannot be "
            "clipped; look for the layer that made it, or pass error_if_nonfinite=False"
        )
    scale_to_norm_(grads, squared, max_norm)
    return Tensor(norm.astype(grads[0].array.dtype).reshape(()), backend)


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamps every element of the gradients to [-clip_value, clip_value], in place. ``foreach`` changes nothing."""
    for grad in _gradients(parameters):
        clamp_(grad, -clip_value, clip_value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of the parameters, one after the other, as one vector."""
    return cat([reshape(parameter, (-1,)) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Makes the parameters' data consecutive pieces of ``vec``, in their shapes; the memory is shared."""
    listed = list(parameters)
    wanted = sum(parameter.numel() for parameter in listed)
    if vec.shape != (wanted,):
        raise ValueError(f"vector_to_parameters: vec must have shape ({wanted},), got {tuple(vec.shape)}")
    place = 0
    for parameter in listed:
        piece = vec.array[place : place + parameter.numel()].reshape(parameter.array.shape)
        parameter.data = Tensor(piece, vec.backend)
        place += parameter.numel()
