"""Data: IDX files good and bad, downloads, data sets, samplers, loaders, transforms."""

import contextlib
import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minidl
from minidl import data
from minidl.data import images as image_sets
from minidl.data.download import download
from minidl.utils.data import DataLoader, TensorDataset
from minidl.vision import datasets, transforms
from requirements import mnist_folder


def idx_bytes(array: np.ndarray) -> bytes:
    code = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def compress_in_two(content: bytes) -> bytes:
    """Two members, as tools that append to a gzip file leave them."""
    return gzip.compress(content[:10]) + gzip.compress(content[10:])


IMAGES = np.arange(3 * 5 * 7, dtype=np.uint8).reshape(3, 5, 7)

# ---- IDX files


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, compress_in_two])
def test_idx_files_are_read_plain_and_gzipped(tmp_path, dtype, compress):
    array = np.arange(-6, 6).astype(dtype).reshape(3, 4)
    path = tmp_path / "numbers"
    path.write_bytes(compress(idx_bytes(array)))
    out = data.read_idx(path)
    assert out.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(out, array)


GOOD = idx_bytes(IMAGES)
BAD_CONTENTS = {
    "web page": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
    "empty": (b"", "IDX header"),
    "other magic": (b"\x89PNG\r\n\x1a\n" + bytes(100), "IDX header"),
    "header cut": (GOOD[:9], "extents"),
    "content cut": (GOOD[:-1], "ends after 104"),
    "content too long": (GOOD + b"\0", "goes on"),
    "gzip cut": (gzip.compress(GOOD)[:-9], "cut short"),
    "second gzip cut": (compress_in_two(GOOD)[:-9], "cut short"),
    "gzip damaged": (gzip.compress(GOOD)[:-8] + bytes(8), "damaged"),
    "gzipped web page": (gzip.compress(b"<html></html>"), "IDX header"),
    "huge claim": (b"\0\0\x08\x03" + b"\xff" * 12 + bytes(10), "at most"),
}


@pytest.mark.parametrize("name", BAD_CONTENTS)
def test_corrupt_files_are_named_and_moved_aside(tmp_path, name):
    content, reason = BAD_CONTENTS[name]
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(data.CorruptFileError, match=reason) as caught:
        data.read_idx(path)
    assert str(path) in str(caught.value)
    assert not path.exists()
    assert (tmp_path / "train-images-idx3-ubyte.gz.bad").read_bytes() == content


def test_wrong_size_and_wrong_hash_are_refused(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(GOOD)
    with pytest.raises(data.CorruptFileError, match="must be 7 bytes uncompressed, but its header"):
        data.read_idx(path, size_bytes=7)
    path.write_bytes(GOOD)
    with pytest.raises(data.CorruptFileError, match="SHA-256"):
        data.read_idx(path, len(GOOD), "0" * 64)
    path.write_bytes(GOOD)
    assert data.read_idx(path, len(GOOD), hashlib.sha256(GOOD).hexdigest()).shape == (3, 5, 7)


# ---- downloads, from a server in this process


class Mirror(BaseHTTPRequestHandler):
    """/good serves the file, /page a web page, /cut half of the file, /long more than there should be, else 404."""

    def do_GET(self) -> None:
        name = self.path.split("/")[1]
        body = gzip.compress(GOOD)
        promised = len(body)
        if name == "page":
            body = b"<html>captive portal</html>"
            promised = len(body)
        elif name == "cut":
            body = body[: len(body) // 2]
        elif name == "long":
            body, promised = bytes(3 << 20), 3 << 20
        elif name != "good":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client may have had enough
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def mirror() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


DIGEST = hashlib.sha256(GOOD).hexdigest()


def test_download_takes_the_first_sound_mirror(tmp_path, mirror):
    target, reports = tmp_path / "cache" / "x.gz", []
    urls = [f"{mirror}/{name}/x.gz" for name in ("missing", "page", "cut", "long", "good")]
    download(urls, target, len(GOOD), DIGEST, lambda received, expected: reports.append((received, expected)))
    np.testing.assert_array_equal(data.read_idx(target), IMAGES)
    assert reports[-1][0] == reports[-1][1] == target.stat().st_size
    assert list(target.parent.iterdir()) == [target]


def test_download_names_the_reason_of_every_mirror(tmp_path, mirror):
    urls = [f"{mirror}/{name}/x.gz" for name in ("missing", "page", "cut", "long")] + ["http://127.0.0.1:1/x.gz"]
    with pytest.raises(data.DownloadError) as caught:
        download(urls, tmp_path / "x.gz", len(GOOD), DIGEST)
    for reason in ("HTTP 404", "web page", "connection ended", "goes on", "refused"):
        assert reason in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_download_of_other_content_is_refused(tmp_path, mirror):
    with pytest.raises(data.DownloadError, match="SHA-256"):
        download([f"{mirror}/good/x.gz"], tmp_path / "x.gz", len(GOOD), "0" * 64)


@pytest.fixture
def no_copies(tmp_path, monkeypatch) -> Path:
    """A machine without MNIST: an empty cache folder and mirrors that refuse."""
    monkeypatch.delenv("MINIDL_DATA_DIR", raising=False)
    monkeypatch.setattr(image_sets, "cache_folder", lambda name: tmp_path / "cache" / name)
    return tmp_path


def tiny_source(mirrors: tuple[str, ...]) -> image_sets.Source:
    """A data set of three images whose four files are all the file of the test server."""
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    files = tuple(image_sets.DataFile(name, len(GOOD), DIGEST) for name in names)
    return image_sets.Source("MNIST", mirrors, files, image_sets.DIGIT_NAMES, 0.5, 0.5)


def test_missing_data_set_says_where_it_was_looked_for_and_how_to_give_it(no_copies, monkeypatch):
    monkeypatch.setitem(image_sets.SOURCES, "mnist", tiny_source(("http://127.0.0.1:1/",)))
    with pytest.raises(data.DatasetNotFoundError, match="--data-dir") as caught:
        data.load_images("mnist", no_copies, show_progress=False)
    assert str(no_copies / "mnist") in str(caught.value)
    assert "refused" in str(caught.value)
    with pytest.raises(data.DatasetNotFoundError, match="a download was not asked for"):
        data.load_images("mnist", fetch=False)


def test_missing_files_are_downloaded_to_the_cache_folder(no_copies, mirror, monkeypatch):
    monkeypatch.setitem(image_sets.SOURCES, "mnist", tiny_source((f"{mirror}/good/",)))
    # The files are four times the same images, so that the labels do not fit: everything up to there was right.
    with pytest.raises(data.CorruptFileError, match="one image per label"):
        data.load_images("mnist", show_progress=False)
    assert len(list((no_copies / "cache" / "mnist").iterdir())) == 4


def test_unknown_names_and_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one of mnist, fashion-mnist, digits, got 'cifar'"):
        data.load_images("cifar")
    with pytest.raises(ValueError, match="existing folder"):
        data.load_images("mnist", tmp_path / "nowhere")


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_are_found_in_the_usual_folders(no_copies, folder, suffix):
    place = no_copies / "copies" / folder
    place.mkdir(parents=True)
    for file in image_sets.SOURCES["mnist"].files:
        (place / f"{file.name}{suffix}").touch()
    found = image_sets.find_files("mnist", no_copies / "copies")
    assert found is not None
    assert {path.parent for path in found} == {place}


def test_digits_are_the_uci_digits():
    digits = data.load_images("digits")
    assert digits.train_images.shape == (1438, 8, 8)
    assert digits.test_images.shape == (359, 8, 8)
    assert digits.train_images.max() == digits.pixel_max == 16
    counts = np.bincount(np.concatenate([digits.train_labels, digits.test_labels]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert "CC BY 4.0" in (Path(data.__file__).parent / "digits.txt").read_text()


def test_mnist_is_read_and_checked():
    folder = mnist_folder()
    mnist = data.load_images("mnist", folder)
    assert mnist.train_images.shape == (60000, 28, 28)
    assert mnist.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    pixels = mnist.train_images[::7] / 255
    assert abs(pixels.mean() - mnist.mean) < 0.001
    assert abs(pixels.std() - mnist.std) < 0.001


# ---- datasets and samplers


def rows(count: int, columns: int = 3) -> minidl.Tensor:
    return minidl.arange(count * columns, dtype=minidl.float32).reshape(count, columns)


def test_subset_concat_and_split_reach_the_right_samples():
    dataset = TensorDataset(rows(10), minidl.arange(10))
    joined = data.ConcatDataset([data.Subset(dataset, [4, 2]), dataset])
    assert len(joined) == 12
    assert [int(joined[i][1]) for i in (0, 1, 2, 11, -1)] == [4, 2, 0, 9, 9]
    with pytest.raises(IndexError, match=r"\[-12, 12\), got 12"):
        joined[12]
    first, second = data.random_split(dataset, [7, 3])
    assert sorted([*first.indices, *second.indices]) == list(range(10))
    assert [len(part) for part in data.random_split(dataset, [0.5, 0.25, 0.25])] == [6, 2, 2]
    with pytest.raises(ValueError, match="add up to the dataset's 10 samples"):
        data.random_split(dataset, [7, 4])
    assert len(dataset + dataset) == 20


def test_tensor_dataset_refuses_different_lengths():
    with pytest.raises(ValueError, match=r"same number of rows, got \[4, 5\]"):
        TensorDataset(rows(4), rows(5))


def test_samplers_visit_what_they_promise():
    source = range(10)
    assert list(data.SequentialSampler(source)) == list(range(10))
    assert sorted(data.RandomSampler(source)) == list(range(10))
    assert sorted(data.RandomSampler(source, num_samples=20)) == sorted([*range(10), *range(10)])
    assert set(data.RandomSampler(source, replacement=True, num_samples=50)) <= set(range(10))
    assert sorted(data.SubsetRandomSampler([5, 7, 9])) == [5, 7, 9]
    assert list(data.BatchSampler(range(5), 2, drop_last=False)) == [[0, 1], [2, 3], [4]]
    assert len(data.BatchSampler(range(5), 2, drop_last=True)) == len(list(data.BatchSampler(range(5), 2, True))) == 2
    weighted = data.WeightedRandomSampler([0, 1, 3], 4000)
    counts = np.bincount(list(weighted), minlength=3)
    assert counts[0] == 0
    assert abs(counts[2] / 4000 - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 4000)
    assert sorted(data.WeightedRandomSampler([1, 0, 2, 5], 3, replacement=False)) == [0, 2, 3]
    with pytest.raises(ValueError, match="3 weights above 0; got 4"):
        data.WeightedRandomSampler([1, 0, 2, 5], 4, replacement=False)


def test_random_order_follows_the_seed_and_changes_every_pass():
    sampler = data.RandomSampler(range(100))
    minidl.manual_seed(3)
    first, second = list(sampler), list(sampler)
    minidl.manual_seed(3)
    assert list(sampler) == first
    assert first != second


# ---- loaders


def test_gathered_and_collated_batches_are_equal():
    dataset = TensorDataset(rows(11), minidl.arange(11))
    for shuffle in (False, True):
        minidl.manual_seed(1)
        gathered = list(DataLoader(dataset, 4, shuffle=shuffle))
        minidl.manual_seed(1)
        collated = list(DataLoader(dataset, 4, shuffle=shuffle, collate_fn=data.default_collate))
        assert len(gathered) == len(collated) == 3
        for ours, theirs in zip(gathered, collated, strict=True):
            assert all(minidl.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert len(gathered[-1][0]) == 3
    assert len(DataLoader(dataset, 4, drop_last=True)) == len(list(DataLoader(dataset, 4, drop_last=True))) == 2


def test_batches_follow_the_sampler_of_a_batch_sampler():
    dataset = TensorDataset(minidl.arange(11))
    batches = data.BatchSampler(data.RandomSampler(dataset), 4, False)
    minidl.manual_seed(1)
    order = [index for batch in batches for index in batch]
    minidl.manual_seed(1)
    loaded = [x.tolist() for (x,) in DataLoader(dataset, batch_sampler=batches)]
    assert loaded == [order[:4], order[4:8], order[8:]]
    assert order != sorted(order)


def test_a_subset_of_a_tensor_dataset_is_gathered_too():
    subset = data.Subset(TensorDataset(rows(11), minidl.arange(11)), [8, 3, 5])
    (batch,) = DataLoader(subset, 3)
    assert batch[1].tolist() == [8, 3, 5]
    assert batch[0][0].tolist() == [24.0, 25.0, 26.0]


def test_loader_accepts_samplers_batch_samplers_and_single_samples():
    dataset = TensorDataset(minidl.arange(6))
    assert [b[0].tolist() for b in DataLoader(dataset, 2, sampler=[5, 1, 3])] == [[5, 1], [3]]
    assert [b[0].tolist() for b in DataLoader(dataset, batch_sampler=[[0, 5], [2]])] == [[0, 5], [2]]
    assert [int(sample[0]) for sample in DataLoader(dataset, batch_size=None)] == list(range(6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"sampler": [0], "shuffle": True}, "exclude each other"),
        ({"batch_sampler": [[0]], "shuffle": True}, "batch_sampler excludes"),
        ({"batch_size": None, "drop_last": True}, "drop_last needs a batch_size"),
        ({"num_workers": -1}, "num_workers must be at least 0"),
    ],
)
def test_loader_refuses_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(TensorDataset(minidl.arange(6)), **arguments)


def test_workers_are_accepted_with_a_warning():
    with pytest.warns(UserWarning, match="num_workers=2 has no effect"):
        DataLoader(TensorDataset(minidl.arange(6)), num_workers=2)


def test_collate_keeps_the_structure_of_the_samples():
    batch = data.default_collate([{"x": np.ones(2, np.float32), "y": (1, 2.5), "name": "a"}] * 3)
    assert batch["x"].shape == (3, 2)
    assert batch["y"][0].dtype == minidl.int64
    assert batch["y"][1].dtype == minidl.float32
    assert batch["name"] == ["a", "a", "a"]
    with pytest.raises(TypeError, match="got object"):
        data.default_collate([object()])


def test_pixel_dataset_scales_bytes():
    dataset = data.PixelDataset(minidl.tensor(IMAGES.reshape(3, -1)), minidl.tensor([4, 5, 6]), 1 / 255, -0.5)
    (batch,) = DataLoader(dataset, 3)
    # One rounding of scale, of the product and of the sum.
    np.testing.assert_allclose(batch[0].numpy(), IMAGES.reshape(3, -1) / 255 - 0.5, atol=2e-7)
    assert dataset[-1][1].item() == 6


# ---- vision


@pytest.fixture
def tiny_mnist(monkeypatch) -> None:
    labels = np.array([3, 1, 2])
    tiny = data.ImageSet("mnist", IMAGES, labels, IMAGES, labels, image_sets.DIGIT_NAMES, 255, 0.5, 0.5, "memory")
    monkeypatch.setattr(datasets, "load_images", lambda *arguments, **options: tiny)


def test_mnist_gathers_what_its_transforms_make_item_by_item(tiny_mnist):
    steps = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    fast = datasets.MNIST("somewhere", transform=transforms.Compose(steps))
    slow = datasets.MNIST("somewhere", transform=transforms.Compose([*steps, transforms.Lambda(lambda x: x)]))
    assert slow.get_batch(minidl.tensor([0])) is None
    (ours,), (theirs,) = DataLoader(fast, 3), DataLoader(slow, 3)
    assert ours[0].shape == theirs[0].shape == (3, 1, 5, 7)
    # The same affine map with its factors multiplied in another order: a few roundings of values up to 3.
    np.testing.assert_allclose(ours[0].numpy(), theirs[0].numpy(), atol=1e-6)
    assert ours[1].tolist() == theirs[1].tolist() == [3, 1, 2]
    assert minidl.equal(fast[1][0], ours[0][1])


def test_mnist_without_transform_gives_pictures(tiny_mnist):
    picture, label = datasets.FashionMNIST("somewhere", target_transform=lambda label: -label)[1]
    assert isinstance(picture, Image.Image)
    np.testing.assert_array_equal(np.asarray(picture), IMAGES[1])
    assert label == -1


def test_transforms_check_their_input():
    assert transforms.ToTensor()(np.full((2, 3, 3), 255, np.uint8)).shape == (3, 2, 3)
    with pytest.raises(TypeError, match="put ToTensor"):
        transforms.Normalize((0.5,), (0.5,))(IMAGES[0])
    with pytest.raises(ValueError, match="std must not be 0"):
        transforms.Normalize((0.5,), (0.0,))
    text = repr(transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]))
    assert text == "Compose(\n    ToTensor()\n    Normalize(mean=(0.5,), std=(0.5,))\n)"
