"""Training steps of one network, by minidl and by PyTorch: eager, compiled, and as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import Any

import minidl
from minidl import optim
from minidl.bench.step_worker import LEARNING_RATE, make_data, make_model, training_step
from minidl.bench.training import Task

STEPS_PER_GRAPH = 10


@dataclass
class Run:
    """A training under way: what does its next steps, and the losses of some that it has done."""

    name: str
    call: Callable[[], object]
    losses: dict[int, float] = field(default_factory=dict)  # by number of the step, from 0
    steps_per_call: int = 1


def _watched(name: str, call: Callable[[], Any], calls: int = 4, steps_per_call: int = 1, steps_before: int = 0) -> Run:
    """Calls a few times, the first of which may trace, compile or record, and keeps the losses."""
    run = Run(name, call, steps_per_call=steps_per_call)
    for i in range(1, calls + 1):
        run.losses[steps_before + i * steps_per_call - 1] = float(call().item())
    return run


def _repeated(step: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    def steps() -> Any:
        for _ in range(STEPS_PER_GRAPH - 1):
            step(*arguments)
        return step(*arguments)

    return steps


def minidl_step(task: Task, device: str) -> tuple[Callable[..., Any], Any, Any]:
    """(step, x, labels) with the weights and masks of seed 0."""
    minidl.manual_seed(0)
    model = make_model(minidl, asdict(task)).to(device)
    pixels, classes = make_data(task.batch, task.widths[0], task.widths[-1])
    step = training_step(minidl, model, optim.Adam(model.parameters(), lr=LEARNING_RATE))
    return step, minidl.from_numpy(pixels).to(device), minidl.from_numpy(classes).to(device)


def reference_losses(task: Task, steps: int) -> list[float]:
    """The losses of minidl's CPU kernels, which the test suite compares with NumPy."""
    step, x, labels = minidl_step(task, "cpu")
    return [float(step(x, labels).item()) for _ in range(steps)]


def minidl_runs(task: Task, is_brief: bool = False) -> Iterator[Run]:
    """Captured, several steps captured as one, eager; without the last if brief."""
    step, x, labels = minidl_step(task, "cuda")
    captured = minidl.capture(step)
    yield _watched("minidl captured", lambda: captured(x, labels))
    many, more_x, more_labels = minidl_step(task, "cuda")
    ten = minidl.capture(lambda a, b: _repeated(many, a, b)())
    yield _watched(f"minidl, {STEPS_PER_GRAPH} steps captured", lambda: ten(more_x, more_labels), 3, STEPS_PER_GRAPH)
    if not is_brief:
        eager, own_x, own_labels = minidl_step(task, "cuda")
        yield _watched("minidl eager", lambda: eager(own_x, own_labels))


class TorchTask:
    """The same network in PyTorch, with minidl's first weights."""

    def __init__(self, gpu: Any, torch: ModuleType, task: Task) -> None:
        self.gpu, self.torch, self.task = gpu, torch, task
        pixels, classes = make_data(task.batch, task.widths[0], task.widths[-1])
        self.x = torch.from_numpy(pixels).to(gpu.torch_device)
        self.labels = torch.from_numpy(classes).to(gpu.torch_device)

    def model_and_optimizer(self, **options: Any) -> tuple[Any, Any]:
        torch = self.torch
        minidl.manual_seed(0)
        torch.manual_seed(0)
        model = make_model(torch, asdict(self.task))
        with torch.no_grad():
            for theirs, ours in zip(
                model.parameters(), make_model(minidl, asdict(self.task)).parameters(), strict=True
            ):
                theirs.copy_(torch.from_numpy(ours.detach().numpy()))
        model = model.to(self.gpu.torch_device)
        return model, torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, **options)

    def eager(self) -> Run:
        """As one writes it, with the optimizer's defaults."""
        step = training_step(self.torch, *self.model_and_optimizer())
        return _watched("PyTorch eager", lambda: step(self.x, self.labels))

    def compiled(self) -> Run:
        """Forward and backward by torch.compile in CUDA graphs, the fused optimizer behind them."""
        model, optimizer = self.model_and_optimizer(fused=True)
        loss_function = self.torch.nn.CrossEntropyLoss()
        forward = self.torch.compile(lambda x, labels: loss_function(model(x), labels), mode="reduce-overhead")

        def step() -> Any:
            optimizer.zero_grad()
            loss = forward(self.x, self.labels)
            loss.backward()
            optimizer.step()
            return loss

        return _watched("PyTorch compiled", step, 6)

    def graph(self, steps: int = 1) -> Run:
        """The whole step, fused optimizer included, in a CUDA graph of the user's own."""
        step = training_step(self.torch, *self.model_and_optimizer(fused=True, capturable=True))
        loss: list[Any] = []

        def work() -> None:
            for _ in range(steps):
                loss[:] = [step(self.x, self.labels)]

        replay = self.gpu.recorded_by_torch(self.torch, work)

        def call() -> Any:
            replay()
            return loss[0]

        name = "PyTorch graph" if steps == 1 else f"PyTorch, graph of {steps} steps"
        return _watched(name, call, 2, steps, steps_before=3 * steps)
