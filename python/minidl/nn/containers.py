"""Modules made of modules: Sequential, ModuleList, ModuleDict."""

from __future__ import annotations

import operator
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import groupby
from typing import Any, TypeVar, overload

from minidl.changes import version
from minidl.nn.fusion import fused
from minidl.nn.module import Module

Self = TypeVar("Self", bound="_ModuleSequence")


class _ModuleSequence(Module):
    """What Sequential and ModuleList share: children in an order, named by their position unless given names."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()

    def __len__(self) -> int:
        return len(self._names_by_kind["module"])

    def __iter__(self) -> Iterator[Module]:
        return map(self.__dict__.__getitem__, self._names_by_kind["module"])

    def __dir__(self) -> Iterable[str]:
        return [name for name in super().__dir__() if not name.isdigit()]

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self: Self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return self._of(list(self._of_kind("module"))[index])
        module: Module = self.__dict__[self._name_at(index)]
        return module

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name_at(index), module)

    def __delitem__(self, index: int | slice) -> None:
        kept = list(self)
        if not isinstance(index, slice):
            self._name_at(index)
        del kept[index]
        self._renumber(kept)

    def append(self: Self, module: Module) -> Self:
        """Add one module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self: Self, index: int, module: Module) -> Self:
        """Add one module before position `index`; the later ones move up by one."""
        self.append(module)
        modules = list(self)
        modules.insert(index, modules.pop())
        self._renumber(modules)
        return self

    def extend(self: Self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"{type(self).__name__}.extend should be called with an iterable, but got {type(modules).__name__}"
            )
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, index: int) -> Module:
        """Remove one module and return it."""
        module = self[index]
        del self[index]
        return module

    def __add__(self: Self, other: Iterable[Module]) -> Self:
        return self._of([(str(i), module) for i, module in enumerate([*self, *other])])

    def __iadd__(self: Self, other: Iterable[Module]) -> Self:
        return self.extend(other)

    def _of(self: Self, children: list[tuple[str, Module]]) -> Self:
        raise NotImplementedError

    def _renumber(self, modules: list[Module]) -> None:
        for name in list(self._names_by_kind["module"]):
            delattr(self, name)
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def _name_at(self, index: int) -> str:
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"index {position} is out of range")
        return list(self._names_by_kind["module"])[position]


class Sequential(_ModuleSequence):
    """Runs its children one after the other, each on the output of the one before: out = f_n(... f_2(f_1(x))).

    Takes the modules as arguments, or one ordered dictionary of name -> module. Slices are Sequentials that share the
    modules; `append`, `insert`, `extend`, `pop`, `+` and `del` work as on a list.

    Raises TypeError for a child that is not a module, IndexError for a position that does not exist.

    >>> import minidl
    >>> from minidl import nn
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3), nn.ReLU())
    >>> model(minidl.zeros(5, 2, 3)).shape
    minidl.Size([5, 3])
    >>> model[:2]
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=6, out_features=3, bias=True)
    )

    Neighbours that one kernel can do at once - Linear with ReLU, Sigmoid or Tanh; BatchNorm1d with ReLU and Dropout -
    are fused, with the numbers of the single layers; `steps` and `minidl.summary` show which. A layer with a hook is
    not fused.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            for module in modules:
                self.append(module)

    def forward(self, input: Any) -> Any:
        for step in self.steps():
            input = step(input)
        return input

    def steps(self) -> list[Callable[[Any], Any]]:
        """What forward calls, one after the other: the children, some of them fused into one kernel.

        >>> from minidl import nn
        >>> [type(step).__name__ for step in nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).steps()]
        ['LinearWithActivation', 'Linear']
        """
        known: tuple[int, list[Callable[[Any], Any]]] | None = self.__dict__.get("_steps")
        if known is None or known[0] != version():
            known = self.__dict__["_steps"] = (version(), fused(list(self)))
        return known[1]

    def _of(self: Self, children: list[tuple[str, Module]]) -> Self:
        return type(self)(dict(children))


class ModuleList(_ModuleSequence):
    """A list of modules whose parameters count as the owner's; it has no forward of its own.

    Raises TypeError for an element that is not a module, IndexError for a position that does not exist.

    >>> from minidl import nn
    >>> layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    >>> layers
    ModuleList(
      (0-2): 3 x Linear(in_features=4, out_features=4, bias=True)
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _of(self: Self, children: list[tuple[str, Module]]) -> Self:
        return type(self)(module for _, module in children)

    def _children_repr(self) -> list[str]:
        lines = []
        for text, group in groupby(enumerate(map(repr, self)), key=lambda pair: pair[1]):
            places = [place for place, _ in group]
            label = f"({places[0]}-{places[-1]}): {len(places)} x " if len(places) > 1 else f"({places[0]}): "
            lines.append(label + text.replace("\n", "\n  "))
        return lines


class ModuleDict(Module):
    """A dictionary of modules whose parameters count as the owner's; it keeps the order of insertion.

    Raises TypeError for a value that is not a module, KeyError for a key that is missing, empty, has a dot in it or is
    the name of an attribute.

    >>> from minidl import nn
    >>> heads = nn.ModuleDict({"digit": nn.Linear(8, 10), "parity": nn.Linear(8, 2)})
    >>> list(heads)
    ['digit', 'parity']
    >>> heads["parity"].out_features
    2
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        module: Module = self._modules[key]
        return module

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._names_by_kind["module"])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names_by_kind["module"])

    def __contains__(self, key: str) -> bool:
        return key in self._names_by_kind["module"]

    def clear(self) -> None:
        """Remove every module."""
        self._modules.clear()

    def pop(self, key: str) -> Module:
        """Remove one module and return it."""
        module: Module = self._modules.pop(key)
        return module

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self._modules.values()

    def items(self) -> ItemsView[str, Module]:
        """(name, module) pairs."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules from a mapping or from (name, module) pairs; names that exist are replaced."""
        for name, module in dict(modules).items():
            self[name] = module
