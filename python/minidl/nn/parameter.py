"""Parameter: a tensor that a module owns and an optimizer changes."""

from __future__ import annotations

from minidl.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that becomes one of a module's parameters when it is assigned as an attribute of that module.

    It shares memory with `data` and, unlike other tensors, requires grad unless told otherwise. The results of
    operations on parameters are plain tensors.

    Raises TypeError where `data` is not a tensor, or requires grad without being of a floating-point type.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Parameter(minidl.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Tensor, requires_grad: bool = True) -> None:
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data must be a Tensor, got {type(data).__name__}; wrap it in minidl.tensor()")
        shared = data.detach()
        super().__init__(shared.array, shared.backend)
        self._version = shared._version
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
