"""Checks and measures the CUDA back end on this machine's GPU, in under 9 minutes, beside PyTorch, CuPy and JAX.

python bench/gpu_check.py [--resume] [--sections NAME,...] [--list]

Each row is printed and kept in a file as soon as it is measured; --resume goes on with the rows that a file lacks or
that failed. At the end stand the targets, and a record in bench/results/. The exit status is 1 where there is no GPU or
a row failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from gpu import display, targets
from gpu.log import Figures, Log
from gpu.machine import MACHINE, ROOT, commit, gpu_name, why_no_gpu
from gpu.run import ERROR_STATUS, GRACE_SECONDS, has_failed, run_process, run_sections
from gpu.sections import SECTIONS
from gpu.session import Budget, Context, Options, Section, run_cases
from minidl.bench.report import SCHEMA, write_report


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the rows of every section, measure nothing")
    parser.add_argument("--resume", action="store_true", help="keep the rows that the file has")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="which ones, comma between (default: all)")
    parser.add_argument("--seconds", type=float, default=520.0, help="total time (default: 520)")
    parser.add_argument("--seeds", type=int, default=3, help="runs to 98 %% test accuracy (default: 3)")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ in it")
    parser.add_argument("--jax", metavar="PYTHON", help="interpreter that imports jax (default: this one)")
    parser.add_argument("--log", type=Path, default=Path("gpu_check.jsonl"), help="file of rows (gpu_check.jsonl)")
    parser.add_argument("--json", type=Path, help="the record (default: bench/results/DATE_gpu.json)")
    parser.add_argument("--within", type=float, help=argparse.SUPPRESS)  # a section's own process
    chosen = parser.parse_args(arguments)
    chosen.sections = [name.strip() for name in chosen.sections.split(",")]
    for name in chosen.sections:
        if name not in SECTIONS:
            parser.error(f"--sections: {name!r} is none of {', '.join(SECTIONS)}")
    if chosen.seeds < 1 or not chosen.seconds > 0:
        parser.error("--seeds and --seconds must be positive")
    return chosen


def say(text: str) -> None:
    print(text, flush=True)


def say_row(name: str, figures: Figures) -> None:
    say(display.describe(name, figures))


def run_section(chosen: argparse.Namespace, options: Options) -> int:
    """What a section's own process does."""
    from gpu.device import Gpu, torch_with_gpu

    deadline = time.monotonic() + chosen.within
    log = Log(chosen.log, say_row)
    context = Context(Gpu(), torch_with_gpu(), log, options, deadline)
    return 0 if run_cases(SECTIONS[chosen.sections[0]].cases(options), context, say) else ERROR_STATUS


def start(section: Section, seconds: float, arguments: list[str]) -> int:
    command = [sys.executable, __file__, *arguments, "--sections", section.name, "--within", str(seconds)]
    return run_process(command, seconds)


def origin_of_others(log: Log) -> str:
    """What GPU or commit the rows that a file has belong to, if not to this one; else empty."""
    kept = log.rows.get(MACHINE, {})
    now = {"gpu": gpu_name(), "commit": commit()}
    return ", ".join(f"{name} {kept[name]}, not {now[name]}" for name in now if kept and kept[name] != now[name])


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = parse(arguments)
    options = Options(chosen.seeds, chosen.data_dir, chosen.jax)
    sections = [SECTIONS[name] for name in SECTIONS if name in chosen.sections]
    if chosen.list:
        for section in sections:
            rows = section.cases(options)
            say(f"{section.name}, {section.seconds:g} s, {len(rows)} rows")
            for case in rows:
                say(f"  {case.name}")
        return 0
    if why_no_gpu():
        print(f"gpu_check needs an NVIDIA GPU that minidl can use: {why_no_gpu()}", file=sys.stderr)
        return 1
    if chosen.within is not None:
        return run_section(chosen, options)
    log = Log(chosen.log, say_row)
    if chosen.resume and (origin := origin_of_others(log)):
        print(f"--resume: {log.path} has rows of {origin}; name another file with --log", file=sys.stderr)
        return 1
    log.forget_failures() if chosen.resume else log.clear()
    budget = Budget(chosen.seconds - GRACE_SECONDS, sections)
    run_sections(sections, options, log, budget, lambda section, s: start(section, s, arguments), say)
    record(chosen, log)
    return int(has_failed(log.rows))


def record(chosen: argparse.Namespace, log: Log) -> None:
    """Prints the targets and writes the dated record."""
    say("\n" + "\n".join(targets.table(log.rows)))
    path = chosen.json or ROOT / f"bench/results/{time.strftime('%Y-%m-%d', time.gmtime())}_gpu.json"
    rows = [{"row": name, **row} for name, row in log.rows.items() if name != MACHINE]
    verdicts = [[target.work, target.text, *target.verdict(log.rows)] for target in targets.TARGETS]
    report = {"kind": "gpu", "schema": SCHEMA, "machine": log.rows.get(MACHINE, {}), "targets": verdicts, "rows": rows}
    write_report(report, path)
    say(f"figures: {path}")


if __name__ == "__main__":
    sys.exit(main())
