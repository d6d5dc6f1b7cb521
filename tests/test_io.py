"""Saving and loading: what comes back, what is refused, what survives a failure."""

import io
import os
import pickle

import numpy as np
import pytest
import safetensors.numpy

import minidl
from minidl.io import load_safetensors, save_safetensors, write_atomically


def tree() -> dict:
    return {
        "model": {"0.weight": minidl.rand(3, 4), "0.bias": minidl.zeros(3)},
        "optimizer": {"state": {0: {"step": minidl.tensor(3.0)}, 1: {}}, "lr": 1e-3, "betas": (0.9, 0.999)},
        "epoch": 7,
        "best": None,
        "tags": ["a", True, [1, 2]],
        "losses": np.array([0.1, 0.2]),
    }


def test_nested_objects_come_back_equal(tmp_path):
    before = tree()
    minidl.io.save(before, tmp_path / "x.safetensors")
    after = minidl.io.load(tmp_path / "x.safetensors")
    assert minidl.equal(after["model"]["0.weight"], before["model"]["0.weight"])
    assert list(after["model"]) == ["0.weight", "0.bias"]
    assert after["optimizer"]["state"].keys() == {0, 1}
    assert after["optimizer"]["state"][0]["step"].shape == ()
    assert after["optimizer"]["betas"] == (0.9, 0.999)
    assert (after["epoch"], after["best"], after["tags"]) == (7, None, ["a", True, [1, 2]])
    assert after["losses"].dtype == minidl.float64


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5, 7)])
def test_every_dtype_and_shape_comes_back_bit_by_bit(tmp_path, dtype, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    save_safetensors({"x": minidl.tensor(array)}, tmp_path / "x")
    after = load_safetensors(tmp_path / "x")["x"].numpy()
    assert after.dtype == array.dtype
    assert after.shape == array.shape
    assert after.tobytes() == array.tobytes()


def test_views_are_saved_as_they_look(tmp_path):
    x = minidl.arange(12, dtype=minidl.float32).reshape(3, 4)
    save_safetensors({"x": x.t(), "y": x[:, ::2]}, tmp_path / "x")
    after = load_safetensors(tmp_path / "x")
    assert minidl.equal(after["x"], x.t())
    assert minidl.equal(after["y"], x[:, ::2])


def test_state_dicts_are_plain_safetensors_files(tmp_path):
    state = {"0.weight": minidl.rand(2, 3), "0.bias": minidl.rand(2)}
    minidl.io.save(state, tmp_path / "ours")
    theirs = safetensors.numpy.load_file(tmp_path / "ours")
    np.testing.assert_array_equal(theirs["0.weight"], state["0.weight"].numpy())
    safetensors.numpy.save_file(theirs, tmp_path / "theirs")
    after = minidl.io.load(tmp_path / "theirs")
    assert all(minidl.equal(after[key], state[key]) for key in state)


def test_file_objects_and_map_location_work():
    buffer = io.BytesIO()
    minidl.io.save(tree(), buffer)
    buffer.seek(0)
    after = minidl.io.load(buffer, map_location="cpu", weights_only=True)
    assert after["epoch"] == 7


def test_loaded_tensors_can_be_written_to(tmp_path):
    minidl.io.save({"x": minidl.zeros(3)}, tmp_path / "x")
    x = minidl.io.load(tmp_path / "x")["x"]
    x.fill_(2)
    assert x.tolist() == [2, 2, 2]


def test_objects_that_would_need_pickle_are_refused(tmp_path):
    class Model:
        def state_dict(self) -> dict:
            return {}

    with pytest.raises(TypeError, match=r"got Model; save its state_dict\(\)"):
        minidl.io.save(Model(), tmp_path / "x")
    with pytest.raises(TypeError, match=r"save: a\.0 must be"):
        minidl.io.save({"a": [object()]}, tmp_path / "x")
    with pytest.raises(TypeError, match="'x' must be a tensor or an array, got list"):
        save_safetensors({"x": [1]}, tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 100, (8).to_bytes(8, "little") + b"{}      trailing"])
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged must be a safetensors file"):
        minidl.io.load(path)


def test_truncated_files_are_refused(tmp_path):
    path = tmp_path / "cut"
    minidl.io.save(tree(), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="must be a safetensors file"):
        minidl.io.load(path)


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(ValueError, match="got a pickle, which is never opened"):
        minidl.io.load(path)


def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device while writing; the file that was there is unchanged"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
