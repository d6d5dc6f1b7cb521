"""Registry: which attributes of a module are parameters, buffers or child modules."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from minidl.changes import mode_switched, setting_changed
from minidl.nn.parameter import Parameter
from minidl.tensor import Tensor

if TYPE_CHECKING:
    from minidl.nn.module import Module

_EXPECTED = {"parameter": "nn.Parameter", "buffer": "Tensor", "module": "nn.Module"}


class Registry:
    """An object that notes, in the order of registration, which of its attributes are of which kind.

    The values lie in `__dict__` like any attribute's, so that reading one costs no more than usual; the names are
    sorted by kind in `_names_by_kind`, also of those that are None for the time being.
    """

    _names_by_kind: dict[str, dict[str, None]]
    _non_persistent_buffers: set[str]

    def __init__(self) -> None:
        # Straight into __dict__: __setattr__ looks names up here.
        self.__dict__["_names_by_kind"] = {kind: {} for kind in _EXPECTED}
        self.__dict__["_non_persistent_buffers"] = set()

    def __getattr__(self, name: str) -> Any:
        """Runs only for attributes that do not exist."""
        message = f"'{type(self).__name__}' object has no attribute '{name}'"
        if name in ("_names_by_kind", "_forward_hooks"):
            message += f"; call super().__init__() first in {type(self).__name__}.__init__"
        raise AttributeError(message, name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._take_over("parameter", name, value)
        elif isinstance(value, Registry):
            self._take_over("module", name, value)
        else:
            if not isinstance(value, Tensor):
                self._note_change(name, value)
            kind = self._kind_of(name)
            if kind is not None and value is not None and not (kind == "buffer" and isinstance(value, Tensor)):
                slot = "child module" if kind == "module" else kind
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as {slot} '{name}' ({_EXPECTED[kind]} or None expected)"
                )
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._forget(name)
        setting_changed()

    def _note_change(self, name: str, value: Any) -> None:
        """Options such as Dropout's p are passed to kernels by value: a step recorded with the old one is outdated."""
        before = self.__dict__.get(name)
        if name == "training":
            if value != before:
                mode_switched(self)
            return
        is_equal = isinstance(value, int | float | str) and type(before) is type(value) and before == value
        if before is not value and not is_equal:
            setting_changed()

    def _kind_of(self, name: str) -> str | None:
        names = self.__dict__.get("_names_by_kind")
        if names is not None:
            for kind, registered in names.items():
                if name in registered:
                    return str(kind)
        return None

    def _of_kind(self, kind: str) -> Iterator[tuple[str, Any]]:
        own = self.__dict__
        return ((name, own[name]) for name in self._names_by_kind[kind])

    def _forget(self, name: str) -> None:
        for registered in self._names_by_kind.values():
            registered.pop(name, None)
        self._non_persistent_buffers.discard(name)

    def _take_over(self, kind: str, name: str, value: Any) -> None:
        """Assignment: an attribute of that name that is of another kind, or of none, gives way."""
        self._require_init(kind)
        if name not in self._names_by_kind[kind] and name in self.__dict__:
            delattr(self, name)
        self._register(kind, name, value)

    def _register(self, kind: str, name: str, value: Any) -> None:
        self._require_init(kind)
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in self._names_by_kind[kind] and (
            name in self.__dict__ or getattr(type(self), name, None) is not None
        ):
            raise KeyError(f"attribute '{name}' already exists")
        self._names_by_kind[kind][name] = None
        self.__dict__[name] = value
        setting_changed()

    def _require_init(self, kind: str) -> None:
        if "_names_by_kind" not in self.__dict__:
            raise AttributeError(
                f"cannot assign {kind} before Module.__init__() call; "
                f"call super().__init__() first in {type(self).__name__}.__init__"
            )

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Own `param` under that name; None keeps the place, without an entry in the state."""
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' (nn.Parameter or None required)"
            )
        self._register("parameter", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Own a tensor that is state but not trained, such as a running mean; in the state_dict where `persistent`."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (Tensor or None required)"
            )
        self._register("buffer", name, tensor)
        if persistent:
            self._non_persistent_buffers.discard(name)
        else:
            self._non_persistent_buffers.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Own a child under that name."""
        if isinstance(module, type):
            raise TypeError(f"{module.__qualname__} is a class, not a module; write {module.__name__}()")
        if module is not None and not isinstance(module, Registry):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._register("module", name, module)

    register_module = add_module

    # PyTorch's code outside the library reads and writes these dictionaries; here they are views.

    @property
    def _parameters(self) -> KindView:
        return KindView(self, "parameter")

    @property
    def _buffers(self) -> KindView:
        return KindView(self, "buffer")

    @property
    def _modules(self) -> KindView:
        return KindView(self, "module")


class KindView(MutableMapping[str, Any]):
    """The attributes of one kind as a dictionary: writing to it registers, deleting unregisters."""

    def __init__(self, owner: Registry, kind: str) -> None:
        self._owner = owner
        self._kind = kind

    def __getitem__(self, name: str) -> Any:
        if name not in self._owner._names_by_kind[self._kind]:
            raise KeyError(name)
        return self._owner.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._owner._register(self._kind, name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self._owner._names_by_kind[self._kind]:
            raise KeyError(name)
        delattr(self._owner, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._owner._names_by_kind[self._kind])

    def __len__(self) -> int:
        return len(self._owner._names_by_kind[self._kind])

    def __repr__(self) -> str:
        return repr(dict(self))
