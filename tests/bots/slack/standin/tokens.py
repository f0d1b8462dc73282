"""Tokens: who may call, with which scopes, until when; and how an installation hands them out."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.bots.slack.standin.calls import ApiError
from tests.bots.slack.standin.clock import Clock

if TYPE_CHECKING:
    from tests.bots.slack.standin.people import User
    from tests.bots.slack.standin.team import Team

EXPIRES_S = 43_200
CODE_S = 600.0

BOT_SCOPES = (
    "app_mentions:read", "assistant:write", "channels:history", "channels:read", "channels:join", "chat:write",
    "commands", "files:read", "files:write", "groups:history", "groups:read", "im:history", "im:read", "im:write",
    "mpim:history", "mpim:read", "reactions:read", "reactions:write", "team:read", "users:read",
)  # fmt: skip


@dataclass(eq=False)
class Grant:
    """What one token allows."""

    token: str
    kind: str
    """`bot`, `user` or `app`."""
    team: Team | None
    scopes: set[str]
    user: User | None = None
    """Who installed the app."""
    expires_at: float | None = None
    refresh_token: str | None = None
    refusal: str | None = None
    """The error that it is answered with from now on, such as `token_revoked`."""


@dataclass
class Code:
    """What an installation hands to the app, to be exchanged for a token."""

    team: Team
    user: User
    scopes: set[str]
    made_at: float
    redirect_uri: str | None = None


@dataclass
class Tokens:
    """Every token that was ever handed out."""

    clock: Clock
    rotation: bool = False
    """Whether bot tokens expire after 12 hours, and are refreshed."""
    expires_s: int = EXPIRES_S
    grants: dict[str, Grant] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)

    def issue(self, team: Team, user: User, scopes: Iterable[str]) -> Grant:
        """A bot token."""
        mark = "xoxe.xoxb-1-" if self.rotation else "xoxb-"
        grant = Grant(f"{mark}{team.id}-{secrets.token_hex(12)}", "bot", team, set(scopes), user)
        if self.rotation:
            grant.expires_at = self.clock.now() + self.expires_s
            grant.refresh_token = f"xoxe-1-{secrets.token_hex(16)}"
        self.grants[grant.token] = grant
        return grant

    def issue_app_token(self, app_id: str) -> Grant:
        """An app-level token, for Socket Mode."""
        grant = Grant(f"xapp-1-{app_id}-{secrets.token_hex(12)}", "app", None, {"connections:write"})
        self.grants[grant.token] = grant
        return grant

    def issue_code(self, code: Code) -> str:
        """What the browser brings to the app's redirect URL."""
        text = f"{code.team.id}.{secrets.token_hex(12)}"
        self.codes[text] = code
        return text

    def redeem(self, text: str, redirect_uri: str | None) -> Code:
        """Exchange a code, once and within ten minutes."""
        code = self.codes.pop(text, None)
        if code is None:
            raise ApiError("invalid_code")
        if self.clock.now() - code.made_at > CODE_S:
            raise ApiError("invalid_code")
        if code.redirect_uri is not None and code.redirect_uri != redirect_uri:
            raise ApiError("bad_redirect_uri")
        return code

    def refresh(self, refresh_token: str) -> Grant:
        """A new bot token for a refresh token, which is used up; the old bot token lives until it expires."""
        old = next((one for one in self.grants.values() if one.refresh_token == refresh_token), None)
        if old is None or old.refusal is not None or old.team is None or old.user is None:
            raise ApiError("invalid_refresh_token")
        old.refresh_token = None
        new = self.issue(old.team, old.user, old.scopes)
        old.team.grant = new
        return new

    def check(self, token: str | None, kind: str) -> Grant:
        """The grant of a token that is good now."""
        if not token:
            raise ApiError("not_authed")
        grant = self.grants.get(token)
        if grant is None:
            raise ApiError("invalid_auth")
        if grant.refusal is not None:
            raise ApiError(grant.refusal)
        if grant.expires_at is not None and self.clock.now() >= grant.expires_at:
            raise ApiError("token_expired")
        if grant.kind != kind:
            raise ApiError("not_allowed_token_type")
        return grant

    def refuse(self, team: Team, code: str) -> None:
        """Answer every token of a workspace with an error from now on."""
        for grant in self.grants.values():
            if grant.team is team:
                grant.refusal = code
