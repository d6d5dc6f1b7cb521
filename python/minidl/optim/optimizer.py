"""Optimizer: parameter groups, state, checkpoints; each step is one kernel call per group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np

from minidl._tape import note_changes, step_operands
from minidl.autograd import enable_grad
from minidl.changes import setting_changed, watch
from minidl.ops.gradient_clipping import by_kind, note_changed, scale_to_norm_, squared_norm
from minidl.optim.param_group import ParamGroup
from minidl.tensor import Tensor

_float64 = np.dtype(np.float64)

Operands = tuple[list[Any], ...]  # arrays of the parameters, of their gradients, of each state, of each counter


class Optimizer:
    """The base of all optimizers, with PyTorch's interface.

    ``param_groups`` is a list of dictionaries of options, ``state`` a dictionary from parameter to its tensors. A
    parameter whose grad is None is skipped and its state, the count of its steps included, stays as it is.

    Every option may differ per group. Three are minidl's own; each has its part in a step of every parameter that has a
    gradient, in this order:

    - ``max_grad_norm``, before the step: the gradients of the group, taken as one vector, are scaled down to this norm.
    - ``l1_decay``: w = sign(w) * max(|w| - lr * l1_decay, 0), the proximal step of the penalty l1_decay * sum of |w|
      (FOBOS, Duchi and Singer 2009). Weights become exactly 0, which the penalty as a term of the loss does not give.
      The step itself knows nothing of it: adaptive rates and momentum do not change the threshold.
    - ``max_norm``: every row of a weight matrix, the weights into one unit, is scaled down to a norm of at most this
      (Srivastava 2014): row *= min(1, max_norm / |row|). Of more than 2 dimensions the first counts the units; vectors
      are left alone, and so is a row that holds nan or inf. What is scaled in float32 has a norm of at most max_norm,
      and of at least (1 - 2.5 * 2^-23) * max_norm, computed exactly; in float64 the rounding of the sum of squares
      comes on top, about 2^-53 times the square root of the row's length. With ``l1_decay`` before it, this is the
      proximal step of both together (Yu 2013).

    On the CPU a step takes denormal numbers (below 1.18e-38 in float32, 2.23e-308 in float64) for 0: averages of
    gradients that have become 0 end there, instead of shrinking to numbers with which many processors compute very
    slowly.

    PyTorch's ``foreach``, ``fused`` and ``capturable`` are accepted and change nothing, because every step is fused and
    can be captured; ``differentiable=True`` is not supported.

    A subclass names its kernel and, in the kernel's order, the tensors that it keeps per parameter.

    >>> import minidl
    >>> weight = minidl.tensor([[3.0, 4.0], [0.1, -0.6]], requires_grad=True)
    >>> weight.grad = minidl.zeros(2, 2)
    >>> minidl.optim.SGD([weight], lr=1.0, l1_decay=0.2, max_norm=1.0).step()
    >>> [[round(w, 4) for w in row] for row in weight.tolist()]
    [[0.5932, 0.8051], [0.0, -0.4]]
    """

    kernel: str
    counter_names: tuple[str, ...] = ("step",)  # float64, one element per parameter

    def __init__(self, params: Any, defaults: dict[str, Any], implementation: dict[str, bool | None]) -> None:
        name = type(self).__name__
        for option, value in implementation.items():
            if option not in ("foreach", "fused", "capturable", "differentiable"):
                raise TypeError(f"{name}() got an unexpected keyword argument {option!r}")
            if option == "differentiable" and value:
                raise ValueError(f"{name}: differentiable=True is not supported; steps are not recorded")
        if isinstance(params, (Tensor, dict)):
            raise TypeError(f"{name}: params must be an iterable of tensors or of dicts, got {type(params).__name__}")
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.param_groups: list[ParamGroup] = []
        self.steps_taken = 0
        groups = list(params)
        if not groups:
            raise ValueError(f"{name}: params is empty; give it model.parameters()")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    # ---- what a subclass says

    def state_names(self, group: ParamGroup) -> tuple[str | None, ...]:
        """The state that the kernel takes, in its order; None for what these options do without."""
        raise NotImplementedError

    def scalars(self, group: ParamGroup) -> tuple[Any, ...]:
        """The kernel's scalars."""
        raise NotImplementedError

    def initial_value(self, name: str, group: ParamGroup) -> float:
        """What a state or counter starts from."""
        return 0.0

    # ---- stepping

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes every parameter by its gradient. ``closure`` computes the loss anew, and step returns it."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        self.steps_taken += 1
        return loss

    def _step_group(self, group: ParamGroup) -> None:
        active = [param for param in group["params"] if param.grad is not None]
        if group["max_grad_norm"] is not None and active:
            grads: list[Tensor] = [param.grad for param in active]
            scale_to_norm_(grads, squared_norm(grads), group["max_grad_norm"])
        names = self.state_names(group)
        counters = self.counter_names if any(names) else (None,) * len(self.counter_names)
        operands = step_operands(active, self.state, names, counters)
        if operands is not None:
            self._step_kind(active, operands, group)
            return
        for params in by_kind(active):
            for param in params:
                self._make_state(param, group, {*names, *counters})
            of_kind = step_operands(params, self.state, names, counters)
            self._step_kind(params, cast("Operands", of_kind), group)

    def _step_kind(self, params: list[Tensor], operands: Operands, group: ParamGroup) -> None:
        """The step of parameters of one device and number type."""
        if not params:
            return
        backend = params[0].backend
        arrays, grads, *kept = operands
        step = getattr(backend.kernels, self.kernel)
        schedule, scalars = group.schedule(backend), self.scalars(group)
        written = arrays
        try:
            step(arrays, grads, *kept, schedule, *scalars)
        except ValueError:  # before anything was changed; where the arrays are not contiguous, copies are
            written = [backend.contiguous(array) for array in arrays]
            step(written, [backend.contiguous(grad) for grad in grads], *kept, schedule, *scalars)
        if group["l1_decay"] > 0:
            backend.kernels.soft_threshold(written, schedule, group["l1_decay"])
        if group["max_norm"] is not None:
            matrices = [array for array in written if array.ndim > 1]
            if matrices:
                backend.kernels.limit_row_norms(matrices, group["max_norm"])
        if written is arrays:
            note_changes(params)
        else:
            note_changed(params, written)

    def _make_state(self, param: Tensor, group: ParamGroup, names: set[Any]) -> None:
        """What of a parameter's state is not there yet."""
        state = self.state.setdefault(param, {})
        for name in (*self.counter_names, *self.state_names(group)):
            if name is not None and name in names and name not in state:
                is_counter = name in self.counter_names
                shape, dtype = ((), _float64) if is_counter else (param.array.shape, param.array.dtype)
                array = param.backend.empty(shape, dtype)
                param.backend.kernels.fill(array, self.initial_value(name, group))
                state[name] = Tensor(array, param.backend)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients, or fills them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if watch.leaves is not None and (set_to_none or param.grad is None):
                    watch.leaves.note_cleared(param)
                if set_to_none or param.grad is None:
                    param.grad = None
                else:
                    param.grad = param.grad.detach()
                    param.grad.zero_()

    # ---- groups

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Adds parameters with options of their own; options not given are the optimizer's."""
        name = type(self).__name__
        if not isinstance(group, dict):
            raise TypeError(f"{name}: a parameter group must be a dict, got {type(group).__name__}")
        if "params" not in group:
            raise ValueError(f"{name}: a parameter group must have the key 'params', got {sorted(group)}")
        params = group["params"]
        if isinstance(params, set):
            raise TypeError(f"{name}: params must be ordered, got a set; give it a list")
        params = [params] if isinstance(params, Tensor) else list(params)
        self._require_parameters(params)
        merged = ParamGroup({**self.defaults, **group, "params": params})
        merged.require_valid(name)
        self._require_consistent(merged)
        self.param_groups.append(merged)
        setting_changed()

    def _require_parameters(self, params: list[Any]) -> None:
        name = type(self).__name__
        known = {id(param) for group in self.param_groups for param in group["params"]}
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(f"{name}: params must hold tensors, got {type(param).__name__}")
            if not param.is_leaf:
                raise ValueError(
                    f"{name}: a tensor of shape {tuple(param.shape)} is not a leaf and cannot be optimized"
                )
            if not param.is_floating_point():
                raise TypeError(f"{name}: parameters must be float32 or float64, got {param.dtype}")
            if id(param) in known:
                raise ValueError(f"{name}: a parameter of shape {tuple(param.shape)} appears twice")
            known.add(id(param))

    def _require_consistent(self, group: ParamGroup) -> None:
        """ValueError for options that do not go together."""

    # ---- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number of the parameter: its tensors}, "param_groups": [options, with numbers as params]}, as in
        PyTorch. The tensors are those in use, not copies."""
        numbers = {id(param): i for i, param in enumerate(self._all_parameters())}
        groups = [{**group, "params": [numbers[id(param)] for param in group["params"]]} for group in self.param_groups]
        state = {numbers[id(param)]: dict(kept) for param, kept in self.state.items() if kept}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the options and copies of the tensors; ValueError where groups or shapes differ."""
        name = type(self).__name__
        groups = state_dict["param_groups"]
        counts = [len(group["params"]) for group in self.param_groups]
        if [len(group["params"]) for group in groups] != counts:
            raise ValueError(
                f"{name}: the loaded state has groups of {[len(group['params']) for group in groups]} parameters, "
                f"this optimizer {counts}"
            )
        numbers = [number for group in groups for number in group["params"]]
        params = dict(zip(numbers, self._all_parameters(), strict=True))
        state = {params[int(i)]: self._loaded(params[int(i)], int(i), kept) for i, kept in state_dict["state"].items()}
        for own, loaded in zip(self.param_groups, groups, strict=True):
            options = {option: value for option, value in loaded.items() if option != "params"}
            if "max_norm" in options and "max_grad_norm" not in options:
                # Saved when this was the name of the gradients' norm.
                options["max_grad_norm"] = options.pop("max_norm")
            own.update(options)
        self.state = state
        setting_changed()

    def _loaded(self, param: Tensor, number: int, kept: dict[str, Any]) -> dict[str, Tensor]:
        result = {}
        for name, value in kept.items():
            if value is None:
                continue
            is_counter = name in self.counter_names
            shape, dtype = ((), _float64) if is_counter else (param.array.shape, param.array.dtype)
            array = param.backend.xp.asarray(value.array if isinstance(value, Tensor) else value)
            if is_counter:
                array = array.reshape(())
            if array.shape != shape:
                raise ValueError(
                    f"{type(self).__name__}: state {name!r} of parameter {number} must have shape {shape}, "
                    f"got {array.shape}"
                )
            copy = param.backend.empty(shape, dtype)
            copy[...] = array
            result[name] = Tensor(copy, param.backend)
        return result

    def _all_parameters(self) -> Iterable[Tensor]:
        return (param for group in self.param_groups for param in group["params"])

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {option}: {group[option]}" for option in sorted(group) if option != "params"]
        return "\n".join([*lines, ")"])
