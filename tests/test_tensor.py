"""Tensors as Python objects: making them, number types, indexing, in-place writes, printing, other libraries."""

import copy
import pickle

import numpy as np
import pytest

import minidl
from minidl import Tensor

# ---- making tensors


def test_tensor_copies_and_infers_the_dtype() -> None:
    array = np.ones(3, np.float64)
    x = minidl.tensor(array)
    array[0] = 7
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert x.dtype == minidl.float64
    assert minidl.tensor([1.5, 2]).dtype == minidl.float32
    assert minidl.tensor([1, 2]).dtype == minidl.int64
    assert minidl.tensor([True]).dtype == minidl.bool
    assert minidl.tensor(2.0).shape == ()
    assert minidl.is_tensor(x)
    assert not minidl.is_tensor(array)


@pytest.mark.parametrize("data", [[[1.0, 2.0], [3.0]], ["a"], [None], [1j]], ids=str)
def test_data_that_is_no_rectangle_of_numbers_raises(data: list) -> None:
    with pytest.raises((TypeError, ValueError)):
        minidl.tensor(data)


@pytest.mark.parametrize("dtype", ["float16", "complex64", "int8", "text"])
def test_unknown_dtype_raises_and_names_those_that_exist(dtype: str) -> None:
    with pytest.raises(TypeError):
        minidl.zeros(2, dtype=dtype)
    with pytest.raises(TypeError, match="float32"):
        minidl.tensor(np.zeros(2, np.float16))


def test_unknown_device_raises_and_names_those_that_exist() -> None:
    with pytest.raises(ValueError, match="cpu"):
        minidl.zeros(2, device="tpu")
    with pytest.raises(ImportError, match="cpu"):
        minidl.zeros(2, device="cuda")


def test_shapes_and_dtypes_of_new_tensors() -> None:
    assert minidl.zeros(2, 3).tolist() == [[0.0] * 3] * 2
    assert minidl.ones((2,), dtype=minidl.int64).tolist() == [1, 1]
    assert minidl.full((2,), 7).dtype == minidl.int64
    assert minidl.full((2,), 0.5).dtype == minidl.float32
    assert minidl.empty(4, 0).shape == (4, 0)
    assert minidl.zeros(()).item() == 0.0
    with pytest.raises(ValueError, match="shape"):
        minidl.empty(-1)


def test_like_functions_take_shape_and_dtype() -> None:
    x = minidl.zeros(2, 3, dtype=minidl.float64)
    for made in (minidl.zeros_like(x), minidl.ones_like(x), minidl.empty_like(x), minidl.full_like(x, 2.0)):
        assert (made.shape, made.dtype) == (x.shape, x.dtype)
    assert minidl.ones_like(x, dtype=minidl.int64).dtype == minidl.int64
    assert minidl.full_like(x, 2.5).tolist() == [[2.5] * 3] * 2


def test_arange_and_linspace() -> None:
    assert minidl.arange(3).tolist() == [0, 1, 2]
    assert minidl.arange(1, 2, 0.25).tolist() == [1.0, 1.25, 1.5, 1.75]
    assert minidl.arange(3, 0, -2).dtype == minidl.int64
    assert minidl.linspace(0, 1, 5).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    with pytest.raises(ValueError, match="step"):
        minidl.arange(0, 1, 0)


def test_eye_and_one_hot() -> None:
    np.testing.assert_array_equal(minidl.eye(2, 3).numpy(), np.eye(2, 3))
    assert minidl.ops.one_hot(minidl.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(ValueError, match=r"0\.\.1"):
        minidl.ops.one_hot(minidl.tensor([2]), 2)
    with pytest.raises(TypeError, match="integers"):
        minidl.ops.one_hot(minidl.tensor([0.5]))


# ---- memory shared with other libraries


def test_memory_is_shared_where_it_can_be() -> None:
    array = np.zeros(3, np.float32)
    x, y = minidl.from_numpy(array), minidl.as_tensor(array)
    array[1] = 5
    assert x.tolist() == y.tolist() == [0.0, 5.0, 0.0]
    assert np.shares_memory(x.numpy(), array)
    assert np.shares_memory(np.asarray(x), array)
    assert minidl.as_tensor(array, dtype=minidl.float64).dtype == minidl.float64
    with pytest.raises(TypeError, match=r"numpy\.ndarray"):
        minidl.from_numpy([1.0])


def test_strided_numpy_arrays_are_shared_as_they_are() -> None:
    array = np.arange(12.0).reshape(3, 4)[:, ::-2]
    x = minidl.from_numpy(array)
    assert np.shares_memory(x.numpy(), array)
    np.testing.assert_array_equal((x * 2).numpy(), array * 2)


def test_dlpack_shares_memory_both_ways() -> None:
    x = minidl.tensor([1.0, 2.0, 3.0])
    array = np.from_dlpack(x)
    back = minidl.from_dlpack(array)
    x[0] = 9.0
    assert array[0] == 9.0
    assert back.tolist() == [9.0, 2.0, 3.0]
    with pytest.raises(TypeError, match="__dlpack__"):
        minidl.from_dlpack([1.0])


def test_numpy_of_a_tensor_that_requires_a_gradient_says_detach() -> None:
    x = minidl.ones(2, requires_grad=True)
    for leave in (x.numpy, x.__array__):
        with pytest.raises(RuntimeError, match=r"detach\(\)"):
            leave()
    with pytest.raises(BufferError, match=r"detach\(\)"):
        np.from_dlpack(x)


def test_numpy_functions_take_tensors() -> None:
    x = minidl.tensor([3.0, 1.0])
    np.testing.assert_array_equal(np.sort(x), [1.0, 3.0])
    assert np.asarray(x, np.float64).dtype == np.float64


# ---- number types


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("float32", "float64", "float64"),
        ("int64", "float32", "float32"),
        ("bool", "int64", "int64"),
        ("uint8", "int32", "int32"),
        ("bool", "float64", "float64"),
    ],
)
def test_number_types_are_promoted_as_in_pytorch(left: str, right: str, expected: str) -> None:
    a, b = minidl.ones(2, dtype=left), minidl.ones(2, dtype=right)
    assert (a + b).dtype.name == (b * a).dtype.name == expected


def test_python_numbers_do_not_widen_a_tensor() -> None:
    x = minidl.ones(2)
    for result in (x + 1, 1.5 * x, x / 3, 2 - x, x**2, 2.0**x):
        assert result.dtype == minidl.float32
    assert (minidl.ones(2, dtype=minidl.int64) + 1).dtype == minidl.int64
    assert (minidl.ones(2, dtype=minidl.int64) + 0.5).dtype == minidl.float32
    assert (minidl.ones(2, dtype=minidl.int64) / 2).dtype == minidl.float32


def test_casts_convert_and_say_what_is_unknown() -> None:
    x = minidl.tensor([1.7, -1.7])
    assert x.long().tolist() == [1, -1]
    assert x.double().dtype == x.to(minidl.float64).dtype == minidl.float64
    assert x.to(minidl.float32) is x
    assert x.to("cpu") is x
    assert x.float() is x


# ---- indexing


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        slice(1, None),
        (slice(None), 2),
        (..., -1),
        (None, 0, slice(None, None, 2)),
        [0, 2, 0],
        ([0, 1], [2, 3]),
        (slice(None), [3, 0]),
        np.array([True, False, True]),
    ],
    ids=str,
)
def test_indexing_reads_and_writes_as_numpy_does(index: object) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    x = minidl.tensor(array)
    np.testing.assert_array_equal(x[index].numpy(), array[index])
    x[index] = -1.0
    array[index] = -1.0
    np.testing.assert_array_equal(x.numpy(), array)


def test_basic_indexing_gives_views_and_masks_give_copies() -> None:
    x = minidl.zeros(2, 3)
    x[1].fill_(5.0)
    x[x > 0].fill_(9.0)
    assert x.tolist() == [[0.0] * 3, [5.0] * 3]


def test_indexing_with_tensors() -> None:
    x = minidl.arange(6).reshape(2, 3)
    rows, columns = minidl.tensor([0, 1]), minidl.tensor([2, 0])
    assert x[rows, columns].tolist() == [2, 3]
    assert x[minidl.tensor(1)].tolist() == [3, 4, 5]
    assert x[x % 2 == 0].tolist() == [0, 2, 4]


def test_index_out_of_range_raises() -> None:
    with pytest.raises(IndexError):
        minidl.zeros(2, 3)[2]
    with pytest.raises(IndexError):
        minidl.zeros(2, 3)[0, 0, 0]


def test_setting_items_is_recorded() -> None:
    x, value = minidl.ones(3, requires_grad=True), minidl.tensor(5.0, requires_grad=True)
    y = x * 2
    y[1] = value
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 2.0]
    assert value.grad.item() == 1.0


def test_scatter_writes_where_the_index_says() -> None:
    x = minidl.zeros(2, 3)
    x.scatter_(1, minidl.tensor([[2], [0]]), 1.0)
    assert x.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    x.scatter_(0, minidl.tensor([[1, 0, 1]]), minidl.tensor([[7.0, 8.0, 9.0]]))
    assert x.tolist() == [[0.0, 8.0, 1.0], [7.0, 0.0, 9.0]]


# ---- in place


def test_in_place_operators_keep_the_object_and_its_memory() -> None:
    x = minidl.tensor([1.0, 2.0])
    alias, memory = x, x.array
    x += 1
    x *= minidl.tensor([2.0, 3.0])
    x -= 0.5
    x /= 2
    assert alias is x
    assert x.array is memory
    assert x.tolist() == [1.75, 4.25]


def test_in_place_results_must_fit() -> None:
    with pytest.raises(ValueError, match="fit"):
        minidl.zeros(3).add_(minidl.zeros(2, 3))


def test_data_writes_through_to_the_tensor() -> None:
    x = minidl.ones(2, requires_grad=True)
    x.data.fill_(4.0)
    x.data[0] = 3.0
    assert x.tolist() == [3.0, 4.0]


# ---- shapes


def test_shapes_answer_as_pytorchs_do() -> None:
    x = minidl.zeros(2, 3, 4)
    assert x.shape == x.size() == (2, 3, 4)
    assert x.size(-1) == 4
    assert (x.dim(), x.ndim, x.numel(), x.shape.numel(), len(x)) == (3, 3, 24, 24, 2)
    assert x.T.shape == (4, 3, 2)
    assert x.stride() == (12, 4, 1)
    assert not x.transpose(0, 1).is_contiguous()
    assert repr(x.shape) == "minidl.Size([2, 3, 4])"


def test_impossible_shapes_raise_and_show_both_sides() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(4, -1\)"):
        minidl.zeros(2, 3).reshape(4, -1)
    with pytest.raises(ValueError, match=r"reshape\(\)"):
        minidl.zeros(2, 3).T.view(6)
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2,\)"):
        minidl.zeros(2, 3) + minidl.zeros(2)
    with pytest.raises(IndexError, match="dim"):
        minidl.zeros(2, 3).transpose(0, 2)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        minidl.zeros(2, 3).expand(2, 4)


def test_views_share_memory() -> None:
    x = minidl.zeros(2, 3)
    for view in (x.view(6), x.T, x[0], x.reshape(3, 2), x.unsqueeze(0), x.expand(4, 2, 3), x.detach(), x.data):
        assert np.shares_memory(view.numpy(), x.numpy())
    assert not np.shares_memory(x.clone().numpy(), x.numpy())


# ---- Python's own protocols


def test_scalars_behave_as_numbers() -> None:
    x = minidl.tensor(2.5)
    assert f"{x:.2f}" == "2.50"
    assert (float(x), int(x), bool(x), x.item()) == (2.5, 2, True, 2.5)
    assert [10, 20, 30][minidl.tensor(1)] == 20
    with pytest.raises(ValueError, match="ambiguous"):
        bool(minidl.ones(2))
    with pytest.raises(ValueError, match="one element"):
        minidl.ones(2).item()
    with pytest.raises(TypeError, match="len"):
        len(x)


def test_iteration_containment_and_identity() -> None:
    x = minidl.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert [row.tolist() for row in x] == [[1.0, 2.0], [3.0, 4.0]]
    assert 3.0 in x
    assert 5.0 not in x
    assert len({x, x, x.clone()}) == 2


def test_copies_and_pickles_are_leaves_with_their_own_memory() -> None:
    x = minidl.tensor([1.0, 2.0], requires_grad=True)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert isinstance(twin, Tensor)
        assert (twin.tolist(), twin.requires_grad, twin.dtype) == (x.tolist(), True, x.dtype)
        assert not np.shares_memory(twin.array, x.array)
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(x * 2)


def test_equal_and_allclose() -> None:
    x = minidl.tensor([1.0, float("nan")])
    assert not minidl.equal(x, x)
    assert minidl.allclose(x, x, equal_nan=True)
    assert not minidl.allclose(x, x)
    assert minidl.equal(minidl.ones(2), minidl.ones(2))
    assert not minidl.equal(minidl.ones(2), minidl.ones(1))
    assert minidl.allclose(minidl.ones(2), minidl.ones(2) + 1e-6)


def test_printing() -> None:
    assert repr(minidl.tensor([1.0, -0.5])) == "tensor([ 1.0000, -0.5000])"
    assert repr(minidl.tensor([1, 2])) == "tensor([1, 2])"
    assert "dtype=minidl.float64" in repr(minidl.ones(1, dtype=minidl.float64))
    assert "requires_grad=True" in repr(minidl.ones(1, requires_grad=True))
    assert "grad_fn=<MulBackward>" in repr(minidl.ones(1, requires_grad=True) * minidl.ones(1))
    assert "..." in repr(minidl.zeros(10_000))


def test_operands_on_no_array_raise_and_name_the_operation() -> None:
    with pytest.raises(TypeError):
        minidl.ones(2) + "text"
    with pytest.raises(TypeError):
        minidl.ones(2) @ None


def test_results_are_appended_to_a_log() -> None:
    log = minidl.zeros(1 + 2 * 2, dtype=minidl.float64)
    view = log.detach()
    assert minidl.ops.append_result_(log, minidl.tensor([1.5]), minidl.tensor(7)) is log
    assert view.tolist() == [1, 1.5, 7, 0, 0]
    minidl.ops.append_result_(log, minidl.tensor(0.1, dtype=minidl.float64))
    minidl.ops.append_result_(log, minidl.tensor(2.5), minidl.tensor(3))
    assert view.tolist() == [3, 2.5, 3, 0.1, -1]
    with pytest.raises(ValueError, match=r"loss must have 1 element, got shape \(2,\)"):
        minidl.ops.append_result_(log, minidl.ones(2))
    with pytest.raises(ValueError, match=r"log must have 1 \+ 2 \* rows elements"):
        minidl.ops.append_result_(minidl.zeros(4, dtype=minidl.float64), minidl.tensor(0.5))


def test_count_up_adds_one_in_place() -> None:
    counter = minidl.tensor(41)
    view = counter.detach()
    assert minidl.ops.count_up_(counter) is counter
    assert view.item() == 42
    with pytest.raises(TypeError, match="out must be int64, got float32"):
        minidl.ops.count_up_(minidl.tensor(1.0))
    with pytest.raises(ValueError, match="out must have 1 element"):
        minidl.ops.count_up_(minidl.tensor([1, 2]))
