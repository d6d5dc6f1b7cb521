"""Module: the base class of everything that has parameters, buffers or children."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from minidl.anomaly import anomaly
from minidl.changes import watch
from minidl.dtypes import device as device_class, float32, float64, from_numpy_dtype, to_numpy_dtype
from minidl.nn import state_dict as states
from minidl.nn.hooks import Hook, call_with_hooks
from minidl.nn.parameter import Parameter
from minidl.nn.registry import Registry
from minidl.nn.state_dict import IncompatibleKeys
from minidl.tensor import RemovableHandle, Tensor

__all__ = ["Module", "Parameter"]

Self = TypeVar("Self", bound="Module")


class Module(Registry):
    """The base class of all layers and models.

    Subclasses call `super().__init__()` first, assign parameters and child modules as attributes, and define
    `forward`. Calling the module runs its forward pre-hooks, `forward` and its forward hooks. `training` says which of
    its two modes the module is in; dropout and batch norm read it.

    Raises AttributeError where a parameter, buffer or child is assigned before `super().__init__()` has run.

    >>> import minidl
    >>> from minidl import nn
    >>> class Classifier(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(4, 3)
    ...         self.output = nn.Linear(3, 2)
    ...     def forward(self, x):
    ...         return self.output(minidl.relu(self.hidden(x)))
    >>> model = Classifier()
    >>> model
    Classifier(
      (hidden): Linear(in_features=4, out_features=3, bias=True)
      (output): Linear(in_features=3, out_features=2, bias=True)
    )
    >>> model(minidl.zeros(5, 4)).shape
    minidl.Size([5, 2])
    >>> list(model.state_dict())
    ['hidden.weight', 'hidden.bias', 'output.weight', 'output.bias']
    """

    training: bool
    _forward_pre_hooks: dict[int, Hook]
    _forward_hooks: dict[int, Hook]
    _backward_hooks: dict[int, Hook]

    def __init__(self) -> None:
        super().__init__()
        self.__dict__.update(training=True, _forward_pre_hooks={}, _forward_hooks={}, _backward_hooks={})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or anomaly.is_on:
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # ---- walking over what the module owns

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and everything below it, parents first, with dotted names; shared ones once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._of_kind("module"):
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and everything below it."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one; shared ones once."""
        seen = set()
        for name, child in self._of_kind("module"):
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly below this one."""
        return (child for _, child in self.named_children())

    def _named_tensors(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in owners:
            for name, tensor in module._of_kind(kind):
                if tensor is None or id(tensor) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(tensor))
                yield f"{path}.{name}" if path else name, tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with dotted names; a shared one once, under its first name."""
        return self._named_tensors("parameter", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, in the order of the state_dict."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with dotted names, persistent or not."""
        return self._named_tensors("buffer", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, persistent or not."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path such as "encoder.0"; "" is this one. AttributeError where there is none."""
        module = self
        for name in target.split(".") if target else []:
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            child = getattr(module, name)
            if not isinstance(child, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path. Raises AttributeError where there is none."""
        parameter = self._get_tensor("parameter", target)
        if not isinstance(parameter, Parameter):
            raise AttributeError(f"`{target}` is not an nn.Parameter")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path. Raises AttributeError where there is none."""
        buffer = self._get_tensor("buffer", target)
        if not isinstance(buffer, Tensor):
            raise AttributeError(f"`{target}` is not a buffer")
        return buffer

    def _get_tensor(self, kind: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not hasattr(owner, name):
            raise AttributeError(f"{type(owner).__name__} has no attribute `{name}`")
        return getattr(owner, name) if name in owner._names_by_kind[kind] else None

    # ---- changing everything below at once

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below this one, then on this one; usually to initialise weights."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Switch this module and everything below it to training mode, or out of it."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Switch to evaluation mode: dropout passes everything, batch norm uses its running statistics."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Say for all parameters whether gradients are wanted; False freezes the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                if watch.leaves is not None:
                    watch.leaves.note_cleared(parameter)
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = parameter.grad.detach().zero_()

    def _apply(self: Self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Replace every tensor by fn(tensor). Parameters stay the same objects: optimizers hold on to them."""
        for module in self.modules():
            for _, parameter in module._of_kind("parameter"):
                if parameter is not None:
                    grad = parameter.grad
                    parameter.data = fn(parameter.data)
                    parameter.grad = None if grad is None else fn(grad.detach())
            for name, buffer in module._of_kind("buffer"):
                if buffer is not None:
                    module.__dict__[name] = fn(buffer)
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Move to a device and/or convert floating-point tensors to a dtype: to(device), to(dtype), to(device, dtype),
        to(tensor). Works in place and returns the module. Raises TypeError where the dtype is not a floating-point
        one."""
        device, dtype = _parse_to(*args, **kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"nn.Module.to only accepts floating point dtypes, but got desired dtype={dtype}")
        return self._apply(
            lambda tensor: tensor.to(device=device, dtype=dtype if tensor.dtype.is_floating_point else tensor.dtype)
        )

    def cpu(self: Self) -> Self:
        """Move to the CPU, in place."""
        return self.to(device="cpu")

    def cuda(self: Self, device: int | str | None = None) -> Self:
        """Move to the GPU, in place."""
        where = f"cuda:{device}" if isinstance(device, int) else device
        return self.to(device="cuda" if where is None else where)

    def float(self: Self) -> Self:
        """Convert floating-point tensors to float32, in place."""
        return self.to(dtype=float32)

    def double(self: Self) -> Self:
        """Convert floating-point tensors to float64, in place."""
        return self.to(dtype=float64)

    # ---- hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args) before `forward`; what it returns, unless None, replaces the arguments.

        With `with_kwargs` it is hook(module, args, kwargs) and returns None or (args, kwargs).
        """
        return RemovableHandle(self._forward_pre_hooks, Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args, output) after `forward`; what it returns, unless None, replaces the output.

        With `with_kwargs` it is hook(module, args, kwargs, output); with `always_call` it runs even where forward
        raises.
        """
        return RemovableHandle(self._forward_hooks, Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_input, grad_output) when the gradients with respect to the inputs are known.

        Both are tuples, with None where a positional argument takes no gradient. What the hook returns, unless None,
        replaces grad_input. Where no input requires a gradient it is called once grad_output is known.
        """
        return RemovableHandle(self._backward_hooks, Hook(hook), prepend)

    # ---- state

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
        """Parameters and persistent buffers by dotted name; tensors share memory with the module's, without grad."""
        return states.save(self, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy a state_dict into this module (`assign`: take over its tensors) and return the keys that did not match.

        Raises RuntimeError that names every key that is missing or unexpected (with strict=False these are only
        returned) and both shapes of every one that does not fit; the module is then unchanged.
        """
        return states.load(self, state_dict, strict, assign)

    # ---- text

    def extra_repr(self) -> str:
        """What repr shows beside the name and the children; subclasses override it."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = self._children_repr()
        if not children and "\n" not in extra:
            return f"{self._get_name()}({extra})"
        lines = (extra.split("\n") if extra else []) + children
        return "\n".join([f"{self._get_name()}(", *("  " + line for line in lines), ")"])

    def _children_repr(self) -> list[str]:
        return [f"({name}): {_indented(repr(child))}" for name, child in self._of_kind("module")]


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _parse_to(*targets: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> tuple[Any, Any]:
    """(device, dtype) of the arguments of `to`; either may be None."""
    for target in targets:
        if isinstance(target, Tensor):
            device, dtype = target.device, target.dtype
        elif isinstance(target, (str, device_class)):
            device = target
        elif not isinstance(target, bool):  # a boolean in this place is PyTorch's non_blocking
            dtype = target
    return device, None if dtype is None else from_numpy_dtype(to_numpy_dtype(dtype))
