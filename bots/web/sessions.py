"""Who is asking: a signed cookie holds a random id, which is the Conversation and the Participant on the web page.

Knows the cookie and its key. There is no account; whoever has the cookie has the conversation.
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import Request

from core.errors import SettingsError
from core.settings import Settings
from core.values import Person, Place

COOKIE = "pajama_session"
COOKIE_AGE_S = 90 * 24 * 60 * 60
SITE = "local"
"""The site key: one page, one Workspace."""

_KEY_FILE = "web_secret"
_KEY_BYTES = 32


class Visitor:
    """The person behind a request, and the place where they speak."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.place = Place(platform="web", workspace=SITE, conversation=session_id)
        self.person = Person(id=session_id)


def visitor(request: Request) -> Visitor:
    """The visitor by their cookie; a new one where it is missing, too old or was tampered with.

    Touched once a day, so that the cookie of someone who keeps coming does not run out.
    """
    session: dict[str, Any] = request.session
    today = datetime.now(UTC).date().isoformat()
    if not isinstance(session.get("id"), str):
        session["id"] = secrets.token_urlsafe(18)
    if session.get("day") != today:
        session["day"] = today
    return Visitor(session["id"])


CurrentVisitor = Annotated[Visitor, Depends(visitor)]


def signing_key(settings: Settings) -> str:
    """The key that signs the cookie: the one set, or one made once and kept, readable by its owner only."""
    given = settings.web_secret.get_secret_value()
    return given or _kept_key(settings.data_dir / _KEY_FILE)


def _kept_key(path: Path) -> str:
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
        raise SettingsError(f"{path} is empty: delete it, so that a new key is made, or set PAJAMA_WEB_SECRET.")
    return key
