"""Matrix products beside cuBLAS: one large one, and those of a layer with all that is fused into them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

import minidl
from gpu.contest import Contender, contest
from gpu.device import Work
from gpu.layer import Layer
from gpu.log import Figures
from gpu.session import Case, Context, Options, Section

SQUARE = 4096
# rows, in_features, out_features: the layers of the measured networks at batch 128 and 1024.
LAYERS = ((128, 784, 256), (128, 256, 128), (128, 128, 10), (128, 784, 512), (1024, 784, 1024), (1024, 1024, 1024))
PRODUCTS = {
    "NT": "relu(x weight^T + bias)",
    "NN": "grad_out weight where relu's out > 0",
    "TN": "grad_out^T x, column sums of grad_out",
}
CALLS_PER_GRAPH = 20
TF32_SIZE = 1024
# Against float64: float32 sums of k terms, and TF32's factors of 11 bits. Errors count relative to sum |a||b|.
EPSILONS, TF32_EPSILONS = 32.0, 2.0**13
NO_TF32 = 'set_float32_matmul_precision("high") changes nothing in this build'


@contextmanager
def tf32(torch: ModuleType | None) -> Any:
    """Inside it minidl and PyTorch may multiply in TF32."""
    minidl.set_float32_matmul_precision("high")
    if torch is not None:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        minidl.set_float32_matmul_precision("highest")
        if torch is not None:
            torch.set_float32_matmul_precision("highest")


def has_tf32(gpu: Any) -> bool:
    """Whether the precision "high" changes the bits of a product that is large enough to gain by it."""
    size = TF32_SIZE
    a, b, out = gpu.normal(size, size), gpu.normal(size, size), gpu.zeros(size, size)
    gpu.kernels.matmul(a, b, out)
    exact = gpu.host(out).copy()
    with tf32(None):
        gpu.kernels.matmul(a, b, out)
        return not np.array_equal(exact, gpu.host(out))


def square(context: Context, size: int = SQUARE, allows_tf32: bool = False) -> Figures:
    """a b, three sets of matrices in turn; minidl, PyTorch and CuPy, the latter two through cuBLAS."""
    gpu, torch = context.gpu, context.torch
    if allows_tf32 and not has_tf32(gpu):
        return {"skipped": NO_TF32}
    a, b = ([gpu.normal(size, size) for _ in range(3)] for _ in range(2))
    outs = [gpu.zeros(size, size) for _ in a]
    rows = slice(0, min(64, size))
    left, right = (gpu.host(array).astype(np.float64) for array in (a[0][rows], b[0]))
    wanted, scale = left @ right, np.abs(left) @ np.abs(right)
    epsilons = TF32_EPSILONS if allows_tf32 else EPSILONS

    def contender(name: str, multiply: Callable[..., object], sets: Any) -> Contender:
        calls = [partial(multiply, x, y, out=out) for x, y, out in sets]
        poison = partial(gpu.kernels.fill, outs[0], float("nan"))
        return Contender(name, calls, lambda: gpu.host(outs[0][rows]), wanted, epsilons, scale, poison=poison)

    sets = list(zip(a, b, outs, strict=True))
    others: dict[str, Callable[[], Contender]] = {}
    if torch is not None:
        views = [[gpu.view_in_torch(torch, array) for array in arrays] for arrays in sets]
        others["PyTorch"] = partial(contender, "PyTorch", torch.mm, views)
    if not allows_tf32:
        others["CuPy"] = partial(contender, "CuPy", gpu.cupy.matmul, sets)
    with tf32(torch) if allows_tf32 else nullcontext():
        figures = contest([contender("minidl", gpu.kernels.matmul, sets)], gpu.seconds, context.plan, others)
    return {**figures, "flops": 2.0 * size**3}


def layer(context: Context, shape: tuple[int, int, int], product: str) -> Figures:
    """A layer's product in CUDA graphs of 20 calls, its arrays in L2 as they are during training."""
    gpu, torch = context.gpu, context.torch
    arrays = Layer(gpu, shape)

    def contender(name: str, work: Work, record: Callable[[Work], Work], is_bare: bool = False) -> Contender:
        wanted, scale = arrays.wanted(product, is_bare)
        calls, poison = [_repeated(work, record)], partial(arrays.poison, product, is_bare)
        result = partial(arrays.result, product)
        return Contender(name, calls, result, wanted, EPSILONS, scale, CALLS_PER_GRAPH, poison)

    others: dict[str, Callable[[], Contender]] = {}
    if torch is not None:
        record = partial(gpu.recorded_by_torch, torch)
        fused, bare = arrays.in_torch(torch, product), arrays.product_in_torch(torch, product)
        others["PyTorch"] = partial(contender, "PyTorch", fused, record)
        others["PyTorch, product alone"] = partial(contender, "PyTorch, product alone", bare, record, True)
    own = [
        contender("minidl", partial(arrays.fused, product), gpu.recorded),
        contender("minidl, unfused", partial(arrays.unfused, product), gpu.recorded),
    ]
    figures = contest(own, gpu.seconds, context.plan, others)
    return {**figures, "flops": 2.0 * math.prod(shape), "computes": PRODUCTS[product]}


def _repeated(work: Work, record: Callable[[Work], Work]) -> Work:
    def calls() -> None:
        for _ in range(CALLS_PER_GRAPH):
            work()

    return record(calls)


def layer_name(shape: Sequence[int], product: str) -> str:
    return f"layer {'x'.join(str(n) for n in shape)} {product}"


def cases(options: Options) -> list[Case]:
    large = [
        Case(f"SGEMM {SQUARE}^3", square),
        Case(f"TF32 GEMM {SQUARE}^3", partial(square, allows_tf32=True)),
    ]
    layers = [
        Case(layer_name(shape, product), partial(layer, shape=shape, product=product))
        for shape in LAYERS
        for product in PRODUCTS
    ]
    return large + layers


SECTION = Section("GEMM", 60, cases)
