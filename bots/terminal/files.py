"""A document that is handed over in a terminal: a file in the current folder, for its owner only."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from bots.commands import Exported
from bots.texts import text


def saved(exported: Exported, language: str) -> str:
    """Write the document and say where it is, or why it is not."""
    path = Path.cwd() / exported.name
    try:
        path = write_new(path, exported.document)
    except OSError as error:
        return text("terminal_not_saved", language, path=path, reason=error.strerror or error)
    return text("terminal_saved", language, path=path)


def write_new(path: Path, document: bytes) -> Path:
    """Write a file that is not there yet, under the next free name. Raises OSError."""
    stem = path.stem
    for number in count(2):
        try:
            create(path, document)
        except FileExistsError:
            path = path.with_name(f"{stem}-{number}{path.suffix}")
        else:
            return path
    raise AssertionError("unreachable")


def create(path: Path, document: bytes) -> None:
    """Write a file that only its owner may read. Raises OSError, also where there is one already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(document)
