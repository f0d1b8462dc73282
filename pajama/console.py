"""What every command shares: the consoles, the settings, the exit codes, and how an error reads."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from rich.console import Console

from core.errors import AlreadyRunning, MessageRefused, PajamaError, ServiceUnavailable, SettingsError
from core.settings import Settings, load_settings

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


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


def settings_of(process: str, **overrides: Any) -> Settings:
    """The settings, with logging set up by them."""
    from core.logs import configure

    settings = load_settings(**overrides)
    configure(settings, process=process)
    return settings


def print_json(value: object) -> None:
    """One JSON document on standard output, for scripts."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n")
    sys.stdout.flush()
