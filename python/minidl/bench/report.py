"""A run's figures as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minidl.bench.machine import describe_machine
from minidl.bench.measure import Measurement
from minidl.bench.processes import Worker
from minidl.bench.roofs import Roofs
from minidl.io import write_atomically

SCHEMA = 1


def make_report(
    measurements: Sequence[Measurement], roofs: Roofs, dtype: str, libraries: Mapping[str, Worker]
) -> dict[str, Any]:
    """Everything that a table or a picture needs, with the machine's description."""
    return {
        "kind": "kernels",
        "schema": SCHEMA,
        **_conditions_of(dtype, libraries),
        "roofs": roofs.to_json(),
        "rows": [measurement.to_json() for measurement in measurements],
    }


def _conditions_of(dtype: str, libraries: Mapping[str, Worker]) -> dict[str, Any]:
    return {
        "machine": describe_machine(),
        "dtype": dtype,
        "libraries": {name: worker.version["version"] for name, worker in libraries.items()},
    }


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """As JSON with a line for each row, so that two records can be compared line by line."""
    head = json.dumps({key: value for key, value in report.items() if key != "rows"}, indent=1)
    rows = ",\n".join(f"  {json.dumps(row)}" for row in report["rows"])
    write_atomically(path, f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n'.encode())


def read_report(path: Path) -> tuple[list[Measurement], Roofs]:
    """Raises ValueError for a file that is not a report of `minidl bench`."""
    return _parts(_read(path))


def read_to_go_on(path: Path, dtype: str, libraries: Mapping[str, Worker]) -> tuple[list[Measurement], Roofs]:
    """Like `read_report`. ValueError unless what was measured, and by what, is as in this run: rows of two machines or
    two instruction sets do not belong in one record."""
    report = _read(path)
    for name, before, now in _conditions(report, _conditions_of(dtype, libraries)):
        if before != now:
            raise ValueError(f"{path} was measured with {name} {before}, this run has {now}; choose another file")
    return _parts(report)


def _read(path: Path) -> Any:
    report = json.loads(path.read_text())
    if report.get("kind") != "kernels" or report.get("schema") != SCHEMA:
        raise ValueError(f"{path} is not a report of `minidl bench` that this version reads")
    return report


def _parts(report: Mapping[str, Any]) -> tuple[list[Measurement], Roofs]:
    return [Measurement.from_json(row) for row in report["rows"]], Roofs.from_json(report["roofs"])


def _conditions(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    yield "dtype", first["dtype"], second["dtype"]
    for key in ("cpu", "cores", "isa", "threads"):
        yield key, first["machine"][key], second["machine"][key]
    yield "settings", first["machine"].get("settings", {}), second["machine"].get("settings", {})
    for library in sorted({*first["libraries"], *second["libraries"]}):
        yield library, first["libraries"].get(library, "missing"), second["libraries"].get(library, "missing")
