"""What the compiled CUDA module holds: its kernels for each architecture, their registers and their instructions."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# ..._GLOBAL__N__<hash>_<length>_<file>_cu_<hash><length of the name><name><template arguments and parameters>
_SYMBOL = re.compile(r"_GLOBAL__N__[0-9a-f]+_\d+_(?P<stem>\w+?)_cu_[0-9a-f]{8}(?P<length>\d+)(?P<rest>\w+)")
_ARCHITECTURE = re.compile(r"^arch = (sm_\w+)$", re.MULTILINE)
_USAGE = re.compile(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
_FUNCTION = re.compile(r"\s*Function : (\S+)$")
_INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?\w+ )?([A-Z][\w.]*)")


@dataclass(frozen=True)
class Kernel:
    """One instance of a kernel's template for one architecture."""

    architecture: str
    stem: str  # of its file
    name: str
    arguments: str  # of the template and the function, mangled

    def __str__(self) -> str:
        return f"{self.architecture} {self.stem}.cu {self.name} {self.arguments}"


@dataclass(frozen=True)
class Usage:
    """What a thread takes: registers, and bytes of local memory (spilled registers and arrays with variable index)."""

    registers: int
    local_bytes: int


def _kernel(architecture: str, symbol: str) -> Kernel:
    match = _SYMBOL.search(symbol)
    assert match is not None, f"{symbol} is no kernel in an unnamed namespace of a .cu file"
    length = int(match["length"])
    return Kernel(architecture, match["stem"], match["rest"][:length], match["rest"][length:])


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """(architecture, text) of each embedded binary."""
    parts = _ARCHITECTURE.split(text)
    return zip(parts[1::2], parts[2::2], strict=True)


def _run(cuobjdump: str, *arguments: str | Path) -> str:
    return subprocess.run([cuobjdump, *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def usages(cuobjdump: str, module: Path) -> dict[Kernel, Usage]:
    """Of every kernel for every architecture."""
    return {
        _kernel(architecture, symbol): Usage(int(registers), int(stack) + int(local))
        for architecture, text in _sections(_run(cuobjdump, "--dump-resource-usage", module))
        for symbol, registers, stack, _, local in _USAGE.findall(text)
    }


def instructions(cuobjdump: str, module: Path, architecture: str) -> dict[Kernel, set[str]]:
    """Which instructions, without their operands, every kernel for one architecture has."""
    found: dict[Kernel, set[str]] = {}
    command = [cuobjdump, "-sass", "-arch", architecture, str(module)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        names: set[str] = set()
        for line in process.stdout:  # hundreds of megabytes
            if match := _INSTRUCTION.match(line):
                names.add(match[1])
            elif match := _FUNCTION.match(line):
                names = found.setdefault(_kernel(architecture, match[1]), set())
    assert process.returncode == 0
    return found


def ptx_architectures(cuobjdump: str, module: Path) -> set[str]:
    """For which architectures the module brings code that later GPUs can translate."""
    return set(re.findall(r"\.(sm_\w+)\.ptx$", _run(cuobjdump, "--list-ptx", module), re.MULTILINE))
