"""Which language a request is answered in: the page's choice, else the browser's."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from bots.texts import negotiate

COOKIE = "pajama_language"


def language_of(scope: Scope) -> str:
    """The language to answer in."""
    connection = HTTPConnection(scope)
    return negotiate([connection.cookies.get(COOKIE, ""), *_accepted(Headers(scope=scope).get("accept-language", ""))])


def _accepted(header: str) -> list[str]:
    """The tags of an Accept-Language header, the most wanted first."""
    wanted = []
    for part in header.split(",")[:20]:
        tag, _, parameter = part.partition(";")
        wanted.append((_weight(parameter), tag.strip()))
    return [tag for weight, tag in sorted(wanted, key=lambda pair: -pair[0]) if tag and weight > 0]


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 0.0
