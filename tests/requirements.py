"""What this machine may lack: a test skips and says why, or fails where MINIDL_REQUIRE names the thing."""

import os
from typing import NoReturn

import pytest


def missing(name: str, reason: str) -> NoReturn:
    """Skips the running test, or fails it where the variable MINIDL_REQUIRE (`avx512,mnist`) contains `name`."""
    if name in os.environ.get("MINIDL_REQUIRE", "").split(","):
        pytest.fail(f"MINIDL_REQUIRE asks for {name}: {reason}", pytrace=False)
    pytest.skip(reason)
