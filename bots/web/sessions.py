"""Who is asking: a signed cookie holds a random id, which is the Conversation and the Participant on the web page.

Knows the cookie and its key. There is no account; whoever has the cookie has the conversation.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import Request

from bots.web.keys import kept_key
from core.settings import Settings
from core.values import Person, Place

COOKIE = "pajama_session"
COOKIE_AGE_S = 90 * 24 * 60 * 60
SITE = "local"
"""The site key: one page, one Workspace."""

_KEY_FILE = "web_secret"


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
    return given or kept_key(settings.data_dir / _KEY_FILE, "PAJAMA_WEB_SECRET")
