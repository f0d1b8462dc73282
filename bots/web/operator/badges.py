"""Badges: who is an operator. A key is shown once, or a link of the terminal followed, for a signed cookie.

Knows keys, codes and the cookie; knows no route. Whoever has the key may do everything under `/operator`, for every
Workspace. Another key makes every badge and every link void. Nothing here is logged.
"""

from __future__ import annotations

import hmac
import secrets

from itsdangerous import BadSignature, TimestampSigner
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

from bots.web.keys import kept_key
from core.settings import Settings

PATH = "/operator"
COOKIE = "pajama_operator"
BADGE_AGE_S = 12 * 60 * 60
CODE_AGE_S = 60 * 60
"""How long a link of the terminal may be followed, once."""

_KEY_FILE = "operator_key"


def operator_key(settings: Settings) -> str:
    """The key: the one set, or one made once and kept, readable by its owner only. Raises SettingsError."""
    given = settings.operator_key.get_secret_value()
    return given or kept_key(settings.data_dir / _KEY_FILE, "PAJAMA_OPERATOR_KEY")


def sign_in_link(settings: Settings, page_url: str) -> str:
    """A link that signs in whoever follows it first. The code stands behind `#`, which no server sees or logs."""
    return f"{page_url.rstrip('/')}{PATH}#{Badges(settings).make_code()}"


class Badges:
    """Signs and checks codes and cookies."""

    def __init__(self, settings: Settings) -> None:
        self._key, self._https = operator_key(settings), settings.web_secure_cookie
        self._badges = TimestampSigner(self._key, salt="operator-badge")
        self._codes = TimestampSigner(self._key, salt="operator-code")

    def is_key(self, given: str) -> bool:
        """Whether that is the key, in a time that tells nothing of how much of it is right."""
        return hmac.compare_digest(given.encode(), self._key.encode())

    def make_code(self) -> str:
        """A code for one sign-in within CODE_AGE_S."""
        return self._codes.sign(secrets.token_urlsafe(12)).decode()

    def code_name(self, code: str) -> str | None:
        """The name of a code that is ours and not too old, for it to be used once; None for any other."""
        return _read(self._codes, code, CODE_AGE_S)

    def pin_on(self, response: Response) -> None:
        """Give the browser a badge."""
        badge = self._badges.sign(secrets.token_urlsafe(12)).decode()
        response.set_cookie(
            COOKIE, badge, max_age=BADGE_AGE_S, path=PATH, secure=self._https, httponly=True, samesite="strict"
        )

    def take_off(self, response: Response) -> None:
        """Take the browser's badge away."""
        response.delete_cookie(COOKIE, path=PATH, secure=self._https, httponly=True, samesite="strict")

    def worn(self, scope: Scope) -> bool:
        """Whether whoever asks wears a badge."""
        badge = HTTPConnection(scope).cookies.get(COOKIE, "")
        return _read(self._badges, badge, BADGE_AGE_S) is not None


def _read(signer: TimestampSigner, signed: str, age_s: int) -> str | None:
    try:
        return signer.unsign(signed, max_age=age_s).decode()
    except (BadSignature, UnicodeError):
        return None
