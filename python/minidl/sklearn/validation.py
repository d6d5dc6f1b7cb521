"""The samples that early stopping holds out."""

from __future__ import annotations

import math

import numpy as np
from sklearn.model_selection import train_test_split

from minidl.sklearn.network import Array


def hold_out(
    rows: Array, strata: Array | None, fraction: float, random_state: np.random.RandomState
) -> tuple[Array, Array]:
    """The rows to learn from and those held out; each stratum is in both by its share where there are enough rows.

    Raises ValueError where fewer than 2 rows are held out, or none is left.
    """
    if strata is not None:
        counts = np.unique(strata, return_counts=True)[1]
        held = math.ceil(fraction * len(rows))
        if counts.min() < 2 or len(counts) > min(held, len(rows) - held):
            strata = None
    learned, held_out = train_test_split(rows, random_state=random_state, test_size=fraction, stratify=strata)
    if len(held_out) < 2:
        raise ValueError(
            f"early_stopping needs at least 2 samples to validate, got {len(held_out)} of n_samples={len(rows)}; "
            f"raise validation_fraction={fraction:g}"
        )
    return learned, held_out
