"""The labelled image sets: where their files lie, how they are found, checked and downloaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minidl.data.download import DownloadError, download, progress_bar
from minidl.data.idx import CorruptFileError, read_idx

DIGIT_NAMES = tuple("0123456789")


@dataclass(frozen=True)
class DataFile:
    """One IDX file: its name, and size and SHA-256 of its uncompressed content."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """Where an image set comes from; the files are train images, train labels, test images, test labels."""

    title: str
    mirrors: tuple[str, ...]
    files: tuple[DataFile, DataFile, DataFile, DataFile]
    classes: tuple[str, ...]
    mean: float
    std: float


@dataclass(frozen=True)
class ImageSet:
    """Images as uint8 (count, rows, columns), labels as int64; `origin` says where they were found.

    `mean` and `std` are those of the training pixels, scaled so that `pixel_max` is 1.
    """

    name: str
    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    pixel_max: int
    mean: float
    std: float
    origin: str


def _files(train_images: str, train_labels: str, test_images: str, test_labels: str) -> tuple[Any, Any, Any, Any]:
    return (
        DataFile("train-images-idx3-ubyte", 47_040_016, train_images),
        DataFile("train-labels-idx1-ubyte", 60_008, train_labels),
        DataFile("t10k-images-idx3-ubyte", 7_840_016, test_images),
        DataFile("t10k-labels-idx1-ubyte", 10_008, test_labels),
    )


SOURCES = {
    "mnist": Source(
        "MNIST",
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        _files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        DIGIT_NAMES,
        0.1307,
        0.3081,
    ),
    "fashion-mnist": Source(
        "Fashion-MNIST",
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        _files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        0.2860,
        0.3530,
    ),
}
DATASET_NAMES = (*SOURCES, "digits")


class DatasetNotFoundError(FileNotFoundError):
    """A data set is neither on this machine nor to be downloaded; the message says how to give a copy."""


def load_images(
    name: str, data_dir: str | os.PathLike[str] | None = None, fetch: bool = True, show_progress: bool = True
) -> ImageSet:
    """One of the image sets by name: "mnist", "fashion-mnist", or "digits", which the package carries.

    The files are looked for in `data_dir`, the folder that MINIDL_DATA_DIR names and the user's cache folder, then
    downloaded to the cache folder (unless `fetch` is False).

    Raises:
        ValueError: an unknown name, or a `data_dir` that does not exist.
        CorruptFileError: a file was found, but its content is not the data set's.
        DatasetNotFoundError: there is no copy and none could be downloaded.
    """
    if name not in DATASET_NAMES:
        raise ValueError(f"load_images: name must be one of {', '.join(DATASET_NAMES)}, got {name!r}")
    if data_dir is not None and not Path(data_dir).is_dir():
        raise ValueError(f"load_images: data_dir must be an existing folder, got {str(data_dir)!r}")
    if name == "digits":
        return load_digits()
    paths = find_files(name, data_dir)
    if paths is None:
        paths = _download_files(name, data_dir, fetch, show_progress)
    return _read_image_set(name, paths)


def find_files(name: str, data_dir: str | os.PathLike[str] | None = None) -> list[Path] | None:
    """The paths of the four files in the first folder that has them all, or None."""
    for folder in _search_folders(name, data_dir):
        paths = [_existing(folder, file.name) for file in SOURCES[name].files]
        if all(paths):
            return [path for path in paths if path]
    return None


def cache_folder(name: str) -> Path:
    """Where downloads of a data set are kept for this user."""
    import platformdirs

    return platformdirs.user_cache_path("minidl", appauthor=False) / name


def _search_folders(name: str, data_dir: str | os.PathLike[str] | None) -> list[Path]:
    roots = [Path(root) for root in (data_dir, os.environ.get("MINIDL_DATA_DIR")) if root]
    # <root>/mnist is ours, <root>/MNIST/raw is torchvision's, and <root> may itself be the folder of the files.
    torchvision_name = SOURCES[name].title.replace("-", "")
    folders = [folder for root in roots for folder in (root / name, root / torchvision_name / "raw")]
    folders += [Path(data_dir)] if data_dir else []
    return [*folders, cache_folder(name)]


def _existing(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}.gz", folder / name)
    return next((path for path in candidates if path.is_file()), None)


def _download_files(name: str, data_dir: str | os.PathLike[str] | None, fetch: bool, show_progress: bool) -> list[Path]:
    source, folder = SOURCES[name], cache_folder(name)
    places = ", ".join(str(place) for place in _search_folders(name, data_dir))
    missing = f"{source.title} is not in {places}"
    remedy = (
        f"To give a copy, put {', '.join(f'{file.name}.gz' for file in source.files)} into <dir>/{name} and pass "
        "--data-dir <dir> or set MINIDL_DATA_DIR=<dir>"
    )
    if not fetch:
        raise DatasetNotFoundError(f"{missing}, and a download was not asked for (download=True). {remedy}")
    paths = []
    for file in source.files:
        target = folder / f"{file.name}.gz"
        paths.append(_existing(folder, file.name) or target)
        if paths[-1].is_file():
            continue
        urls = [f"{mirror}{file.name}.gz" for mirror in source.mirrors]
        try:
            with progress_bar(f"{source.title} {file.name}", show_progress) as progress:
                download(urls, target, file.size_bytes, file.sha256, progress)
        except OSError as error:
            reason = str(error) if isinstance(error, DownloadError) else f"{folder} cannot be written: {error}"
            raise DatasetNotFoundError(f"{missing}, and {reason}. {remedy}") from error
    return paths


def _read_image_set(name: str, paths: list[Path]) -> ImageSet:
    from concurrent.futures import ThreadPoolExecutor

    source = SOURCES[name]
    with ThreadPoolExecutor(len(paths)) as pool:  # unpacking and hashing need no lock of the interpreter
        jobs = [
            pool.submit(read_idx, path, f.size_bytes, f.sha256) for path, f in zip(paths, source.files, strict=True)
        ]
    arrays = [job.result() for job in jobs]
    train_images, train_labels, test_images, test_labels = arrays
    for images, labels, path in ((train_images, train_labels, paths[0]), (test_images, test_labels, paths[2])):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise CorruptFileError(f"load_images: {path} must hold one image per label, got {images.shape}")
    return ImageSet(
        name,
        train_images,
        train_labels.astype(np.int64),
        test_images,
        test_labels.astype(np.int64),
        source.classes,
        255,
        source.mean,
        source.std,
        str(paths[0].parent),
    )


def load_digits() -> ImageSet:
    """The 1,797 handwritten digits of 8 x 8 that the package carries (attribution in digits.txt beside the data).

    Every fifth digit is a test digit: 1,438 to learn from, 359 to test on.
    """
    path = Path(__file__).with_name("digits.npz")
    with np.load(path, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"].astype(np.int64)
    is_test = np.arange(len(labels)) % 5 == 4
    train_images = np.ascontiguousarray(images[~is_test])
    scaled = train_images / 16
    return ImageSet(
        "digits",
        train_images,
        labels[~is_test],
        np.ascontiguousarray(images[is_test]),
        labels[is_test],
        DIGIT_NAMES,
        16,
        round(float(scaled.mean()), 4),
        round(float(scaled.std()), 4),
        "embedded in minidl",
    )
