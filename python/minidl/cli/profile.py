"""`minidl train --profile`: where a step's time goes, with the columns of `minidl bench`."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from minidl.bench.profile import profile_step, summarize
from minidl.bench.roofs import measure_roofs


def print_profile(model: Any, loss: Any, optimizer: Any, x: Any, target: Any, console: Console) -> None:
    """A line per kernel of one training step, the longest first; model and optimizer stay as they are."""
    was_training = model.training
    model.train()
    try:
        lines = summarize(profile_step(model, loss, optimizer, x, target), measure_roofs(seconds=0.05))
    finally:
        model.train(was_training)
    total = sum(line.seconds for line in lines)
    console.print(f"\nA training step of {len(x)} samples, kernel by kernel: {total * 1e6:.0f} us", highlight=False)
    head = f"{'kernel':29} {'calls':>5} {'us':>9} {'share':>6} {'GFLOP/s':>8} {'GB/s':>6} {'of roof':>14}"
    console.print(head, style="bold", highlight=False, soft_wrap=True)
    for line in lines:
        flops, moved = (amount / max(line.seconds, 1e-12) / 1e9 for amount in line.cost)
        console.print(
            f"{line.kernel:29} {line.calls:5} {line.seconds * 1e6:9.1f} {line.seconds / total:6.1%} "
            f"{flops:8.1f} {moved:6.1f} {line.of_roof:6.0%} {line.roof:7}",
            highlight=False,
            soft_wrap=True,
        )
