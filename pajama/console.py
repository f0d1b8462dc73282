"""What every command shares: the consoles, the settings, the exit codes, and how an error reads."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console

from core.errors import AlreadyRunning, MessageRefused, PajamaError, ServiceUnavailable, SettingsError

if TYPE_CHECKING:
    from core.settings import Settings


def _console(stream: TextIO, *, stderr: bool = False) -> Console:
    """A console on a terminal's width. In a file or a pipe a line is a line, however long."""
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _UNWRAPPED)


_UNWRAPPED = 1000
out = _console(sys.stdout)
err = _console(sys.stderr, stderr=True)


_EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "safetensors", "tokenizers"), "worker"),
    **dict.fromkeys(("discord", "slack_bolt", "fastapi", "uvicorn", "itsdangerous", "prompt_toolkit"), "bots"),
    "sentence_transformers": "faq",
    "matplotlib": "plot",
    **dict.fromkeys(("sklearn", "zstandard"), "train"),
}
"""What brings a library that is not in the base install."""


class Exit(IntEnum):
    """Exit codes, the same for every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    RUNNING = 3
    UNAVAILABLE = 4


_CODES: tuple[tuple[type[PajamaError], Exit], ...] = (
    (SettingsError, Exit.USAGE),
    (MessageRefused, Exit.USAGE),
    (AlreadyRunning, Exit.RUNNING),
    (ServiceUnavailable, Exit.UNAVAILABLE),
)


def exit_code(error: PajamaError) -> Exit:
    """The exit code that says what kind of error it was."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FAILED)


@contextmanager
def explained() -> Iterator[None]:
    """An error on purpose is one message and its exit code; anything else is a mistake and shows where."""
    try:
        yield
    except PajamaError as error:
        if os.environ.get("PAJAMA_LOG_LEVEL") == "DEBUG":
            err.print_exception()
        err.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(exit_code(error))
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        extra = _EXTRAS[error.name]
        err.print(f"{error.name} is not installed: this command needs pajama[{extra}].", style="red", markup=False)
        sys.exit(Exit.USAGE)


def settings_of(process: str, **overrides: Any) -> Settings:
    """The settings, with logging set up by them."""
    from core.logs import configure
    from core.settings import load_settings

    settings = load_settings(**overrides)
    configure(settings, process=process)
    return settings


def print_json(value: object) -> None:
    """One JSON document on standard output, for scripts."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n")
    sys.stdout.flush()
