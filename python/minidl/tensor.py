"""Tensor: an array of a back end, its gradient, and the node of the tape that made it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

import numpy as np

from minidl import autograd, backends
from minidl._tape import TensorFields, connect_tensor
from minidl.autograd import Node
from minidl.backends import Backend
from minidl.changes import setting_changed
from minidl.dtypes import Size, device, device as device_type, dtype, from_numpy_dtype, to_numpy_dtype
from minidl.tensor_methods import TensorMethods

_handle_numbers = itertools.count()


class Tensor(TensorFields, TensorMethods):
    """A NumPy or CuPy array (``.array``) with a gradient.

    ``Tensor(data)`` takes an array (shared, not copied) or nested lists of numbers (float32).
    """

    # The fields, and the constructor that fills them, are compiled: csrc/tape/fields.h.
    __slots__ = ("__weakref__",)

    @staticmethod
    def _read_data(data: Any) -> tuple[Any, Backend]:
        """The array and its back end, for a constructor that was given no back end."""
        if isinstance(data, Tensor):
            return data.array, data.backend
        owner = backends.owner(data)
        if owner is None:
            return np.asarray(data, np.float32), backends.cpu
        from_numpy_dtype(data.dtype)
        return data, owner

    # ---- what it is

    @property
    def shape(self) -> Size:
        """The extents."""
        return Size(self.array.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one extent of it."""
        return self.shape if dim is None else self.array.shape[dim]

    @property
    def dtype(self) -> dtype:
        """The number type."""
        return from_numpy_dtype(self.array.dtype)

    @property
    def device(self) -> device:
        """Where the memory is."""
        return self.backend.device

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return cast(int, self.array.ndim)

    def dim(self) -> int:
        """The number of dimensions."""
        return cast(int, self.array.ndim)

    def numel(self) -> int:
        """The number of elements."""
        return cast(int, self.array.size)

    nelement = numel

    def element_size(self) -> int:
        """Bytes of one element."""
        return cast(int, self.array.itemsize)

    def stride(self) -> tuple[int, ...]:
        """Elements from one index to the next, per dimension."""
        return tuple(s // self.array.itemsize for s in self.array.strides)

    def is_contiguous(self) -> bool:
        """Whether the elements lie one after the other, last dimension fastest."""
        return cast(bool, self.array.flags.c_contiguous)

    def is_floating_point(self) -> bool:
        """Whether the number type is float32 or float64."""
        return cast(str, self.array.dtype.kind) == "f"

    @property
    def is_cuda(self) -> bool:
        """Whether the tensor lives on a GPU."""
        return self.backend.name == "cuda"

    # ---- gradient

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user rather than by a recorded operation."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The recorded operation that made this tensor."""
        return self._node

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets whether gradients are computed for this leaf."""
        if not requires_grad and self._node is not None:
            raise RuntimeError("requires_grad_: only a leaf can stop requiring a gradient; use detach()")
        if requires_grad and self.array.dtype.kind != "f":
            raise TypeError(f"requires_grad_: only float tensors have gradients, got {self.dtype}")
        self.requires_grad = requires_grad
        setting_changed()
        return self

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Adds d self / d leaf to ``leaf.grad``; see :func:`minidl.autograd.backward`."""
        autograd.backward(self, gradient, retain_graph, create_graph)

    def detach(self) -> Tensor:
        """The same memory without the history; an in-place change of one is seen, and counted, by the other."""
        return self._view(self.array)

    @property
    def data(self) -> Tensor:
        """The same memory without the history, as in PyTorch; writes through it are not seen by autograd."""
        return Tensor(self.array, self.backend)

    @data.setter
    def data(self, value: Tensor) -> None:
        self.array = value.array
        self.backend = value.backend
        setting_changed()

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Calls ``hook(grad)`` when this tensor's gradient is known; what it returns replaces the gradient."""
        if not self.requires_grad:
            raise RuntimeError("register_hook: the tensor does not require a gradient")
        owner: Any = self if self._node is None else self._node
        name = "_hooks" if self._node is None else "hooks"
        hooks = getattr(owner, name) or {}
        setattr(owner, name, hooks)
        return RemovableHandle(hooks, hook)

    def retain_grad(self) -> None:
        """Keeps the gradient of this intermediate tensor in ``.grad`` during backward."""
        if self._node is None:
            return
        import weakref

        reference = weakref.ref(self)

        def keep(grad: Tensor) -> None:
            tensor = reference()
            if tensor is not None:
                tensor.grad = grad if tensor.grad is None else tensor.grad + grad

        self.register_hook(keep)

    # ---- leaving minidl

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        if self.array.size != 1:
            raise ValueError(f"item: the tensor must have one element, got shape {tuple(self.array.shape)}")
        return self.array.item()

    def tolist(self) -> Any:
        """The values as nested lists."""
        return self.array.tolist()

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array that shares the memory."""
        if self.requires_grad:
            raise RuntimeError("numpy: the tensor requires a gradient; use tensor.detach().numpy()")
        if self.backend.name != "cpu":
            raise TypeError("numpy: the tensor lives on a GPU; use tensor.cpu().numpy()")
        return cast("np.ndarray[Any, Any]", self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        return array.astype(dtype) if dtype is not None and array.dtype != dtype else array.copy() if copy else array

    def __dlpack__(self, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise BufferError("__dlpack__: the tensor requires a gradient; use tensor.detach()")
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> Any:
        return self.array.__cuda_array_interface__

    def to(self, *targets: Any, dtype: Any = None, device: Any = None, copy: bool = False) -> Tensor:
        """The tensor with another dtype or on another device: ``to("cuda")``, ``to(minidl.float64)``, ``to(other)``."""
        for target in targets:
            if isinstance(target, Tensor):
                dtype, device = target.array.dtype, target.backend
            elif isinstance(target, (device_type, backends.Backend)) or (
                isinstance(target, str) and target[:4] in ("cpu", "cuda")
            ):
                device = target
            elif isinstance(target, bool):
                continue  # non_blocking
            else:
                dtype = target
        backend = self.backend if device is None else backends.load(device)
        raw = self.array.dtype if dtype is None else to_numpy_dtype(dtype)
        if backend is not self.backend:
            return self._cast(raw)._move(backend)
        if raw == self.array.dtype:
            return self.clone() if copy else self
        return self._cast(raw)

    # ---- inside minidl

    def _like(self, array: Any, backend: Backend) -> Tensor:
        return Tensor(array, backend)

    def _view(self, array: Any) -> Tensor:
        """A tensor on (part of) this tensor's memory; both count in-place changes together."""
        if self._version is None:
            self._version = [0]
        view = Tensor(array, self.backend)
        view._version = self._version
        return view

    def _bump_version(self) -> None:
        """Notes an in-place change of the memory."""
        if self._version is None:
            self._version = [1]
        else:
            self._version[0] += 1

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("deepcopy: only leaves can be copied; use detach() first")
        copied = type(self).__new__(type(self))
        Tensor.__init__(copied, self.array.copy(), self.backend, self.requires_grad)
        if self.grad is not None:
            copied.grad = self.grad.__deepcopy__(memo)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (_rebuild, (type(self), self.detach().cpu().numpy(), self.requires_grad))


connect_tensor(Tensor)


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook out again, and so does leaving a `with` block.

    >>> from minidl import nn
    >>> module = nn.Identity()
    >>> with module.register_forward_hook(lambda module, args, output: output + 1):
    ...     module(1)
    2
    >>> module(1)
    1
    """

    def __init__(self, hooks: dict[int, Any], hook: Any, prepend: bool = False) -> None:
        self._hooks = hooks
        self.id = next(_handle_numbers)
        setting_changed()
        later = {}
        if prepend:
            later.update(hooks)
            hooks.clear()
        hooks[self.id] = hook
        hooks.update(later)

    def remove(self) -> None:
        """Take the hook out; a second call does nothing."""
        self._hooks.pop(self.id, None)
        setting_changed()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()


def _rebuild(kind: type[Tensor], array: Any, requires_grad: bool) -> Tensor:
    tensor = kind.__new__(kind)
    Tensor.__init__(tensor, array, backends.cpu, requires_grad)
    return tensor
