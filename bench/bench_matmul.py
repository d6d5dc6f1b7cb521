"""Matrix products: % of the machine's multiply-add roof, and the ratio to NumPy's BLAS in a process of its own.

python bench/bench_matmul.py --threads 2 --only mlp --json results.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import timing


@dataclass(frozen=True)
class Case:
    """out (m x n) = op(a) op(b); layout says which of the two is stored transposed."""

    group: str
    name: str
    m: int
    n: int
    k: int
    layout: str = "NN"

    @property
    def flops(self) -> int:
        return 2 * self.m * self.n * self.k


def square_cases() -> list[Case]:
    sizes = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)
    return [Case("square", f"{n}^3", n, n, n) for n in sizes]


def mlp_cases() -> list[Case]:
    """The three products of each layer: forward, gradient of the input, gradient of the weight."""
    cases: dict[tuple[int, int, int, str], Case] = {}
    for network in ((784, 256, 128, 10), (784, 512, 512, 10), (784, 1024, 1024, 10)):
        for batch in (1, 32, 64, 128, 512):
            for layer, (inputs, outputs) in enumerate(itertools.pairwise(network)):
                size = f"{inputs}-{outputs} batch {batch}"
                cases[batch, outputs, inputs, "NT"] = Case("mlp", f"forward {size}", batch, outputs, inputs, "NT")
                if layer > 0:
                    cases[batch, inputs, outputs, "NN"] = Case("mlp", f"dX {size}", batch, inputs, outputs, "NN")
                cases[outputs, inputs, batch, "TN"] = Case("mlp", f"dW {size}", outputs, inputs, batch, "TN")
    return list(cases.values())


# ---- the worker: one library


def make_product(library: str, case: Case, dtype: str) -> Any:
    """A function without arguments that computes the case."""
    random = np.random.default_rng(0)
    transpose_a, transpose_b = (letter == "T" for letter in case.layout)
    a = random.standard_normal((case.k, case.m) if transpose_a else (case.m, case.k)).astype(dtype)
    b = random.standard_normal((case.n, case.k) if transpose_b else (case.k, case.n)).astype(dtype)
    out = np.empty((case.m, case.n), dtype)
    if library == "numpy":
        first, second = a.T if transpose_a else a, b.T if transpose_b else b
        return lambda: np.matmul(first, second, out=out)
    from minidl import kernels

    matmul = kernels.matmul
    return lambda: matmul(a, b, out, transpose_a, transpose_b)


def run_worker(library: str, dtype: str, seconds: float) -> None:
    products: dict[str, tuple[Any, int]] = {}

    def answer(request: Any) -> list[float]:
        key = json.dumps(request)
        if key not in products:
            products.clear()
            product = make_product(library, Case(**request), dtype)
            products[key] = product, timing.calls_per_sample(product)
        product, calls = products[key]
        product()  # wakes the threads, which slept while the other library was measured
        return timing.take_samples(product, seconds, calls)

    timing.answer_requests(answer)


# ---- the parent: asks, prints, records


def measure(cases: list[Case], options: argparse.Namespace) -> list[dict[str, Any]]:
    roof = timing.fma_roof(options.threads) / (2 if options.dtype == "float64" else 1)
    arguments = ["--dtype", options.dtype, "--seconds", str(options.seconds)]
    libraries = ("minidl", "numpy")
    workers = {library: timing.Worker(Path(__file__), library, options.threads, arguments) for library in libraries}
    print(f"{options.threads} thread(s), {options.dtype}; multiply-add roof {roof / 1e9:.0f} GFLOP/s")
    print(f"{'product':34}{'layout':>7}{'us':>11}{'spread':>8}{'GFLOP/s':>9}{'% roof':>8}{'NumPy us':>11}{'ratio':>7}")
    rows = []
    for case in cases:
        timings = timing.interleave_workers(workers, asdict(case), options.rounds)
        ours, numpy = timings["minidl"], timings["numpy"]
        rate = case.flops / ours.median
        row = {"gflops": rate / 1e9, "of_roof": rate / roof, "ratio_to_numpy": numpy.median / ours.median}
        rows.append({**asdict(case), **row, "minidl": asdict(ours), "numpy_blas": asdict(numpy)})
        print(
            f"{case.name:34}{case.layout:>7}{ours.median * 1e6:11.2f}{ours.spread:8.0%}{rate / 1e9:9.1f}"
            f"{rate / roof:8.0%}{numpy.median * 1e6:11.2f}{numpy.median / ours.median:7.2f}",
            flush=True,
        )
    for worker in workers.values():
        worker.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--only", choices=("square", "mlp"), help="one group of cases")
    parser.add_argument("--rounds", type=int, default=7, help="how often the libraries take turns")
    parser.add_argument("--seconds", type=float, default=0.02, help="per turn")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--worker", choices=("minidl", "numpy"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_worker(options.worker, options.dtype, options.seconds)
        return
    cases = [case for case in square_cases() + mlp_cases() if options.only in (None, case.group)]
    machine = timing.machine()
    print(f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}, load {machine['load']:.1f}")
    rows = measure(cases, options)
    if options.json:
        report = {"machine": machine, "threads": options.threads, "dtype": options.dtype, "rows": rows}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
