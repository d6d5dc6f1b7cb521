"""Whole training steps beside PyTorch eager, compiled and as a CUDA graph, and beside JAX; a whole epoch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

import minidl
from gpu.contenders import STEPS_PER_GRAPH, Run, TorchTask, minidl_runs, reference_losses
from gpu.contest import Contender, contest
from gpu.gemm import NO_TF32, has_tf32, tf32
from gpu.log import Figures
from gpu.session import Case, Context, Options, Section
from minidl import optim
from minidl.bench import Timing
from minidl.bench.step_worker import LEARNING_RATE, make_model
from minidl.bench.training import NORMALIZED, SMALL, WIDE, Task, run_process
from minidl.data import DataLoader, PixelDataset
from minidl.training import fit

TASKS = (Task(SMALL, 128), Task(NORMALIZED, 128, batch_norm=True, dropout=0.2), Task(WIDE, 1024))
IMAGES = 60_000
# What losses may be off for each step taken; TF32 rounds factors to 11 bits; other masks of dropout give other losses.
TOLERANCE, TF32_TOLERANCE, OTHER_MASKS = 1e-3, 2e-2, 0.1
EPSILON = float(np.finfo(np.float32).eps)


def steps(context: Context, task: Task, allows_tf32: bool = False) -> Figures:
    """All ways to do the step, in one process, by turns; every loss is compared with the CPU's."""
    if allows_tf32 and not has_tf32(context.gpu):
        return {"skipped": NO_TF32}
    wanted = reference_losses(task, 5 * STEPS_PER_GRAPH)
    tolerance = TF32_TOLERANCE if allows_tf32 else TOLERANCE
    other_tolerance = OTHER_MASKS if task.dropout else tolerance
    others = {
        name: lambda build=build: _contender(build(), wanted, other_tolerance)
        for name, build in _torch_builders(context, task, is_brief=allows_tf32).items()
    }
    with tf32(context.torch) if allows_tf32 else nullcontext():
        own = [_contender(run, wanted, tolerance) for run in minidl_runs(task, is_brief=allows_tf32)]
        figures = contest(own, context.gpu.seconds, context.plan, others)
    return {**figures, "flops": task.flops}


def _torch_builders(context: Context, task: Task, is_brief: bool) -> dict[str, Callable[[], Run]]:
    if context.torch is None:
        return {}
    theirs = TorchTask(context.gpu, context.torch, task)
    builders: dict[str, Callable[[], Run]] = {
        "PyTorch graph": theirs.graph,
        "PyTorch, longer graph": partial(theirs.graph, STEPS_PER_GRAPH),
    }
    if not is_brief:
        builders |= {"PyTorch eager": theirs.eager, "PyTorch compiled": theirs.compiled}
    return builders


def _contender(run: Run, wanted: Sequence[float], tolerance: float) -> Contender:
    """A run whose losses so far are the sample. An early difference grows, so a later step may be further off."""
    places = sorted(run.losses)
    return Contender(
        run.name,
        [run.call],
        lambda: np.array([run.losses[i] for i in places], np.float32),
        np.array([wanted[i] for i in places]),
        tolerance / EPSILON,
        1.0 + np.array(places),
        run.steps_per_call,
    )


def jax(context: Context, task: Task) -> Figures:
    """JAX's jitted step in a process of its own, by the host's clock around queues of 50 steps."""
    python = context.options.jax or sys.executable
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else it takes most of the memory
    try:
        figures = run_process(python, "jax", task, os.cpu_count() or 1, 1.0, on_gpu=True)
    except ImportError as error:
        return {"skipped": str(error)}
    wanted, first = reference_losses(task, 1)[0], figures["value"]
    # The weights are others, drawn from the same distribution: the first loss is near, not equal.
    if not abs(first - wanted) < 0.2:
        return {"failure": f"the first loss is {first:.3f}, and minidl's {wanted:.3f}"}
    timing = Timing(figures["median"], figures["fastest"], 0.0, figures["others"])
    return {"timings": {"JAX": asdict(timing)}, "notes": [f"jax {figures['version']}, in a process of its own"]}


def epoch(context: Context, task: Task = TASKS[0], images: int = IMAGES) -> Figures:
    """`fit` over images that lie on the GPU as bytes: shuffling, gathering and all; the first epoch records."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, task.widths[0]), dtype=np.uint8)
    labels = random.integers(0, task.widths[-1], images)

    def history(device: str, epochs: int) -> Any:
        minidl.manual_seed(0)
        model = make_model(minidl, asdict(task)).to(device)
        data = PixelDataset(minidl.from_numpy(pixels).to(device), minidl.from_numpy(labels).to(device))
        optimizer = optim.Adam(model.parameters(), lr=LEARNING_RATE)
        return fit(model, DataLoader(data, task.batch, shuffle=True), epochs=epochs, optimizer=optimizer).epochs

    wanted, epochs = history("cpu", 1)[0].train_loss, history("cuda", 6)
    got = epochs[0].train_loss
    if not abs(got - wanted) < 1e-2 * wanted:
        return {"failure": f"the first epoch's loss is {got:.5f}, and the CPU's {wanted:.5f}"}
    timing = Timing.of([figures.seconds for figures in epochs[1:]])
    return {"timings": {"minidl": asdict(timing)}, "notes": [], "steps": -(-images // task.batch)}


def cases(options: Options) -> list[Case]:
    return [
        *(Case(f"step {task.name}", partial(steps, task=task)) for task in TASKS),
        Case(f"step {TASKS[-1].name}, TF32", partial(steps, task=TASKS[-1], allows_tf32=True)),
        Case(f"epoch {TASKS[0].name}", epoch),
        *(Case(f"JAX step {task.name}", partial(jax, task=task)) for task in TASKS),
    ]


SECTION = Section("training steps", 110, cases)
