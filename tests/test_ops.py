"""Every row of op_cases.py: against its reference, finite differences, float64, other threads and other layouts."""

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from comparison import assert_bitwise_equal, assert_close, scale_with_lost
from minidl import _cpu, autograd, backends, ops
from minidl.backends import Backend
from minidl.tensor import Tensor
from op_cases import CASES, KERNELS_TESTED_ELSEWHERE, OPS_TESTED_ELSEWHERE, OpCase

Array = np.ndarray
DTYPES = [np.float32, np.float64]
DIFFERENTIABLE = [case for case in CASES if case.differentiable]

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_differentiable_case = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def is_floating(array: Array) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))


def make_inputs(backend: Backend, arrays: Sequence[Array], dtype: type, requires_grad: bool = False) -> list[Tensor]:
    """Tensors of `dtype` (whole numbers stay what they are)."""
    tensors = []
    for array in arrays:
        values = np.asarray(array, dtype if is_floating(array) else None)
        tensors.append(Tensor(values, backend, requires_grad=requires_grad and is_floating(array)))
    return tensors


def as_tuple(result: object) -> tuple:
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def call(case: OpCase, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return as_tuple(case.op(*inputs, **case.kwargs))


def call_reference(case: OpCase, arrays: Sequence[Array]) -> tuple[Array, ...]:
    with np.errstate(all="ignore"):
        return tuple(np.asarray(out) for out in as_tuple(case.reference(*arrays, **case.kwargs)))


def output_weights(outs: Sequence[Array]) -> list[Array]:
    """Fixed weights in (-1.5, 1.5), none near 0, that turn the outputs into one scalar: sum of weights * outputs."""
    random = np.random.default_rng(1)
    signs = [random.choice([-1.0, 1.0], out.shape) for out in outs]
    return [(sign * random.uniform(0.5, 1.5, sign.shape)).astype(np.float32).astype(np.float64) for sign in signs]


def gradients(
    case: OpCase, backend: Backend, arrays: Sequence[Array], dtype: type, weights: Sequence[Array] | None = None
) -> list[Array]:
    """The gradient of the sum of weights * outputs with respect to every floating input."""
    inputs = make_inputs(backend, arrays, dtype, requires_grad=True)
    outs = [out for out in call(case, inputs) if out.requires_grad]
    weights = output_weights([out.array for out in outs]) if weights is None else weights
    wanted = [x for x in inputs if x.requires_grad]
    grads = autograd.grad(outs, wanted, make_inputs(backend, weights, dtype), allow_unused=True)
    return [np.zeros(x.array.shape) if grad is None else grad.array for x, grad in zip(wanted, grads, strict=True)]


def directions(arrays: Sequence[Array], seed: int = 2) -> list[Array]:
    """A random direction for each floating input, zeros for the others."""
    random = np.random.default_rng(seed)
    return [random.standard_normal(a.shape) if is_floating(a) else np.zeros(a.shape) for a in arrays]


def move(arrays: Sequence[Array], direction: Sequence[Array], step: float) -> list[Array]:
    return [a + step * d if is_floating(a) else a for a, d in zip(arrays, direction, strict=True)]


def directional_difference(function, arrays: Sequence[Array], direction: Sequence[Array]) -> float:
    """d function(arrays + t direction) / dt at 0 by central differences of fourth order, off by about 1e-11."""
    near, far = 5e-4, 1e-3
    slope_near = (function(move(arrays, direction, near)) - function(move(arrays, direction, -near))) / (2 * near)
    slope_far = (function(move(arrays, direction, far)) - function(move(arrays, direction, -far))) / (2 * far)
    return (4 * slope_near - slope_far) / 3


def dot(left: Sequence[Array], right: Sequence[Array]) -> float:
    return float(sum(np.sum(a * b) for a, b in zip(left, right, strict=True)))


def assert_slopes_agree(slope: float, expected: float, terms: float, what: str) -> None:
    """1e-8 of the terms that were summed: finite differences in float64 are off by 1e-9 at worst here."""
    tolerance = 1e-8 * max(terms, abs(expected), 1e-3)
    used = abs(slope - expected) / tolerance
    assert used <= 1, f"{what}: slope {slope!r}, by finite differences {expected!r}: {used:.3g} times the tolerance"


@each_dtype
@each_case
def test_forward_equals_reference(case: OpCase, dtype: type, backend: Backend) -> None:
    for shapes in case.trials():
        arrays = case.sample(shapes)
        scale = None if case.magnitude is None else case.magnitude(*arrays, **case.kwargs)
        outs = call(case, make_inputs(backend, arrays, dtype))
        rtol = case.rtol if backend.kernels is _cpu else max(case.rtol, case.cuda_rtol)
        for out, expected in zip(outs, call_reference(case, arrays), strict=True):
            assert not is_floating(out.array) or out.array.dtype == dtype, f"{case}: gave {out.array.dtype}"
            assert_close(out.array, expected, rtol, f"{case} of {shapes}", scale)


@each_differentiable_case
def test_gradient_equals_finite_differences_of_the_reference(case: OpCase, backend: Backend) -> None:
    for shapes in case.small_trials():
        arrays = case.sample(shapes)
        direction = directions(arrays)
        floating = [d for d, a in zip(direction, arrays, strict=True) if is_floating(a)]
        grads = gradients(case, backend, arrays, np.float64)
        with_grad = [out.requires_grad for out in call(case, make_inputs(backend, arrays, np.float64, True))]

        def weighted_sum(moved: list[Array], with_grad: list[bool] = with_grad) -> float:
            outs = [out for out, counts in zip(call_reference(case, moved), with_grad, strict=True) if counts]
            return dot(output_weights(outs), outs)

        expected = directional_difference(weighted_sum, arrays, direction)
        terms = dot([np.abs(g) for g in grads], [np.abs(d) for d in floating])
        assert_slopes_agree(dot(grads, floating), expected, terms, f"{case} of {shapes}")


@each_differentiable_case
def test_float32_gradient_equals_float64_gradient(case: OpCase, backend: Backend) -> None:
    for shapes in case.trials():
        arrays = case.sample(shapes)
        exact = gradients(case, backend, arrays, np.float64)
        for index, (grad, expected) in enumerate(zip(gradients(case, backend, arrays, np.float32), exact, strict=True)):
            # A gradient far below the average is the difference of larger terms: it is held to their size.
            scale = np.abs(expected) + (np.abs(expected).mean() if expected.size else 0)
            assert_close(grad, expected, case.grad_rtol, f"gradient {index} of {case} of {shapes}", scale)


@pytest.mark.parametrize("case", [case for case in DIFFERENTIABLE if case.twice_differentiable], ids=str)
def test_second_derivative_equals_finite_differences_of_the_first(case: OpCase, backend: Backend) -> None:
    for shapes in case.small_trials():
        what = f"{case} of {shapes}"
        arrays = case.sample(shapes)
        inputs = make_inputs(backend, arrays, np.float64, requires_grad=True)
        outs = [out for out in call(case, inputs) if out.requires_grad]
        weights = output_weights([out.array for out in outs])
        weight_tensors = make_inputs(backend, weights, np.float64, requires_grad=True)
        wanted = [x for x in inputs if x.requires_grad]
        grads = autograd.grad(outs, wanted, weight_tensors, create_graph=True, allow_unused=True)
        used = [i for i, grad in enumerate(grads) if grad is not None]
        grads = [grads[i] for i in used]
        fused_gradients = gradients(case, backend, arrays, np.float64)
        for grad, fused in zip(grads, [fused_gradients[i] for i in used], strict=True):
            assert_close(grad.array, fused, 64, f"gradient with a graph of {what}", np.abs(fused).max(initial=0))

        # The gradient's component along one direction, differentiated while inputs and weights move along another.
        component = directions([grad.array for grad in grads], seed=3)
        velocity, count = directions([*arrays, *weights]), len(arrays)
        expected = directional_difference(
            lambda moved, component=component, count=count, used=used: dot(
                [gradients(case, backend, moved[:count], np.float64, moved[count:])[i] for i in used], component
            ),
            [*arrays, *weights],
            velocity,
        )
        seconds = autograd.grad(
            grads, [*wanted, *weight_tensors], make_inputs(backend, component, np.float64), allow_unused=True
        )
        moving = [v for v, a in zip(velocity, [*arrays, *weights], strict=True) if is_floating(a)]
        seconds = [np.zeros(v.shape) if h is None else h.array for v, h in zip(moving, seconds, strict=True)]
        terms = dot([np.abs(h) for h in seconds], [np.abs(v) for v in moving])
        assert_slopes_agree(dot(seconds, moving), expected, terms, f"second derivative of {what}")


def extreme_values(dtype: type) -> Array:
    """Zeros, the limits of the dtype, infinities, nan, and where exponentials overflow or underflow."""
    limits = np.finfo(dtype)
    positive = [0.0, limits.smallest_subnormal, limits.tiny, 1e-20, limits.eps, 1.0, 9.0, 17.0, 20.0, 38.0, 87.0, 88.0]
    positive += [89.0, 103.0, 104.0, 708.0, 710.0, 745.0, 746.0, 1e4, 1e20, limits.max, np.inf]
    return np.array([*positive, *(-value for value in positive), np.nan], dtype=dtype).astype(np.float64)


@each_dtype
@pytest.mark.parametrize("case", [case for case in CASES if case.elementwise and case.extremes], ids=str)
def test_extreme_values_give_what_the_reference_gives(case: OpCase, dtype: type, backend: Backend) -> None:
    values = extreme_values(dtype)
    inputs = len(case.trials()[0])
    grid = [np.ascontiguousarray(axis) for axis in np.meshgrid(*[values] * inputs)]
    with np.errstate(all="ignore"):
        outs = call(case, make_inputs(backend, grid, dtype))
    rtol = max(case.rtol, 1)
    for out, expected in zip(outs, call_reference(case, grid), strict=True):
        scale = scale_with_lost(expected, case.lost, dtype, rtol)
        assert_close(out.array, expected, rtol, f"{case} of extreme values", scale)


def strided(array: Array) -> Array:
    """The same values with other strides: every second column of a transposed copy."""
    wide = np.repeat(array[..., None], 2, axis=-1)
    return np.asfortranarray(wide)[..., 0]


@each_case
def test_result_does_not_depend_on_the_layout(case: OpCase, backend: Backend) -> None:
    for shapes in case.trials():
        arrays = [a.astype(np.float32) if is_floating(a) else a for a in case.sample(shapes)]
        contiguous = call(case, [Tensor(a, backend) for a in arrays])
        outs = call(case, [Tensor(strided(a), backend) for a in arrays])
        for out, expected in zip(outs, contiguous, strict=True):
            what = f"{case} of strided {shapes}"
            if case.layout_rtol:
                scale = None if case.magnitude is None else case.magnitude(*arrays, **case.kwargs)
                assert_close(out.array, expected.array, case.layout_rtol, what, scale)
            else:
                assert_bitwise_equal(out.array, expected.array, what)


@each_case
def test_result_does_not_depend_on_the_threads(case: OpCase, backend: Backend) -> None:
    shapes = max(case.trials(), key=lambda shapes: sum(int(np.prod(shape)) for shape in shapes))
    arrays = case.sample(shapes)

    def forward_and_gradients(threads: int) -> list[Array]:
        _cpu.set_thread_count(threads)
        outs = [out.array for out in call(case, make_inputs(backend, arrays, np.float32))]
        return [*outs, *(gradients(case, backend, arrays, np.float32) if case.differentiable else [])]

    alone = forward_and_gradients(1)
    for threads in (2, 3, 7):
        for result, expected in zip(forward_and_gradients(threads), alone, strict=True):
            assert_bitwise_equal(result, expected, f"{case} of {shapes} on {threads} threads")


def test_names_of_cases_are_unique() -> None:
    names = [str(case) for case in CASES]
    assert sorted(set(names)) == sorted(names)


def test_loose_tolerances_have_a_reason() -> None:
    unexplained = [str(case) for case in CASES if (case.rtol > 0.5 or case.grad_rtol > 4) and not case.reason]
    assert not unexplained


def test_every_op_has_a_case() -> None:
    files = [importlib.import_module(module.name) for module in pkgutil.iter_modules(ops.__path__, "minidl.ops.")]
    public = {
        name for file in files for name in getattr(file, "__all__", ()) if inspect.isfunction(getattr(file, name))
    }
    covered = {case.op_name for case in CASES}
    assert not sorted(covered - public), "rows whose first word is no op"
    assert not sorted(public - covered - set(OPS_TESTED_ELSEWHERE)), "ops without a row"
    assert not sorted(set(OPS_TESTED_ELSEWHERE) & covered), "listed as tested elsewhere, yet they have a row"


class Recorder:
    """Stands in for the extension module and notes which kernels are asked for."""

    def __init__(self, kernels: object) -> None:
        self.kernels = kernels
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> object:
        self.used.add(name)
        return getattr(self.kernels, name)


def test_every_kernel_is_reached_by_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, recorder = backends.cpu, Recorder(backends.cpu.kernels)
    monkeypatch.setattr(backend, "kernels", recorder)
    for case in CASES:
        arrays = case.sample((case.small_trials() or case.trials())[0])
        if case.differentiable:
            gradients(case, backend, arrays, np.float32)
        else:
            call(case, make_inputs(backend, arrays, np.float32))
    kernels = set(_cpu.kernel_names)
    assert not sorted(kernels - recorder.used - set(KERNELS_TESTED_ELSEWHERE)), "kernels that no row reaches"
    assert not sorted(set(KERNELS_TESTED_ELSEWHERE) - kernels), "listed as tested elsewhere, yet not in the list"


@pytest.mark.parametrize("place", sorted({*OPS_TESTED_ELSEWHERE.values(), *KERNELS_TESTED_ELSEWHERE.values()}))
def test_tests_named_as_cover_exist(place: str) -> None:
    file, test = place.split("::")
    assert f"def {test}(" in (Path(__file__).parent / file).read_text()
