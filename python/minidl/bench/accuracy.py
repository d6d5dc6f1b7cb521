"""Time to accuracy: a whole `minidl train`, process start to exit, beside the same recipe in PyTorch."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minidl.bench.processes import RUN_FILE, environment, own_package_first
from minidl.data.images import find_files


@dataclass(frozen=True)
class Run:
    """One process: its wall time, the epochs it took, the test accuracy after the last, and the seconds of its epochs
    without the evaluations."""

    seconds: float
    epochs: int
    accuracy: float
    training: float | None = None


@dataclass(frozen=True)
class Race:
    """The runs of both libraries, pair by pair with equal seeds."""

    wanted: float
    minidl: list[Run]
    torch: list[Run]

    @property
    def ratios(self) -> list[float]:
        """How many times longer PyTorch took, pair by pair; empty without PyTorch."""
        return [theirs.seconds / ours.seconds for theirs, ours in zip(self.torch, self.minidl, strict=False)]

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.torch else None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratios": self.ratios}


def race(
    wanted: float,
    recipe: Mapping[str, Any],
    torch: str | None,
    data_dir: Path | None,
    threads: int,
    rounds: int,
    dataset: str = "mnist",
) -> Race:
    """Runs both, turn by turn, each until the epoch whose test accuracy reaches what is wanted.

    `recipe` holds the defaults of `minidl train` that `torch_recipe` takes: hidden, dropout, lr, weight_decay,
    batch_size, epochs.

    Raises ValueError where MNIST is not on this machine (a download is not to be timed), RuntimeError where a process
    fails.
    """
    files = find_files(dataset, data_dir)
    if files is None:
        raise ValueError(f"{dataset} is not on this machine; `minidl train` downloads it")
    folder = files[0].parent
    ours, theirs = [], []
    for seed in range(rounds):
        ours.append(run_minidl(wanted, folder.parent, threads, seed, dataset))
        if torch is not None:
            theirs.append(run_torch(torch, wanted, recipe, folder, threads, seed))
    return Race(wanted, ours, theirs)


def run_minidl(
    wanted: float, data_dir: Path, threads: int, seed: int, dataset: str = "mnist", device: str = "cpu"
) -> Run:
    """One `minidl train`. RuntimeError where the process fails."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.json"
        main = "from minidl.cli import main; main()"
        arguments: Mapping[str, Any] = {
            "--dataset": dataset,
            "--data-dir": data_dir,
            "--threads": threads,
            "--seed": seed,
            "--device": device,
            "--until-accuracy": wanted,
            "--record": record,
            "--checkpoint": Path(folder) / "checkpoint.safetensors",
            "--plot": Path(folder) / "curve.png",
        }
        words = [str(word) for pair in arguments.items() for word in pair]
        seconds = _time([sys.executable, "-c", main, "train", "--quiet", *words], threads, own_package_first())[0]
        figures = json.loads(record.read_text())
    training = sum(epoch["seconds"] for epoch in figures["epochs"])
    return Run(seconds, len(figures["epochs"]), figures["test_accuracy"], training)


def run_torch(
    python: str,
    wanted: float,
    recipe: Mapping[str, Any],
    folder: Path,
    threads: int,
    seed: int,
    device: str = "cpu",
) -> Run:
    """The same recipe in PyTorch. RuntimeError where the process fails."""
    request = {"folder": str(folder), "accuracy": wanted, "threads": threads, "seed": seed, "device": device, **recipe}
    script = str(Path(__file__).with_name("torch_recipe.py"))
    seconds, output = _time([python, "-c", RUN_FILE, script, json.dumps(request)], threads, {})
    figures = json.loads(output.splitlines()[-1])
    return Run(seconds, figures["epochs"], figures["accuracy"], figures["training"])


def _time(command: list[str], threads: int, more: dict[str, str]) -> tuple[float, str]:
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(threads, **more))
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}")
    return seconds, done.stdout
