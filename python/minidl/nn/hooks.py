"""Hooks around a module's forward: functions the user registers to watch or change what goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from minidl.anomaly import anomaly, running
from minidl.nn.backward_hooks import GradientWatch

if TYPE_CHECKING:
    from minidl.nn.module import Module


class Hook(NamedTuple):
    """A registered function and how it wants to be called."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


def call_with_hooks(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """pre-hooks -> forward -> hooks; hooks that asked for `always_call` run even where one of these raises."""
    if not anomaly.is_on:
        return _call(module, args, kwargs)
    with running(module):
        return _call(module, args, kwargs)


def _call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    called: set[int] = set()
    succeeded = False
    try:
        args, kwargs = _run_pre_hooks(module, args, kwargs)
        if module._backward_hooks:
            watch = GradientWatch(module)
            output = watch.around_output(module.forward(*watch.around_inputs(args), **kwargs))
        else:
            output = module.forward(*args, **kwargs)
        for identifier, hook in list(module._forward_hooks.items()):
            called.add(identifier)
            output = _run_hook(module, hook, args, kwargs, output)
        succeeded = True
        return output
    finally:
        if not succeeded:
            for identifier, hook in list(module._forward_hooks.items()):
                if hook.always_call and identifier not in called:
                    _run_hook(module, hook, args, kwargs, None)


def _run_pre_hooks(
    module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    for hook in module._forward_pre_hooks.copy().values():
        if hook.with_kwargs:
            changed = hook.function(module, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        f"{type(module).__name__}: a forward pre-hook with kwargs must return None or (args, kwargs), "
                        f"got {changed!r}"
                    )
                args, kwargs = changed
        else:
            changed = hook.function(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    return args, kwargs


def _run_hook(module: Module, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    inputs = (args, kwargs) if hook.with_kwargs else (args,)
    changed = hook.function(module, *inputs, output)
    return output if changed is None else changed
