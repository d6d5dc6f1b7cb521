"""Training or inference steps of one library, timed in a process of its own; run by `training`, in any interpreter.

Imports nothing of minidl's but minidl itself, where that is the library. Prints one JSON line.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import resource
import runpy
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

WARM_UP_STEPS = 15
LEARNING_RATE = 1e-3


def make_data(batch: int, inputs: int, classes: int) -> tuple[Any, Any]:
    """The same random batch for every library."""
    random = np.random.default_rng(0)
    return random.random((batch, inputs), dtype=np.float32), random.integers(0, classes, batch)


def make_model(torch: Any, task: dict[str, Any]) -> Any:
    """The network of a task; `torch` is PyTorch or minidl, as the names are the same."""
    nn, widths = importlib.import_module(torch.__name__ + ".nn"), task["widths"]
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(widths[:-1]):
        layers.append(nn.Linear(inputs, outputs))
        layers += [nn.BatchNorm1d(outputs)] if task["batch_norm"] else []
        layers.append(nn.ReLU())
        layers += [nn.Dropout(task["dropout"])] if task["dropout"] else []
    return nn.Sequential(*layers, nn.Linear(*widths[-2:]))


def training_step(torch: Any, model: Any, optimizer: Any) -> Callable[[Any, Any], Any]:
    """The step of a training as one writes it: (x, labels) -> loss."""
    loss_function = importlib.import_module(torch.__name__ + ".nn").CrossEntropyLoss()

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_function(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def inference_step(torch: Any, model: Any) -> Callable[[Any, Any], Any]:
    """(x, labels) -> logits."""

    def step(x: Any, labels: Any) -> Any:
        with torch.no_grad():
            return model(x)

    return step


def torch_like_step(library: str, task: dict[str, Any], threads: int) -> Callable[[], Any]:
    """For minidl, captured or eager, and PyTorch."""
    torch = importlib.import_module("minidl" if library.startswith("minidl") else library)
    optim = importlib.import_module(torch.__name__ + ".optim")
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(task["matmul_precision"])
    torch.manual_seed(0)
    model = make_model(torch, task)
    pixels, classes = make_data(task["batch"], task["widths"][0], task["widths"][-1])
    x, labels = torch.from_numpy(pixels), torch.from_numpy(classes)
    step = training_step(torch, model, optim.Adam(model.parameters(), lr=LEARNING_RATE))
    if task["is_inference"]:
        model.eval()
        step = inference_step(torch, model)
    run = torch.capture(step) if library == "minidl captured" else step
    return lambda: run(x, labels)


def jax_step(task: dict[str, Any], waits: bool = True) -> Callable[[], Any]:
    """The same network and Adam, jitted as one function whose arguments are donated. Where it does not wait for a step,
    the result of its last call does."""
    jax = importlib.import_module("jax")
    jnp, widths = jax.numpy, task["widths"]
    random = np.random.default_rng(0)
    params: list[dict[str, Any]] = []
    running: list[dict[str, Any]] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        bound = 1 / np.sqrt(inputs)
        weight = random.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
        layer = {"weight": jnp.asarray(weight), "bias": jnp.zeros(outputs)}
        if task["batch_norm"] and i < len(widths) - 2:
            layer |= {"scale": jnp.ones(outputs), "shift": jnp.zeros(outputs)}
            running.append({"mean": jnp.zeros(outputs), "var": jnp.ones(outputs)})
        params.append(layer)

    def forward(params: Any, running: Any, x: Any, key: Any) -> tuple[Any, Any]:
        updated = []
        for i, layer in enumerate(params[:-1]):
            x = x @ layer["weight"] + layer["bias"]
            if task["batch_norm"]:
                mean, var = x.mean(0), x.var(0)
                x = (x - mean) * (jax.lax.rsqrt(var + 1e-5) * layer["scale"]) + layer["shift"]
                old, n = running[i], len(x)
                updated.append(
                    {"mean": 0.9 * old["mean"] + 0.1 * mean, "var": 0.9 * old["var"] + 0.1 * var * n / (n - 1)}
                )
            x = jax.nn.relu(x)
            if task["dropout"] and not task["is_inference"]:
                kept = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - task["dropout"], x.shape)
                x = jnp.where(kept, x / (1 - task["dropout"]), 0)
        return x @ params[-1]["weight"] + params[-1]["bias"], updated

    def loss_of(params: Any, running: Any, x: Any, labels: Any, key: Any) -> tuple[Any, Any]:
        logits, updated = forward(params, running, x, key)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
        return -picked.mean(), updated

    def train(state: Any, x: Any, labels: Any) -> tuple[Any, Any]:
        params, m, v, running, count, key = state
        key, own = jax.random.split(key)
        (loss, running), grads = jax.value_and_grad(loss_of, has_aux=True)(params, running, x, labels, own)
        count += 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        scale, correction = LEARNING_RATE / (1 - 0.9**count), 1 / (1 - 0.999**count)
        params = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v * correction) + 1e-8), params, m, v)
        return (params, m, v, running, count, key), loss

    pixels, classes = make_data(task["batch"], widths[0], widths[-1])
    x, labels = jnp.asarray(pixels), jnp.asarray(classes)
    if task["is_inference"]:
        infer = jax.jit(lambda params, x: forward(params, running, x, None)[0])
        return lambda: infer(params, x).block_until_ready()
    compiled = jax.jit(train, donate_argnums=0)
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = (params, zeros, jax.tree.map(jnp.zeros_like, params), running, jnp.zeros(()), jax.random.key(0))

    def step() -> Any:
        nonlocal state
        state, loss = compiled(state, x, labels)
        if waits:
            jax.block_until_ready(state)
        return loss

    return step


def sklearn_seconds(task: dict[str, Any], seconds: float) -> list[float]:
    """Seconds per step of whole epochs of MLPClassifier.fit, which knows no single step."""
    neural_network = importlib.import_module("sklearn.neural_network")
    warnings.simplefilter("ignore")
    widths, batch = task["widths"], task["batch"]
    steps = max(20, min(200, 20_000 // batch))
    pixels, classes = make_data(batch * steps, widths[0], widths[-1])
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        model = neural_network.MLPClassifier(
            widths[1:-1], batch_size=batch, max_iter=1, alpha=0, learning_rate_init=LEARNING_RATE, random_state=0
        )
        begin = time.perf_counter()
        model.fit(pixels, classes)
        taken.append((time.perf_counter() - begin) / steps)
    return taken


def take_steps(step: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds of each step, for about `seconds` and at least 10 steps, after some to warm up."""
    for _ in range(WARM_UP_STEPS):
        step()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 10 or time.perf_counter() < end:
        begin = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begin)
    return taken


def take_queued_steps(step: Callable[[], Any], seconds: float, steps: int = 50) -> list[float]:
    """Seconds per step of JAX on a GPU: a queue of some steps for each sample, and one wait at its end."""
    for _ in range(WARM_UP_STEPS):
        step().block_until_ready()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(steps):
            loss = step()
        loss.block_until_ready()
        taken.append((time.perf_counter() - begin) / steps)
    return taken


def require_gpu(jax: Any) -> None:
    """RuntimeError unless JAX computes on a GPU; there, products in float32 rather than TF32."""
    if jax.default_backend() != "gpu":
        raise RuntimeError(f"jax computes on {jax.default_backend()}: install jax[cuda13]")
    jax.config.update("jax_default_matmul_precision", "highest")


def limit_cores(threads: int) -> None:
    """For libraries that take all cores they may run on."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def peak_bytes() -> int:
    """The most memory that this process has had; second choice ru_maxrss, in which Linux counts a parent's memory."""
    try:
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def first_number(result: Any) -> float:
    """The loss, or the first logit: what shows that the step computed something."""
    return float(np.asarray(result.tolist() if hasattr(result, "tolist") else result).reshape(-1)[0])


def main(
    library: str, task: dict[str, Any], threads: int, seconds: float, folder: str, on_gpu: bool = False
) -> dict[str, Any]:
    """The figures of one process; `on_gpu` is for JAX."""
    if library in ("jax", "sklearn"):
        limit_cores(threads)
    module = importlib.import_module({"sklearn": "sklearn.neural_network"}.get(library, library.split()[0]))
    if on_gpu:
        require_gpu(module)
    after_import = peak_bytes()
    watch = runpy.run_path(os.path.join(folder, "processes.py"))["OtherProcesses"]()
    value = None
    if library == "sklearn":
        watch.begin()
        taken: Iterable[float] = sklearn_seconds(task, seconds)
    else:
        step = jax_step(task, not on_gpu) if library == "jax" else torch_like_step(library, task, threads)
        value = first_number(step())
        watch.begin()
        taken = take_queued_steps(step, seconds) if on_gpu else take_steps(step, seconds)
    # The watch counts this process's own time itself.
    others = watch.share(0.0)
    return {
        "median": statistics.median(taken),
        "fastest": min(taken),
        "others": others,
        "memory": peak_bytes() - after_import,
        "value": value,
        "version": str(getattr(sys.modules[module.__name__.split(".")[0]], "__version__", "")),
    }


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
