"""One training step of 784-256-128-10 with Adam, minidl against PyTorch: alternating processes, ratio of medians."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

from timing import machine

# Runs in both libraries: what differs is the name of the import. Prints the milliseconds of the median step.
STEP = """
import statistics, sys, time
import numpy as np
import {library} as torch
from {library} import nn, optim

batch, threads, steps = {batch}, {threads}, {steps}
torch.set_num_threads(threads)
torch.manual_seed(0)
random = np.random.default_rng(0)
x = torch.from_numpy(random.random((batch, 784), dtype=np.float32))
labels = torch.from_numpy(random.integers(0, 10, batch))
model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
loss_function = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=1e-3)

def step():
    loss = loss_function(model(x), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss

for _ in range(20):
    step()
times = []
for _ in range(steps):
    start = time.perf_counter()
    loss = step()
    times.append(time.perf_counter() - start)
print(1e3 * statistics.median(times), 1e3 * min(times), loss.item())
"""


def measure(python: str, library: str, batch: int, threads: int, steps: int) -> tuple[float, float, float]:
    """Milliseconds of the median and of the fastest step, and the loss after the last one, in a process of its own."""
    code = STEP.format(library=library, batch=batch, threads=threads, steps=steps)
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{library} failed in {python}:\n{done.stderr}")
    median, fastest, loss = (float(word) for word in done.stdout.split())
    return median, fastest, loss


def compare(torch_python: str, batch: int, threads: int, steps: int, rounds: int) -> dict[str, float]:
    """Alternating processes, so that a change of the machine's speed meets both alike; ratios are taken per round."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(measure(sys.executable, "minidl", batch, threads, steps))
        theirs.append(measure(torch_python, "torch", batch, threads, steps))
    ratios = [other[0] / own[0] for own, other in zip(ours, theirs, strict=True)]
    return {
        "batch": batch,
        "minidl_ms": statistics.median(own[0] for own in ours),
        "torch_ms": statistics.median(other[0] for other in theirs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "ratio_of_fastest": min(other[1] for other in theirs) / min(own[1] for own in ours),
        # Other initial weights, same data and recipe: both must have learnt about as much.
        "loss_minidl": ours[-1][2],
        "loss_torch": theirs[-1][2],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help="interpreter that imports torch")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 64, 128, 512])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=300, help="timed steps per process")
    parser.add_argument("--rounds", type=int, default=5, help="processes per library")
    parser.add_argument("--output", type=Path, help="JSON file; a folder gets a dated name")
    options = parser.parse_args()
    rows = []
    print(f"{'batch':>6} {'minidl ms':>10} {'torch ms':>10} {'torch / minidl':>15} {'range':>13} {'fastest':>8}")
    for batch in options.batch:
        row = compare(options.torch, batch, options.threads, options.steps, options.rounds)
        rows.append(row)
        span = f"{row['ratio_min']:.2f} - {row['ratio_max']:.2f}"
        print(
            f"{batch:6d} {row['minidl_ms']:10.3f} {row['torch_ms']:10.3f} {row['ratio']:15.2f} {span:>13} "
            f"{row['ratio_of_fastest']:8.2f}",
            flush=True,
        )
    if options.output:
        target = options.output / f"{date.today()}_training.json" if options.output.is_dir() else options.output
        record = {"machine": machine(), "threads": options.threads, "rounds": options.rounds, "rows": rows}
        target.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
