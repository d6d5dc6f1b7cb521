"""Writes the speed tables of README.md from the newest records in bench/results/, those of every processor, or checks
that they agree.

python bench/readme.py [--check]
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# What else a record's rows are compared with, and what the tables call it.
LIBRARIES = {"torch": "PyTorch", "jax": "JAX jit", "sklearn": "scikit-learn"}


def records_of(kind: str, folder: Path) -> list[dict[str, Any]]:
    """The records of one kind, by the date inside, oldest first."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    own = [record for record in records if record.get("kind") == kind]
    return sorted(own, key=lambda record: record["machine"]["date"])


def newest_of_each_processor(kind: str, folder: Path) -> list[dict[str, Any]]:
    """The newest record of one kind for each processor, by the processors' names."""
    newest = {record["machine"]["cpu"]: record for record in records_of(kind, folder)}
    return [newest[cpu] for cpu in sorted(newest)]


def describe(record: dict[str, Any]) -> str:
    machine = record["machine"]
    threads = record.get("threads", machine["threads"])
    settings = "".join(f", {name}={value}" for name, value in machine.get("settings", {}).items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}, {threads} threads{settings}, {machine['date']}"
    )


def training_table(record: dict[str, Any]) -> list[str]:
    """A row per step: times, and ratios of medians with their range over pairs of processes."""
    others = [name for name in LIBRARIES if any(name in row["median"] for row in record["rows"])]
    names = ["captured", "eager", *(LIBRARIES[name] for name in others)]
    ratios = [f"{LIBRARIES[name]} / captured (range; of the fastest)" for name in others]
    versions = {name: version for row in record["rows"] for name, version in row["versions"].items()}
    measured = "".join(f", {LIBRARIES[name]} {versions[name]}" for name in others)
    lines = [
        f"Whole steps, float32: {describe(record)}{measured}; medians over {record['rounds']} processes a library.",
        "",
        "| step | " + " | ".join(names + ratios) + " | FLOP floor |",
        "| --- " * (2 + len(names) + len(ratios)) + "|",
    ]
    for row in record["rows"]:
        cells = [row["name"]]
        for library in ("minidl captured", "minidl eager", *others):
            cells.append(f"{row['median'][library] * 1e6:.0f} us" if library in row["median"] else "")
        for name in others:
            if name not in row["ratios"]:
                cells.append("")
                continue
            pairs, fastest = row["ratios"][name], row["fastest"][name] / row["fastest"]["minidl captured"]
            cells.append(f"{statistics.median(pairs):.2f} ({min(pairs):.2f} - {max(pairs):.2f}; {fastest:.2f})")
        lines.append("| " + " | ".join(cells) + f" | {row['of_floor']:.0%} |")
    return lines


def accuracy_table(record: dict[str, Any]) -> list[str]:
    (race,) = record["rows"]
    ours = statistics.median(run["seconds"] for run in race["minidl"])
    text = f"`minidl train` to {race['wanted']:.0%} test accuracy, process start to exit: {ours:.2f} s"
    if race["torch"]:
        theirs, ratio = statistics.median(run["seconds"] for run in race["torch"]), statistics.median(race["ratios"])
        span = f"{min(race['ratios']):.2f} - {max(race['ratios']):.2f}"
        text += f"; the same recipe in PyTorch {theirs:.2f} s, {ratio:.2f} times as long ({span})"
    return [f"{text}. {describe(record)}."]


def kernel_table(record: dict[str, Any]) -> list[str]:
    """A row per family and size: the part of the roof and the ratios, as median over its kernels' rows."""
    rows = [row for row in record["rows"] if not row["failure"] and row["family"] != "roof"]
    roofs = record["roofs"]
    largest = max(roofs["bandwidth"], key=int)
    lines = [
        f"Kernels, {record['dtype']}: {describe(record)}; roofs {roofs['flops'] / 1e9:.0f} GFLOP/s and "
        f"{roofs['bandwidth'][largest] / 1e9:.0f} GB/s in memory. Medians over the family's rows (smallest - largest).",
        "",
        "| family, size | rows | of the roof | NumPy / minidl | PyTorch / minidl |",
        "| --- | --- | --- | --- | --- |",
    ]
    for group in dict.fromkeys((row["family"], row["size"]) for row in rows):
        own = [row for row in rows if (row["family"], row["size"]) == group]
        shares = [row["of_roof"] for row in own]
        share = f"{statistics.median(shares):.0%} ({min(shares):.0%} - {max(shares):.0%})"
        cells = [f"{group[0]}, {group[1]}", str(len(own)), share]
        for library in ("numpy", "torch"):
            ratios = [
                row["timings"][library]["median"] / row["timings"]["minidl"]["median"]
                for row in own
                if library in row["timings"]
            ]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})" if ratios else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def fits_table(record: dict[str, Any]) -> list[str]:
    """A row per data set: whole fits of both libraries, and the ratio of medians with its range over pairs."""
    version = record["rows"][0]["versions"]["sklearn"]
    lines = [
        f"Whole fits of `MLPClassifier`: {describe(record)}, scikit-learn {version}; medians over {record['rounds']} "
        "processes a library.",
        "",
        "| data; network | minidl.sklearn | scikit-learn | scikit-learn / minidl (range; of the fastest) |",
        "| --- | --- | --- | --- |",
    ]
    for row in record["rows"]:
        times = [f"{row['median'][library] * 1e3:.0f} ms" for library in ("minidl", "sklearn")]
        ratios, fastest = row["ratios"], row["fastest"]["sklearn"] / row["fastest"]["minidl"]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f}; {fastest:.2f})"
        lines.append("| " + " | ".join([row["name"], *times, ratio]) + " |")
    return lines


TABLES = {"training": training_table, "accuracy": accuracy_table, "fits": fits_table, "kernels": kernel_table}


def verified(rows: list[dict[str, Any]]) -> list[str]:
    """What was checked, counted over the rows that checked it, and what failed there."""
    checks = sum(row.get("checked", 0) for row in rows)
    parts = [f"{checks} checks of kernels against NumPy in float64"] if checks else []
    for row in rows:
        if "failure" in row:
            parts.append(f"{row['row']} FAILED")
        elif "passed" in row:
            parts.append(f"{row['row']}: {row['passed']} passed")
        elif "summary" in row:
            parts.append(f"{row['row']}: {row['summary']}")
    return parts


def gpu_section(folder: Path) -> str:
    """What the newest record of a GPU says of correctness, and of the targets."""
    records = records_of("gpu", folder)
    if not records:
        return "No kernel has run on a GPU yet."
    record = records[-1]
    machine = record["machine"]
    lines = [
        f"{machine['gpu']}, driver {machine['driver_version']}, CUDA {machine['toolkit']}, {machine['date']}, commit "
        f"{machine['commit']}; PyTorch {machine['torch']}, CuPy {machine['cupy']}.",
        "",
        f"Correct: {'; '.join(verified(record['rows'])) or 'not checked'}.",
    ]
    later = record.get("later", {"targets": {}})
    head = ["work", "target", f"measured{' at ' + machine['commit'] if later['targets'] else ''}", ""]
    head += [f"at {later['commit']}", ""] if later["targets"] else []
    lines += ["", "| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for work, *verdict in record["targets"]:
        cells = [work, *verdict, *later["targets"].get(work, ["", ""])][: len(head)]
        lines.append("| " + " | ".join(cells) + " |")
    if later["targets"]:
        lines += ["", f"{later['commit']}, {later['date']}: {later['note']}."]
    return "\n".join(lines)


def speed_section(folder: Path) -> str:
    """What stands between the markers: a table for every kind of record and every processor that there is."""
    parts = [
        "\n".join(table(record)) for kind, table in TABLES.items() for record in newest_of_each_processor(kind, folder)
    ]
    return "\n\n".join(parts) or "No figures are recorded yet."


SECTIONS = {"speed": speed_section, "gpu": gpu_section}


def with_section(text: str, name: str, section: str) -> str:
    """The README with another section between the markers of that name. ValueError where they are missing."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"README.md must hold {begin} and, after it, {end}")
    return f"{before}{begin}\n\n{section}\n\n{end}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where README.md is out of date")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results", help="folder of the records")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    options = parser.parse_args()
    text = wanted = options.readme.read_text()
    for name, section in SECTIONS.items():
        wanted = with_section(wanted, name, section(options.results))
    if options.check:
        if text != wanted:
            print("README.md and bench/results differ: run python bench/readme.py", file=sys.stderr)
        return int(text != wanted)
    options.readme.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
