"""The loss of a model over a plane through its weights (Li, Xu, Taylor, Studer and Goldstein 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl import ops
from minidl.autograd import no_grad
from minidl.generator import Generator
from minidl.tensor import Tensor

Surface = npt.NDArray[np.float64]


def filter_normalized_direction(parameters: Sequence[Tensor], generator: Generator | None = None) -> list[Tensor]:
    """A random direction in which a step changes every unit's weights in proportion to their size.

    Each row d of a matrix, the weights that enter a unit, is normal random numbers scaled to the norm of the row w of
    the weights: d = n |w| / |n|. So a step of 1 is as large as the weights themselves, in a network whose scale has no
    meaning (ReLU, batch norm) as in any other. Vectors - biases, the scale and shift of batch norm - stay as they are,
    as in the authors' code.

    >>> weight, bias = ops.tensor([[3.0, 4.0], [0.0, 2.0]]), ops.tensor([7.0])
    >>> direction = filter_normalized_direction([weight, bias])
    >>> [round(length, 3) for length in direction[0].norm(dim=1).tolist()], direction[1].tolist()
    ([5.0, 2.0], [0.0])
    """
    direction = []
    with no_grad():
        for parameter in parameters:
            weight = parameter.detach()
            if weight.dim() < 2:
                direction.append(ops.zeros_like(weight))
                continue
            rows = weight.reshape(len(weight), -1)
            noise = ops.randn(*rows.shape, generator=generator, dtype=weight.dtype).to(weight.device)
            scale = rows.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
            direction.append((noise * scale).reshape(*weight.shape))
    return direction


def loss_surface(
    parameters: Sequence[Tensor],
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    steps: Sequence[float] | npt.NDArray[np.float64],
    loss: Callable[[], float],
    report: Callable[[float], None] = lambda share: None,
) -> Surface:
    """surface[i, j] = loss at weights + steps[i] * first + steps[j] * second; nan where it is not finite.

    At 0, 0 the weights are what they are, bit by bit, and so they are afterwards.
    """
    kept = [parameter.detach().clone() for parameter in parameters]
    surface = np.empty((len(steps), len(steps)))
    try:
        with no_grad():
            for i, along_first in enumerate(steps):
                moved = [w + float(along_first) * d for w, d in zip(kept, first, strict=True)]
                for j, along_second in enumerate(steps):
                    for parameter, w, d in zip(parameters, moved, second, strict=True):
                        parameter.copy_(w + float(along_second) * d)
                    value = loss()
                    surface[i, j] = value if np.isfinite(value) else np.nan
                report((i + 1) / len(steps))
    finally:
        with no_grad():
            for parameter, w in zip(parameters, kept, strict=True):
                parameter.copy_(w)
    return surface


def mean_on_circle(surface: Surface, steps: Sequence[float] | npt.NDArray[np.float64], radius: float) -> float:
    """The mean of a surface over the circle of this radius about the middle, between its points bilinearly.

    `steps` are evenly spaced and reach from below -radius to above it.

    >>> steps = np.linspace(-1, 1, 41)
    >>> bowl = steps[:, None] ** 2 + steps**2
    >>> round(mean_on_circle(bowl, steps, 0.5), 2)
    0.25
    """
    axis = np.asarray(steps, dtype=np.float64)
    if not 0 <= radius <= min(-axis[0], axis[-1]):
        raise ValueError(f"mean_on_circle: radius must be 0 to {min(-axis[0], axis[-1]):g}, got {radius}")
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    spacing = axis[1] - axis[0]
    places = [(radius * part - axis[0]) / spacing for part in (np.cos(angle), np.sin(angle))]
    below = [np.clip(place.astype(int), 0, len(axis) - 2) for place in places]
    (i, j), (u, v) = below, (place - low for place, low in zip(places, below, strict=True))
    along_i = (1 - u) * surface[i, j] + u * surface[i + 1, j]
    beside = (1 - u) * surface[i, j + 1] + u * surface[i + 1, j + 1]
    return float(((1 - v) * along_i + v * beside).mean())


def concave_share(surface: Surface) -> float:
    """At which share of the inner points the surface bends down in some direction of the plane.

    The second differences of each point make the plane's Hessian [[a, b], [b, c]]; it has a negative eigenvalue where
    a < 0, c < 0 or a c < b^2. Where the plane bends down, the loss of all weights is not convex either (Li et al. 2018,
    section 6): a plane of random directions shows averages of all curvatures. The rounding of the loss, about 1e-6 of
    the surface's range, counts as flat.

    >>> steps = np.linspace(-1, 1, 21)
    >>> concave_share(steps[:, None] ** 2 + steps**2), concave_share(steps[:, None] ** 2 - steps**2)
    (0.0, 1.0)
    """
    middle = surface[1:-1, 1:-1]
    a = surface[2:, 1:-1] - 2 * middle + surface[:-2, 1:-1]
    c = surface[1:-1, 2:] - 2 * middle + surface[1:-1, :-2]
    b = (surface[2:, 2:] - surface[2:, :-2] - surface[:-2, 2:] + surface[:-2, :-2]) / 4
    lowest: Any = (a + c) / 2 - np.sqrt(((a - c) / 2) ** 2 + b**2)
    known = np.isfinite(lowest)
    if not known.any():
        return float("nan")
    tolerance = 1e-6 * (np.nanmax(surface) - np.nanmin(surface))
    return float((lowest[known] < -tolerance).mean())
