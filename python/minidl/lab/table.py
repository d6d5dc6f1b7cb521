"""A table of results: printed, and written as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minidl.lab.statistics import Form, Spread


@dataclass(frozen=True)
class Column:
    """A key of the rows, the heading over it with its unit, and how its numbers are printed: times `factor`, with so
    many digits after the point, or with form "g" so many significant ones."""

    key: str
    heading: str
    digits: int = 2
    factor: float = 1.0
    form: Form = "f"


@dataclass(frozen=True)
class Table:
    """Rows are dictionaries; a cell is a text, a number, a Spread, or None for nothing."""

    columns: Sequence[Column]
    rows: Sequence[dict[str, Any]]

    def texts(self) -> list[list[str]]:
        """The cells as they are printed, row by row."""
        return [[cell_text(row.get(column.key), column) for column in self.columns] for row in self.rows]

    def markdown(self) -> str:
        """The table in GitHub's Markdown."""
        lines = [[column.heading for column in self.columns], ["---"] * len(self.columns), *self.texts()]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def csv(self) -> str:
        """Raw numbers, not rounded; a Spread has columns for mean, standard deviation, lowest, highest and count."""
        flat = [flatten(row, self.columns) for row in self.rows]
        names = list(dict.fromkeys(name for row in flat for name in row))
        file = io.StringIO()
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        return file.getvalue()

    def records(self) -> list[dict[str, Any]]:
        """The rows of `csv` as dictionaries."""
        return [flatten(row, self.columns) for row in self.rows]


def cell_text(value: Any, column: Column) -> str:
    """A cell as it is printed."""
    if value is None:
        return ""
    if isinstance(value, Spread):
        return "diverged" if math.isnan(value.mean) else value.text(column.digits, column.factor, column.form)
    if isinstance(value, float):
        return "diverged" if math.isnan(value) else f"{column.factor * value:.{column.digits}{column.form}}"
    return str(value)


def flatten(row: dict[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
    """The row's cells by their keys, a Spread taken apart."""
    flat: dict[str, Any] = {}
    for key in (column.key for column in columns):
        value = row.get(key)
        if isinstance(value, Spread):
            flat |= {
                f"{key}_mean": value.mean,
                f"{key}_sd": value.deviation,
                f"{key}_lowest": value.lowest,
                f"{key}_highest": value.highest,
                f"{key}_count": value.count,
            }
        else:
            flat[key] = value
    return flat
