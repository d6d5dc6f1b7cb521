"""Means and spreads over seeds, and when two of them differ by more than chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Form = Literal["f", "g"]  # how a number is printed: digits after the point, or significant digits


@dataclass(frozen=True)
class Spread:
    """Values over seeds: their number, mean, standard deviation (n - 1 in the denominator; nan for one), extremes."""

    count: int
    mean: float
    deviation: float
    lowest: float
    highest: float

    def text(self, digits: int = 2, factor: float = 1.0, form: Form = "f") -> str:
        """ "98.12 ± 0.05", times `factor`; the mean alone for one value. With form "g", `digits` are significant.

        >>> spread_of([0.981, 0.983]).text(digits=1, factor=100), spread_of([2e-9]).text(form="g")
        ('98.2 ± 0.1', '2e-09')
        """
        mean = f"{factor * self.mean:.{digits}{form}}"
        return mean if self.count < 2 else f"{mean} ± {factor * self.deviation:.{digits}{form}}"


def spread_of(values: Iterable[float | None]) -> Spread:
    """None counts as nan, as it does for a run that diverged, and makes mean and deviation nan.

    Raises:
        ValueError: there are no values.
    """
    numbers = [math.nan if value is None else float(value) for value in values]
    if not numbers:
        raise ValueError("spread_of: values must hold at least one number, got none")
    if any(math.isnan(number) for number in numbers):
        return Spread(len(numbers), *(math.nan,) * 4)
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else math.nan
    return Spread(len(numbers), statistics.fmean(numbers), deviation, min(numbers), max(numbers))


def differ(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether the means of two samples differ by more than chance explains: Welch's t-test at the 5 % level, two-sided.

    False where a sample has fewer than two values, or holds nan: nothing is known then. Welch 1947; the quantile of
    Student's distribution is that of its Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5), below 3 degrees of
    freedom an interpolation between the exact ones.

    >>> differ([98.1, 98.2, 98.0], [97.0, 97.1, 97.2]), differ([98.1, 97.0], [97.2, 98.0])
    (True, False)
    """
    x, y = spread_of(a), spread_of(b)
    if min(x.count, y.count) < 2 or math.isnan(x.deviation) or math.isnan(y.deviation):
        return False
    own, other = x.deviation**2 / x.count, y.deviation**2 / y.count
    error = math.sqrt(own + other)
    if error == 0:
        return x.mean != y.mean
    freedom = (own + other) ** 2 / (own**2 / (x.count - 1) + other**2 / (y.count - 1))
    return abs(x.mean - y.mean) / error > student_quantile(freedom)


def student_quantile(freedom: float) -> float:
    """The t that |T| exceeds with probability 5 %; `freedom` may be a fraction and is at least 1.

    >>> round(student_quantile(1), 2), round(student_quantile(4), 2), round(student_quantile(30), 2)
    (12.71, 2.78, 2.04)
    """
    if freedom < 3:
        exact = (math.tan(0.475 * math.pi), 0.95 * math.sqrt(2 / (1 - 0.95**2)), 3.1824463)
        below = min(max(int(freedom), 1), 2)
        part = max(freedom, 1) - below
        return float(exact[below - 1] ** (1 - part) * exact[below] ** part)
    z = statistics.NormalDist().inv_cdf(0.975)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / freedom**i for i, term in enumerate(terms))
