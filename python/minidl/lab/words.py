"""Words for pages, chosen by the numbers: lists, comparisons over seeds, the best of some variants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from minidl.lab.statistics import differ, spread_of
from minidl.wording import counted as counted

NO_DIFFERENCE = "no difference that these seeds show"


def listed(names: Sequence[str]) -> str:
    """ "a, b and c".

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def compare(a: Sequence[float], b: Sequence[float]) -> Literal["higher", "lower", "equal"]:
    """Whether the mean of `a` is above or below that of `b` by more than chance explains; "equal": not shown,
    as where one of them has a single value or holds nan (`has_diverged`).

    >>> compare([0.98, 0.981], [0.95, 0.951]), compare([0.98], [0.95])
    ('higher', 'equal')
    """
    if not differ(a, b):
        return "equal"
    return "higher" if spread_of(a).mean > spread_of(b).mean else "lower"


def has_diverged(values: Sequence[float]) -> bool:
    """Whether one of them is nan, as that of a run that diverged is: such groups cannot be compared.

    >>> has_diverged([1.0, float("nan")]), has_diverged([1.0])
    (True, False)
    """
    return any(math.isnan(value) for value in values)


def best_of(groups: Mapping[str, Sequence[float]], is_highest: bool) -> tuple[str, list[str]] | None:
    """The name with the best mean, and those of which no difference from it is shown; None where every group holds nan.

    Groups that hold nan, runs that diverged, are left out.

    >>> best_of({"a": [1.0, 1.1], "b": [1.05, 1.2], "c": [3.0, 3.1]}, is_highest=False)
    ('a', ['b'])
    """
    means = {name: spread_of(values).mean for name, values in groups.items()}
    known = {name: mean for name, mean in means.items() if not math.isnan(mean)}
    if not known:
        return None
    best = (max if is_highest else min)(known, key=lambda name: known[name])
    return best, [name for name in known if name != best and not differ(groups[name], groups[best])]
