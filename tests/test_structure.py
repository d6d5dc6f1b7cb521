"""The structure of the package: who imports whom, who touches the kernels, doctests, README snippets, stubs."""

import ast
import doctest
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import minidl
from minidl import _cpu

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python/minidl"
# From the lowest to the highest: a module imports from its own layer and from those before it.
LAYERS = [
    {"_cpu", "changes", "dtypes", "kinds", "wording"},
    {"backends", "host_arrays", "kernels"},
    {"anomaly", "autograd", "tensor", "tensor_methods", "function", "gradients", "generator", "cuda"},
    {"ops", "selftest"},
    {"nn", "optim", "data", "drawing", "io", "utils", "vision"},
    {"capture"},
    {"training", "bench", "plots"},
    {"lab", "sklearn"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
MODULES = sorted(module.name for module in pkgutil.walk_packages(minidl.__path__, "minidl."))


def require_scikit_learn(text: str) -> None:
    """Skips where what needs scikit-learn is to run without it."""
    if "minidl.sklearn" in text:
        pytest.importorskip("sklearn")


def package_part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def without_type_checking(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield from ast.walk(node)


def imported_parts(path: Path) -> Iterator[str]:
    """The parts of the package that a file imports, at its top or within a function."""
    for node in without_type_checking(ast.parse(path.read_text()).body):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute in this package"
            names = [f"{node.module}.{alias.name}" if node.module == "minidl" else node.module for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("minidl."))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_direction_of_the_layers(path: Path) -> None:
    part = package_part(path)
    assert part in LEVEL, f"{part} needs a place in LAYERS"
    upward = sorted({name for name in imported_parts(path) if LEVEL.get(name, -1) > LEVEL[part]})
    assert not upward, f"{part} may not import {upward}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_ops_and_optim_touch_the_kernels(path: Path) -> None:
    if package_part(path) in {"ops", "optim", "backends", "capture", "kernels", "generator"}:
        return
    attributes = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert "kernels" not in attributes


def test_package_has_no_bare_asserts_and_no_broad_excepts() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            place = f"{path.name}:{getattr(node, 'lineno', 0)}"
            assert not isinstance(node, ast.Assert), f"{place}: assert disappears under -O"
            broad = isinstance(node, ast.ExceptHandler) and (
                node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            )
            assert not broad, f"{place}: say which errors are meant"


@pytest.mark.parametrize("name", ["minidl", *MODULES])
def test_doctests(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_scikit_learn(name)
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def readme_snippets() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("snippet", readme_snippets(), ids=lambda text: text.splitlines()[0])
def test_snippets_of_the_readme_run(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_scikit_learn(snippet)
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {"__name__": "__main__"})


def test_files_named_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"`((?:csrc|python|tests|bench|\.ci)/[\w./]*)`", text)
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_package_is_typed() -> None:
    assert (Path(minidl.__file__).parent / "py.typed").exists()


def test_stubs_of_the_extension_are_current() -> None:
    """Names and parameters; .ci/run compares the whole file with what pybind11-stubgen writes."""
    tree = ast.parse((PACKAGE / "_cpu.pyi").read_text())
    stubs = {node.name: [a.arg for a in node.args.args] for node in tree.body if isinstance(node, ast.FunctionDef)}
    functions = {name: f.__doc__ for name, f in vars(_cpu).items() if callable(f) and not isinstance(f, type)}
    bound = {name: re.findall(r"[(,] ?(\w+): ", doc.splitlines()[0]) for name, doc in functions.items()}
    assert stubs == bound
