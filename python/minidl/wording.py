"""Words around numbers, for what is printed."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """ "1 seed", "1,000 images", "2 passes".

    >>> counted(1, "seed"), counted(1000, "image"), counted(2, "pass", "passes")
    ('1 seed', '1,000 images', '2 passes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
