"""What is refused before any route sees it: requests of other sites, and bodies that are too large.

Pure ASGI, so that streams pass through untouched. Knows no session and no route; how a refusal reads is `refusals`.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bots.web.refusals import refusal

MAX_BODY_BYTES = 256 * 1024

_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


class SameOrigin:
    """Refuses what another site makes a browser send.

    A browser tells by `Sec-Fetch-Site`, an older one by `Origin`; whoever sends neither is no browser and carries
    nobody's cookie by accident. The same rule as Go's `http.CrossOriginProtection`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 403."""
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS and _from_elsewhere(Headers(scope=scope)):
            await refusal(scope, 403, "cross_origin")(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _from_elsewhere(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


class BodyLimit:
    """Refuses bodies above `limit_of` a request: at once by their declared length, or where a chunked one passes it."""

    def __init__(self, app: ASGIApp, limit_of: Callable[[Scope], int] = lambda scope: MAX_BODY_BYTES) -> None:
        self._app, self._limit_of = app, limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the body, read whole, or answer 413."""
        if scope["type"] != "http" or scope["method"] in _SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        body = await self._read(scope, receive)
        if body is None:
            await refusal(scope, 413, "too_large")(scope, receive, send)
            return
        await self._app(scope, _replayed(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> list[Message] | None:
        declared, limit = Headers(scope=scope).get("content-length", "0"), self._limit_of(scope)
        if not declared.isdecimal() or int(declared) > limit:
            return None
        messages, size, more = [], 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                return None
            messages.append(message)
            more = message["type"] == "http.request" and message.get("more_body", False)
        return messages


def _replayed(messages: list[Message], receive: Receive) -> Receive:
    """A `receive` that gives `messages` again, then what follows them."""
    waiting = iter(messages)

    async def replay() -> Message:
        for message in waiting:
            return message
        return await receive()

    return replay
