"""Which rows a command names: kernels, families, or all."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from minidl.bench.row import Row
from minidl.bench.rows import FAMILIES, ROWS


def select_rows(names: Sequence[str]) -> list[Row]:
    """The rows of kernels and families, in the order of the list; all of them for no names.

    Raises ValueError for a name that is neither, with those that come close.

    >>> [row.kernel for row in select_rows(["relu_forward", "matmul"])][:2]
    ['relu_forward', 'matmul']
    """
    chosen: set[str] = set()
    for name in names:
        if name in FAMILIES:
            chosen |= {row.kernel for row in FAMILIES[name]}
        elif name in ROWS:
            chosen.add(name)
        else:
            close = difflib.get_close_matches(name, [*ROWS, *FAMILIES], n=4, cutoff=0.5)
            close += [kernel for kernel in ROWS if name in kernel and kernel not in close][:4]
            hint = f"did you mean {', '.join(close)}?" if close else f"families: {', '.join(FAMILIES)}"
            raise ValueError(f"there is no kernel or family {name!r}; {hint}")
    return [row for row in ROWS.values() if not chosen or row.kernel in chosen]
