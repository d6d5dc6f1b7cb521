"""gradcheck and gradgradcheck: analytic gradients against central finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.autograd import grad
from minidl.tensor import Tensor


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _numeric_jacobian(function: Callable[..., Any], inputs: tuple[Any, ...], place: int, eps: float) -> list[Any]:
    """One column per element of input ``place``: (f(x + eps) - f(x - eps)) / (2 eps), per output."""
    values = inputs[place].array
    columns = []
    for index in np.ndindex(values.shape):
        keep = values[index].item()
        ends = []
        for step in (eps, -eps):
            values[index] = keep + step
            ends.append([out.detach().numpy().astype(np.float64).copy() for out in _tuple(function(*inputs))])
        values[index] = keep
        columns.append([(high - low).reshape(-1) / (2 * eps) for high, low in zip(*ends, strict=True)])
    return [np.array([column[i] for column in columns]).T for i in range(len(columns[0]))] if columns else []


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compares every partial derivative of ``func`` with a central finite difference.

    ``inputs`` should be float64; those that require a gradient are checked. Returns True, or raises RuntimeError
    with the input, the output and the largest difference (returns False with ``raise_exception=False``).
    """
    args = _tuple(inputs)
    checked = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: at least one input must require a gradient")
    for i in checked:
        if args[i].array.dtype != np.float64:
            raise ValueError(f"gradcheck: input {i} must be float64 for finite differences, got {args[i].dtype}")
    outputs = _tuple(func(*args))
    for place in checked:
        numeric = _numeric_jacobian(func, args, place, eps)
        for number, out in enumerate(outputs):
            if not numeric or out.array.size == 0:
                continue
            analytic = _analytic_jacobian(out, args[place])
            if not np.allclose(analytic, numeric[number], atol=atol, rtol=rtol):
                if not raise_exception:
                    return False
                worst = np.max(np.abs(analytic - numeric[number]))
                raise RuntimeError(
                    f"gradcheck: the gradient of output {number} by input {place} is wrong by {worst:.3g}\n"
                    f"analytic:\n{analytic}\nnumeric:\n{numeric[number]}"
                )
    return True


def _analytic_jacobian(out: Tensor, x: Tensor) -> Any:
    rows = []
    for index in np.ndindex(out.array.shape):
        one = np.zeros(out.array.shape, out.array.dtype)
        one[index] = 1
        (g,) = grad(out, x, Tensor(one), retain_graph=True, allow_unused=True) if out.requires_grad else (None,)
        rows.append(np.zeros(x.array.size) if g is None else g.detach().numpy().reshape(-1).copy())
    return np.array(rows)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """gradcheck of the gradient: second derivatives of ``func``, with respect to its inputs and the first gradient."""
    args = _tuple(inputs)
    random = np.random.default_rng(0)
    outputs = _tuple(func(*args))
    first = [Tensor(random.standard_normal(out.array.shape), requires_grad=True) for out in outputs]
    wanted = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]

    def gradient(*everything: Any) -> tuple[Tensor, ...]:
        xs, gs = everything[: len(args)], everything[len(args) :]
        outs = _tuple(func(*xs))
        found = grad(outs, [xs[i] for i in wanted], gs, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(gradient, (*args, *first), eps, atol, rtol, raise_exception)
