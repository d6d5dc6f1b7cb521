"""What every command shares: options with their checks, and errors as one line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape


def _names(known: Any) -> str:
    return "|".join(known)


def one_of(known: Any) -> Callable[[str | None], str | None]:
    """A check that an option is one of some names."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in known:
            raise typer.BadParameter(f"must be one of {', '.join(known)}, got {value!r}")
        return value

    return check


def existing_folder(value: Path | None) -> Path | None:
    """A check that an option names a folder."""
    if value is not None and not value.is_dir():
        raise typer.BadParameter(f"must be an existing folder, got {str(value)!r}")
    return value


def existing_file(value: Path | None) -> Path | None:
    """A check that an option names a file."""
    if value is not None and not value.is_file():
        raise typer.BadParameter(f"must be an existing file, got {str(value)!r}")
    return value


def option(text: str, known: Any = None, **more: Any) -> Any:
    """An option with its help, and where it takes one of some names, those and the check."""
    if known is not None:
        more |= {"metavar": _names(known), "callback": one_of(known)}
    return typer.Option(help=text, show_default=False, **more)


def require_accuracy(name: str, value: float | None) -> None:
    """ValueError unless an accuracy that was given can be reached."""
    if value is not None and not 0 < value <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1, got {value}")


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Errors of use become one line on stderr and exit code 1; Ctrl-C becomes exit code 130."""
    try:
        yield
    except (ValueError, OSError, ArithmeticError, ImportError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.strerror:
            text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        print_error("[bold red]error:[/] ", text)
        raise typer.Exit(1) from None
    except KeyboardInterrupt as error:
        print_error("", str(error) or "interrupted")
        raise typer.Exit(130) from None


def print_error(prefix: str, text: str) -> None:
    Console(stderr=True).print(prefix + escape(text), highlight=False, soft_wrap=True)
