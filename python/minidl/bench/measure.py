"""One row measured: right first, then timed beside the other libraries."""

from __future__ import annotations

import enum
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl import _cpu
from minidl.bench.processes import Library
from minidl.bench.roofs import RoofInTurn, Roofs
from minidl.bench.row import Cost, Row, operands_of
from minidl.bench.rows import FAMILY_OF
from minidl.bench.timing import Plan, Timing, take_turns
from minidl.bench.worker import AGREEMENT
from minidl.selftest.check import Call


@dataclass(frozen=True)
class Measurement:
    """A row's figures at one shape. With a `failure`, there are none."""

    kernel: str
    size: str
    shape: str
    cost: Cost
    timings: dict[str, Timing]
    failure: str = ""
    # Why another library has no time here.
    notes: tuple[str, ...] = ()
    # The part of the roof that binds, which one that is, and what it was between the row's own samples: operations or
    # bytes per second.
    of_roof: float = 0.0
    roof: str = ""
    roof_rate: float = 0.0

    @property
    def family(self) -> str:
        return FAMILY_OF[self.kernel]

    @property
    def place(self) -> tuple[str, str, str]:
        """Which row it is of, and which shape."""
        return self.kernel, self.size, self.shape

    @property
    def is_sound(self) -> bool:
        """Whether it has times and a roof of the same minute, and other processes left the cores alone meanwhile."""
        return (
            not self.failure
            and self.roof_rate > 0
            and not any(timing.was_disturbed for timing in self.timings.values())
        )

    @property
    def seconds(self) -> float:
        return self.timings["minidl"].median

    def ratio_to(self, library: str) -> float | None:
        """How many times longer the other library takes, by medians; None where it was not measured."""
        if self.failure or library not in self.timings:
            return None
        return self.timings[library].median / self.seconds

    def to_json(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "family": self.family,
            "size": self.size,
            "shape": self.shape,
            "flops": self.cost.flops,
            "bytes": self.cost.bytes,
            "timings": {name: asdict(timing) for name, timing in self.timings.items()},
            "of_roof": self.of_roof,
            "roof": self.roof,
            "roof_rate": self.roof_rate,
            "failure": self.failure,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Measurement:
        return cls(
            fields["kernel"],
            fields["size"],
            fields["shape"],
            Cost(fields["flops"], fields["bytes"]),
            {name: Timing(**timing) for name, timing in fields["timings"].items()},
            fields["failure"],
            tuple(fields["notes"]),
            fields["of_roof"],
            fields["roof"],
            fields.get("roof_rate", 0.0),  # records up to 2026-11-30 hold rows against the roofs of their beginning
        )


_nothing_known: Mapping[tuple[str, str, str], Measurement] = {}


def parameter_names(kernel: str) -> list[str]:
    """In the order of the binding: `relu_forward(x, out)` -> ["x", "out"]."""
    signature = (getattr(_cpu, kernel).__doc__ or "").splitlines()[0]
    return re.findall(r"[(,] ?(\w+): ", signature)


def measure(
    row: Row,
    size: str,
    shape: Any,
    dtype: str,
    libraries: Mapping[str, Library],
    roofs: Roofs,
    plan: Plan,
    known: Mapping[tuple[str, str, str], Measurement] = _nothing_known,
) -> Measurement:
    """Checks minidl's result, then times every library that has an expression for the row, and the roof that binds it;
    minidl must be one. What is ``known`` by its place is not measured again."""
    call = row.call(shape, dtype)
    cost, text = row.cost(operands_of(call.arguments)), describe_shape(row, call)
    if (before := known.get((row.kernel, size, text))) is not None:
        return before
    with tempfile.TemporaryDirectory() as folder:
        values = _save_arguments(call, _names_of(row, call), Path(folder))
        failure = _prepare_own(row, call, values, libraries["minidl"], Path(folder))
        if failure:
            return Measurement(row.kernel, size, text, cost, {}, failure)
        ready, notes = {"minidl": libraries["minidl"]}, []
        for name, library in libraries.items():
            if name == "minidl" or not row.expression(name):
                continue
            note = _prepare_other(row, name, library, values, Path(folder))
            if note:
                notes.append(note)
            else:
                ready[name] = library
        roof = roofs.binding(*cost)
        in_turn = RoofInTurn(roof, dtype)
        timings = take_turns({**ready, "roof": in_turn}, plan)
    roof_rate = in_turn.work / timings.pop("roof").median
    if "minidl" not in timings:
        return Measurement(row.kernel, size, text, cost, {}, "the measured process failed while it was timed")
    share = roof.work(*cost) / timings["minidl"].median / roof_rate
    return Measurement(row.kernel, size, text, cost, timings, "", tuple(notes), share, roof.name, roof_rate)


def measure_all(
    rows: Sequence[Row],
    sizes: Sequence[str],
    dtype: str,
    libraries: Mapping[str, Library],
    roofs: Roofs,
    plan: Plan,
    shapes_per_size: int | None = None,
    known: Mapping[tuple[str, str, str], Measurement] = _nothing_known,
) -> Iterator[Measurement]:
    """Every row at every shape of the sizes asked for, or at the first few of each size; see :func:`measure`."""
    for row in rows:
        for size in sizes:
            for shape in row.shapes[size][:shapes_per_size]:
                yield measure(row, size, shape, dtype, libraries, roofs, plan, known)


def describe_shape(row: Row, call: Call) -> str:
    """The arrays of a call, equal ones said once: `128x256, 256`; of an optimizer's group, its parameters' sum."""
    operands = operands_of(call.arguments)
    if FAMILY_OF[row.kernel] == "optimizer":
        return f"{sum(operand.shape[1] for operand in operands if len(operand.shape) == 2):,} parameters"
    shapes = ["x".join(str(n) for n in operand.shape) or "1" for operand in operands]
    if row.kernel.startswith("linear") or row.kernel == "matmul":
        shapes = shapes[:2]
    return ", ".join(dict.fromkeys(shape for shape in shapes if shape != "1")) or "1"


def _names_of(row: Row, call: Call) -> dict[str, Any]:
    return dict(zip(parameter_names(row.kernel), call.arguments, strict=False))


def _save_arguments(call: Call, names: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The arguments as JSON: arrays by the files that they are saved in."""
    count = 0

    def describe(value: Any) -> Any:
        nonlocal count
        if isinstance(value, list):
            return [describe(item) for item in value]
        if isinstance(value, np.ndarray):
            count += 1
            np.save(folder / f"{count}.npy", value)
            return {"array": f"{count}.npy"}
        if isinstance(value, enum.Enum):
            return {"enum": type(value).__name__, "name": value.name}
        return value

    return {name: describe(value) for name, value in names.items()}


def _prepare_own(row: Row, call: Call, values: dict[str, Any], library: Library, folder: Path) -> str:
    """Lets minidl compute, and says what is wrong with the result; empty if nothing is."""
    expression = f"minidl.{row.kernel}({', '.join(values)})"
    request = {"do": "prepare", "folder": str(folder), "values": values, "expression": expression, "setup": ""}
    answer = library.answer(request)
    if "error" in answer:
        return str(answer["error"])
    for value, argument in zip(values.values(), call.arguments, strict=False):
        _take_back(value, argument, folder)
    for position, expected in enumerate(call.expected):
        error = expected.worst_error()
        if not error <= expected.epsilons:
            return f"output {position} is wrong: {error:.3g} units off, {expected.epsilons:g} allowed"
    if not row.is_random:
        np.save(folder / "result.npy", call.expected[0].out)
    return ""


def _take_back(value: Any, argument: Any, folder: Path) -> None:
    """Puts what the worker left behind into the arrays that the check looks at."""
    if isinstance(value, list):
        for item, part in zip(value, argument, strict=True):
            _take_back(item, part, folder)
    elif isinstance(value, dict) and "array" in value:
        np.copyto(argument, np.load(folder / f"after-{value['array']}"))


def _prepare_other(row: Row, name: str, library: Library, values: dict[str, Any], folder: Path) -> str:
    """Why the library is not timed; empty if it is."""
    plain = {
        key: value["name"] if isinstance(value, dict) and "enum" in value else value for key, value in values.items()
    }
    expression, setup = row.expression(name), row.setup.get(name, "")
    request = {"do": "prepare", "folder": str(folder), "values": plain, "expression": expression, "setup": setup}
    answer = library.answer(request)
    if "error" in answer:
        return f"{name}: {answer['error']}"
    difference = answer.get("difference")
    if difference is not None and not difference <= AGREEMENT:
        return f"{name}: its result differs by {difference:.1g}"
    return ""
