"""One call of the Web API: what was asked, what was recorded of it, and the ways to refuse it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.bots.slack.standin.bounds import Finding

if TYPE_CHECKING:
    from tests.bots.slack.standin.channel import Channel
    from tests.bots.slack.standin.message import Message
    from tests.bots.slack.standin.people import User
    from tests.bots.slack.standin.server import StandInSlack
    from tests.bots.slack.standin.team import Team
    from tests.bots.slack.standin.tokens import Grant

Json = dict[str, Any]

UPLOAD, DOWNLOAD, RESPONSE_URL = "(upload)", "(download)", "(response_url)"

HISTORY_SCOPES = {"channel": "channels:history", "group": "groups:history", "im": "im:history", "mpim": "mpim:history"}
READ_SCOPES = {"channel": "channels:read", "group": "groups:read", "im": "im:read", "mpim": "mpim:read"}


class ApiError(Exception):
    """Slack refuses: `ok: false` with a code, usually with HTTP status 200."""

    def __init__(self, code: str, *messages: str, status: int = 200, **fields: Any) -> None:
        super().__init__(code)
        self.code, self.status, self.headers = code, status, dict[str, str]()
        self._messages, self._fields = messages, fields

    def document(self) -> Json:
        """The JSON of the answer."""
        document: Json = {"ok": False, "error": self.code, **self._fields}
        if self._messages:
            document["errors"] = list(self._messages)
            document["response_metadata"] = {"messages": [f"[ERROR] {one}" for one in self._messages]}
        return document


def too_many(retry_after_s: int) -> ApiError:
    """A 429 that says when to come back."""
    refusal = ApiError("ratelimited", status=429)
    refusal.headers["Retry-After"] = str(retry_after_s)
    return refusal


@dataclass(eq=False)
class Request:
    """A recorded call."""

    method: str
    at: float
    arguments: Json
    headers: dict[str, str]
    http_method: str = "POST"
    content_type: str = ""
    team_id: str | None = None
    token: str | None = None
    status: int | None = None
    """The HTTP status answered; None if the connection was reset or hangs."""
    error: str | None = None
    """Slack's error code; None if the call went well."""
    answer: Json | None = None
    answered_at: float | None = None

    @property
    def ok(self) -> bool:
        """Whether it was answered well."""
        return self.status == 200 and self.error is None

    def __repr__(self) -> str:
        return f"<{self.method} → {self.error or self.status}>"


@dataclass
class Call:
    """A call on its way to its handler."""

    slack: StandInSlack
    http: web.Request
    request: Request
    grant: Grant | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of the answer."""

    @property
    def team(self) -> Team:
        """The workspace of the token."""
        assert self.grant is not None and self.grant.team is not None
        return self.grant.team

    @property
    def arguments(self) -> Json:
        """What was sent, by name."""
        return self.request.arguments

    def text(self, name: str) -> str | None:
        """A text; an empty one is none."""
        value = self.arguments.get(name)
        return None if value in {None, ""} else str(value)

    def need(self, name: str) -> str:
        """A text that must be there."""
        value = self.text(name)
        if value is None:
            raise ApiError("invalid_arguments", f"missing required field: {name}")
        return value

    def flag(self, name: str) -> bool:
        """A yes or no, in any of the forms that Slack takes."""
        return str(self.arguments.get(name, "")).lower() in {"1", "true"}

    def number(self, name: str, default: int) -> int:
        """A number."""
        return int(self.text(name) or default)

    def json(self, name: str, code: str = "invalid_arguments") -> Any:
        """An argument that is JSON, as itself or written in a string."""
        value = self.arguments.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value else None
        except ValueError:
            raise ApiError(code, f"{name} is no JSON") from None

    def channel(self, name: str = "channel") -> Channel:
        """The channel that is named, if the bot sees it."""
        channel = self.team.channels.get(self.need(name))
        if channel is None or (channel.private and not channel.has(self.team.bot)):
            raise ApiError("channel_not_found")
        return channel

    def message(self, ts: str = "ts", channel: str = "channel", code: str = "message_not_found") -> Message:
        """The message that is named, if it is still there."""
        message = self.channel(channel).find(self.need(ts))
        if message is None:
            raise ApiError(code)
        return message

    def user(self, name: str = "user") -> User:
        """The user who is named."""
        user = self.team.users.get(self.need(name))
        if user is None:
            raise ApiError("user_not_found")
        return user

    def require_scope(self, *scopes: str) -> None:
        """The token must have one of these."""
        assert self.grant is not None
        if scopes and not self.grant.scopes.intersection(scopes):
            provided = ",".join(sorted(self.grant.scopes))
            raise ApiError("missing_scope", needed=scopes[0], provided=provided)

    def enforce(self, findings: Iterable[Finding]) -> None:
        """Note every broken rule; refuse what Slack refuses."""
        refused = []
        for finding in findings:
            self.slack.violate(finding.rule, finding.detail, self.request)
            if finding.code is not None:
                refused.append(finding)
        if refused:
            raise ApiError(str(refused[0].code), *(finding.detail for finding in refused))


Handler = Callable[[Call], Json | None]


@dataclass(frozen=True)
class Method:
    """A method of the Web API: what answers it, how often it may be called, and which of its scopes a token needs."""

    name: str
    handler: Handler
    tier: int | None
    scopes: tuple[str, ...]
    token: str | None = "bot"


METHODS: dict[str, Method] = {}
"""What answers which method, in one step of the loop, so that it happens at once."""


def serves(name: str, *scopes: str, tier: int | None = None, token: str | None = "bot") -> Callable[[Handler], Handler]:
    """Register a handler for a method; `token` is the kind it needs."""

    def register(handler: Handler) -> Handler:
        METHODS[name] = Method(name, handler, tier, scopes, token)
        return handler

    return register
