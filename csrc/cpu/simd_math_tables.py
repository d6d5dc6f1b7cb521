"""Writes simd_math_tables.h: python3 csrc/cpu/simd_math_tables.py; it needs NumPy and clang-format.

A polynomial through the Chebyshev nodes of an interval is close to the best of its degree; what a coefficient loses as
a float counts little, as |x - k width| is small - but for the first, whose loss is the function's own. The widths were
chosen for it: the function is nearly a float at the first few multiples of them.
"""

import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

INTERVALS = 32
GELU_WIDTH = 851 / 4096
HEADER = Path(__file__).with_suffix(".h")
Function = Callable[[float], float]


def normal_tail(x: float) -> float:
    return math.erfc(x / math.sqrt(2)) / 2


def normal_density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def gelu_tail(x: float) -> float:
    return x * normal_tail(x)


def gelu_slope_tail(x: float) -> float:
    return normal_tail(x) - x * normal_density(x)


def fit(function: Function, low: float, high: float, degree: int) -> np.ndarray:
    """Coefficients, lowest order first, in float64."""
    series = Chebyshev.interpolate(np.vectorize(function), degree, [low, high])
    return np.asarray(series.convert(kind=Polynomial, domain=[-1, 1], window=[-1, 1]).coef)


def fit_piecewise(function: Function, width: float, degree: int, start: int, less: float) -> np.ndarray:
    """coefficients[i][k % 32], k = start .. start + 31; where function(0) = 0, those of k = 0 fit function(x) / x."""
    half = width / 2
    columns = [
        fit(lambda r, k=k: function(k * width + r), -half, half, degree) for k in range(start, start + INTERVALS)
    ]
    if start == 0 and function(0.0) == 0:
        columns[0] = np.append(0, fit(lambda r: function(r) / r - less, 1e-9, half, degree - 1))
    return np.array(columns).T


def piecewise(
    name: str,
    comment: str,
    function: Function,
    width: float,
    limit: float,
    degree: int,
    *,
    start: int = 0,
    less: float = 0,
) -> str:
    """less: of the slope close to 0, what the caller adds."""
    assert start - 0.5 < limit / width < start + INTERVALS - 0.501
    rows = ",\n".join(numbers(row) for row in fit_piecewise(function, width, degree, start, less))
    table = f"constexpr PiecewisePolynomial<{degree + 1}> {name}_table"
    return f"// {comment}\n{table} = {{{width!r}f, {limit!r}f, {{{rows}}}}};\n"


def numbers(values: np.ndarray) -> str:
    shortest = (np.format_float_scientific(v, trim="0").replace("e+00", "") for v in np.float32(values))
    return "{" + ", ".join(f"{v}f" for v in shortest) + "}"


# So short that its products with exponents are exact.
LN2_HI = math.floor(math.log(2) * 2**16) / 2**16


def sixteenths() -> list[tuple[float, float]]:
    """The intervals of a mantissa from 0.75 to 1.5, in the order of its four top bits: from 1 on come the first
    eight."""
    scales = [1.0] * 8 + [0.5] * 8
    return [((1 + i / 16) * scale, (1 + (i + 1) / 16) * scale) for i, scale in enumerate(scales)]


def logarithm() -> str:
    """A float near an interval's reciprocal whose logarithm is within 2^-32 of a multiple of 2^-16, so that
    exponent * ln2_hi + logarithm is exact; next to 1 the reciprocal is 1, so that nothing cancels."""
    inverses, logarithms, lows, highs = [], [], [], []
    for low, high in sixteenths():
        middle = np.float32(2 / (low + high))
        candidates = (middle + np.arange(-40_000, 40_001) * np.spacing(middle)).astype(np.float32).astype(float)
        exact = -np.log(candidates) * 2**16
        best = np.argmin(abs(exact - exact.round()))
        is_next_to_one = 1 in (low, high)
        inverses.append(1.0 if is_next_to_one else candidates[best])
        logarithms.append(0.0 if is_next_to_one else exact[best].round() / 2**16)
        lows.append(low * inverses[-1] - 1)
        highs.append(high * inverses[-1] - 1)
    series = [(-1.0) ** (n + 1) / n for n in range(2, 12)]  # (ln(1 + r) - r) / r^2
    tail = fit(Polynomial(series), min(lows), max(highs), 3)
    return f"""// 1 / c and ln(c) for a c in each sixteenth of an octave: eight from 1 on, then eight below 1.
struct LogTable {{
  static constexpr float ln2_hi = {LN2_HI!r}f, ln2_lo = {np.float32(math.log(2) - LN2_HI)!s}f;
  alignas(64) static constexpr float inverse[] = {numbers(np.array(inverses))};
  alignas(64) static constexpr float logarithm[] = {numbers(np.array(logarithms))};
  // (ln(1 + r) - r) / r^2 for {min(lows):.3g} <= r <= {max(highs):.3g}
  static constexpr float tail[] = {numbers(tail)};
}};
"""


def logarithm_for_pow() -> str:
    """The same intervals, but reciprocals that are multiples of 1/32: mantissa * inverse - 1 has no more digits than a
    float holds. What a logarithm has beyond 2^-16 is a second float."""
    inverses, lows, highs = [], [], []
    for low, high in sixteenths():
        inverse = 1.0 if 1 in (low, high) else round(32 * 2 / (low + high)) / 32
        inverses.append(inverse)
        lows.append(low * inverse - 1)
        highs.append(high * inverse - 1)
        # The mantissa is a multiple of 2^-23, below 1 of 2^-24: 24 digits of the difference.
        assert max(-lows[-1], highs[-1]) <= (2**-4 if low >= 1 else 2**-5)
    exact = -np.log(np.array(inverses))
    upper = (exact * 2**16).round() / 2**16
    series = [(-1.0) ** (n + 1) / n for n in range(3, 16)]  # (ln(1 + r) - r + r^2 / 2) / r^3
    tail = fit(Polynomial(series), min(lows), max(highs), 4)
    return f"""// The same in two floats each, 1 / c with so few digits that mantissa / c - 1 is exact.
struct PowTable {{
  alignas(64) static constexpr float inverse[] = {numbers(np.array(inverses))};
  alignas(64) static constexpr float logarithm[] = {numbers(upper)};
  alignas(64) static constexpr float logarithm_lo[] = {numbers(exact - upper)};
  // (ln(1 + r) - r + r^2 / 2) / r^3 for {min(lows):.3g} <= r <= {max(highs):.3g}
  static constexpr float tail[] = {numbers(tail)};
}};
"""


TABLES = [
    piecewise("tanh", "tanh(x)", math.tanh, 19 / 64, 9.3, 6),
    piecewise("erf", "erf(x), less x in the first interval", math.erf, 133 / 1024, 4.0, 5, less=1),
    piecewise("sigmoid_tail", "1 / (1 + e^x)", lambda x: 1 / (1 + math.exp(x)), 9 / 16, 17.7, 5),
    piecewise("softplus_tail", "ln(1 + e^-x)", lambda x: math.log1p(math.exp(-x)), 9 / 16, 17.7, 6),
    # Two tables each. From 13.15 on x Phi(-x) is below the smallest normal number.
    piecewise("gelu_tail", "x Phi(-x)", gelu_tail, GELU_WIDTH, 6.5, 7),
    piecewise("gelu_far_tail", "x Phi(-x) from 32 widths on", gelu_tail, GELU_WIDTH, 13.15, 9, start=32),
    piecewise("gelu_slope_tail", "Phi(-x) - x phi(x)", gelu_slope_tail, GELU_WIDTH, 6.5, 7),
    piecewise(
        "gelu_slope_far_tail", "Phi(-x) - x phi(x) from 32 widths on", gelu_slope_tail, GELU_WIDTH, 13.15, 9, start=32
    ),
    logarithm(),
    logarithm_for_pow(),
]

if __name__ == "__main__":
    HEADER.write_text(
        "// Written by simd_math_tables.py: the numbers behind simd_math.h where vectors are looked up in tables.\n"
        '#pragma once\n#include "polynomial.h"\n\nnamespace MINIDL_TARGET {\nnamespace {\n\n'
        + "\n".join(TABLES)
        + "\n}  // namespace\n}  // namespace MINIDL_TARGET\n"
    )
    subprocess.run(["clang-format", "-i", HEADER], check=True)
