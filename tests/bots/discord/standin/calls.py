"""One REST request: what was asked, what was recorded of it, and the ways to refuse it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from tests.bots.discord.standin.channel import Channel
    from tests.bots.discord.standin.guild import Guild
    from tests.bots.discord.standin.message import Message
    from tests.bots.discord.standin.server import StandInDiscord


LIMITED = "You are being rate limited."


class ApiError(Exception):
    """Discord refuses: an HTTP status, Discord's own code and its sentence."""

    def __init__(self, status: int, code: int, message: str, errors: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.errors = status, code, message, errors
        self.headers: dict[str, str] = {}

    def document(self) -> dict[str, Any]:
        """The JSON of the answer."""
        document: dict[str, Any] = {"message": self.message, "code": self.code}
        return document | {"errors": self.errors} if self.errors else document


class TooMany(ApiError):
    """A rate limit refuses."""

    retry_after_s = 0.0
    everywhere = False

    def document(self) -> dict[str, Any]:
        return super().document() | {"retry_after": self.retry_after_s, "global": self.everywhere}


def too_many(retry_after_s: float, *, everywhere: bool = False, code: int = 0, message: str = LIMITED) -> TooMany:
    """A 429 that says when to come back."""
    refusal = TooMany(429, code, message)
    refusal.retry_after_s, refusal.everywhere = round(retry_after_s + 0.001, 3), everywhere
    refusal.headers = {"Retry-After": str(int(retry_after_s) + 1)}
    refusal.headers["X-RateLimit-Scope"] = "global" if everywhere else "user"
    return refusal


def missing_access() -> ApiError:
    """The bot does not see this."""
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    """The bot may not do this."""
    return ApiError(403, 50013, "Missing Permissions")


def unknown(what: str, code: int) -> ApiError:
    """There is no such thing (any more)."""
    return ApiError(404, code, f"Unknown {what}")


@dataclass(eq=False)
class Request:
    """A recorded request."""

    method: str
    route: str
    """Method and template, one of `routes.py`."""
    path: str
    at: float
    headers: dict[str, str]
    query: dict[str, str] = field(default_factory=dict)
    json: Any = None
    files: dict[str, bytes] = field(default_factory=dict)
    status: int | None = None
    """The status answered; None if the connection was reset or hangs."""
    answered_at: float | None = None

    def __repr__(self) -> str:
        return f"<{self.method} {self.path} → {self.status}>"


@dataclass
class Call:
    """A request on its way to its handler."""

    discord: StandInDiscord
    http: web.Request
    request: Request

    def __post_init__(self) -> None:
        self.headers: dict[str, str] = {}
        """Headers of the answer."""
        self.status: int | None = None
        """The status of a good answer, if it is not the usual one."""

    @property
    def json(self) -> dict[str, Any]:
        """The body; an absent one is empty."""
        return self.request.json or {}

    @property
    def files(self) -> dict[str, bytes]:
        """The uploaded files by name."""
        return self.request.files

    @property
    def query(self) -> dict[str, str]:
        """The query parameters."""
        return self.request.query

    def parameter(self, name: str) -> str:
        """A part of the path."""
        return self.http.match_info[name]

    def number(self, name: str) -> int:
        """A snowflake of the path."""
        text = self.parameter(name)
        if not text.isdecimal():
            raise ApiError(400, 50035, f'Invalid Form Body: Value "{text}" is not snowflake.')
        return int(text)

    def channel(self) -> Channel:
        """The channel of the path, if the bot sees it."""
        channel = self.discord.channels.get(self.number("channel_id"))
        if channel is None:
            raise unknown("Channel", 10003)
        if not self.discord.bot_may(channel, "view_channel"):
            raise missing_access()
        return channel

    def message(self) -> Message:
        """The message of the path; an ephemeral one is only there for its interaction."""
        message = self.channel().find(self.number("message_id"))
        if message is None or message.ephemeral:
            raise unknown("Message", 10008)
        return message

    def guild(self) -> Guild:
        """The guild of the path."""
        guild = self.discord.guilds.get(self.number("guild_id"))
        if guild is None:
            raise unknown("Guild", 10004)
        return guild

    def require(self, channel: Channel, *names: str) -> None:
        """The bot must have these permissions."""
        if not self.discord.bot_may(channel, *names):
            raise missing_permissions()


Handler = Callable[[Call], Any]
HANDLERS: dict[str, Handler] = {}
"""What answers which route. A handler returns JSON or None, in one step of the loop, so that it happens at once."""


def serves(route: str) -> Callable[[Handler], Handler]:
    """Register a handler for a route."""

    def register(handler: Handler) -> Handler:
        HANDLERS[route] = handler
        return handler

    return register
