"""Keys that are made once and kept in the data folder, readable by its owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from core.errors import SettingsError

_KEY_BYTES = 32


def kept_key(path: Path, variable: str) -> str:
    """The key in the file, made where there is none; `variable` may be set instead. Raises SettingsError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        key = secrets.token_urlsafe(_KEY_BYTES)
        # Written whole under a name of its own, then linked: a second process that starts now gets the same key.
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(key)
        try:
            os.link(draft, path)
        except FileExistsError:
            key = path.read_text("ascii").strip()
        finally:
            draft.unlink()
    except OSError as error:
        raise SettingsError(f"PAJAMA_DATA_DIR: {path} cannot be made or read: {error}.") from error
    if not key:
        raise SettingsError(f"{path} is empty: delete it, so that a new key is made, or set {variable}.")
    return key
