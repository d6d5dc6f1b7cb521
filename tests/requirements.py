"""What this machine may lack: a test skips and says why, or fails where MINIDL_REQUIRE names the thing."""

import os
from pathlib import Path
from typing import NoReturn

import pytest


def is_required(name: str) -> bool:
    """Whether MINIDL_REQUIRE (`avx512,mnist`) contains the name."""
    return name in os.environ.get("MINIDL_REQUIRE", "").split(",")


def missing(name: str, reason: str) -> NoReturn:
    """Skips the running test, or fails it where the variable MINIDL_REQUIRE (`avx512,mnist`) contains `name`."""
    if is_required(name):
        pytest.fail(f"MINIDL_REQUIRE asks for {name}: {reason}", pytrace=False)
    pytest.skip(reason)


def mnist_folder() -> Path:
    """The folder of MINIDL_DATA_DIR with MNIST in it."""
    root = os.environ.get("MINIDL_DATA_DIR")
    if root is None or not (Path(root) / "mnist").is_dir():
        missing("mnist", "MINIDL_DATA_DIR names no folder with mnist/train-images-idx3-ubyte.gz ...")
    return Path(root)
