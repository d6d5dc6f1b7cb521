"""nn.utils: gradient norms and values clipped as PyTorch does, parameters as one vector."""

import math

import numpy as np
import pytest

import minidl
from minidl import Tensor, _cpu
from minidl.backends import Backend
from minidl.nn import utils

SHAPES = [(37, 5), (1,), (0,), (70001,)]


def make_params(dtypes: tuple[type, ...] = (np.float32,)) -> list[Tensor]:
    random = np.random.default_rng(0)
    params = []
    for i, shape in enumerate(SHAPES):
        dtype = dtypes[i % len(dtypes)]
        params.append(Tensor(np.zeros(shape, dtype), requires_grad=True))
        params[-1].grad = Tensor(random.standard_normal(shape).astype(dtype))
    return [*params, Tensor(np.zeros(3, np.float32), requires_grad=True)]  # one without a gradient


def all_gradients(params: list[Tensor]) -> np.ndarray:
    return np.concatenate([p.grad.array.astype(np.float64).ravel() for p in params if p.grad is not None])


@pytest.mark.parametrize("dtypes", [(np.float32,), (np.float64,), (np.float32, np.float64)])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, math.inf])
def test_clipping_scales_to_the_norm(norm_type: float, dtypes: tuple[type, ...], backend: Backend) -> None:
    params = make_params(dtypes)
    before = all_gradients(params)
    norm = np.linalg.norm(before, norm_type)
    # Sums are in float64, so that only the result and each product are rounded to the gradients' type.
    tolerance = 2 * float(np.finfo(dtypes[0]).eps) if len(dtypes) == 1 else 2.0**-22
    returned = utils.clip_grad_norm_(params, 2 * norm, norm_type)
    assert returned.dtype.name == np.dtype(dtypes[0]).name
    np.testing.assert_allclose(returned.item(), norm, rtol=max(tolerance, 1e-13))
    np.testing.assert_array_equal(all_gradients(params), before)
    utils.clip_grad_norm_(params, norm / 4, norm_type)
    np.testing.assert_allclose(all_gradients(params), before * (norm / 4 / (norm + 1e-6)), rtol=max(tolerance, 1e-13))


def test_the_norm_does_not_depend_on_the_threads(backend: Backend) -> None:
    results = []
    for threads in (1, 2, 3):
        _cpu.set_thread_count(threads)
        out = np.empty(1)
        _cpu.squared_norm([p.grad.array for p in make_params() if p.grad is not None], out)
        results.append(out[0])
    assert results[0] == results[1] == results[2]


def test_large_gradients_do_not_overflow() -> None:
    param = minidl.zeros(2, requires_grad=True)
    param.grad = minidl.tensor([3e38, 0.0])
    assert utils.clip_grad_norm_(param, 1.0).item() == pytest.approx(3e38, rel=1e-6)
    assert param.grad.tolist() == pytest.approx([1.0, 0.0], rel=1e-6)


def test_a_norm_that_is_not_finite_is_passed_on_or_refused() -> None:
    param = minidl.zeros(2, requires_grad=True)
    param.grad = minidl.tensor([math.nan, 1.0])
    with pytest.raises(RuntimeError, match=r"clip_grad_norm_: the norm of order 2.0 of the gradients is nan"):
        utils.clip_grad_norm_([param], 1.0, error_if_nonfinite=True)
    assert param.grad.tolist()[1] == 1.0
    assert math.isnan(utils.clip_grad_norm_([param], 1.0).item())
    assert np.isnan(param.grad.array).all()
    param.grad = minidl.tensor([math.inf, 1.0])
    utils.clip_grad_norm_([param], 1.0)
    assert math.isnan(param.grad.array[0])
    assert param.grad.array[1] == 0.0


def test_clipping_nothing_gives_zero() -> None:
    assert utils.clip_grad_norm_([minidl.ones(1, requires_grad=True)], 1.0).item() == 0.0
    with pytest.raises(ValueError, match="norm_type must be positive, got 0"):
        utils.clip_grad_norm_([], 1.0, 0)


def test_gradients_of_any_layout_are_clipped_in_place() -> None:
    memory = np.full((4, 3), 2.0, np.float32)
    param = Tensor(np.zeros((3, 4), np.float32), requires_grad=True)
    param.grad = Tensor(memory.T)
    utils.clip_grad_norm_(param, math.sqrt(12.0))
    np.testing.assert_allclose(memory, 1.0, rtol=1e-6)
    utils.clip_grad_value_(param, 0.5)
    np.testing.assert_array_equal(memory, 0.5)


def test_values_are_clamped_on_both_sides() -> None:
    param = minidl.zeros(4, requires_grad=True)
    param.grad = minidl.tensor([-3.0, -0.5, 0.5, math.inf])
    utils.clip_grad_value_([param, minidl.zeros(1)], 1.0)
    assert param.grad.tolist() == [-1.0, -0.5, 0.5, 1.0]


def test_parameters_become_a_vector_and_back() -> None:
    params = [minidl.rand(2, 3, requires_grad=True), minidl.rand(4, requires_grad=True)]
    vector = utils.parameters_to_vector(params)
    assert vector.shape == (10,)
    (vector * minidl.arange(10).float()).sum().backward()
    assert params[1].grad is not None
    assert params[1].grad.tolist() == [6.0, 7.0, 8.0, 9.0]
    utils.vector_to_parameters(minidl.arange(10).float(), params)
    assert params[0].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert params[1].requires_grad
    with pytest.raises(ValueError, match=r"vec must have shape \(10,\), got \(9,\)"):
        utils.vector_to_parameters(minidl.zeros(9), params)
