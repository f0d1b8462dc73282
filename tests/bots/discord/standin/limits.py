"""Rate limits as Discord keeps them: a window per bucket and major parameter, one for everything, and the ban.

The figures are not documented by Discord, who wants the headers to be read; these are what bots observe.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tests.bots.discord.standin import routes
from tests.bots.discord.standin.clock import Clock

BAN_WINDOW_S = 600.0
OLD_MESSAGE_S = 3600.0


@dataclass(frozen=True)
class Limit:
    """`count` requests in `window_s` seconds."""

    count: int
    window_s: float


@dataclass
class Window:
    """The running window of one bucket."""

    opened_at: float
    used: int = 0


@dataclass(frozen=True)
class Allowance:
    """What one request finds: whether it may pass, and what its headers say."""

    limit: int
    remaining: int
    reset_at: float
    reset_after_s: float
    bucket: str
    allowed: bool
    shared_by_all: bool = False
    """The global limit."""

    def headers(self) -> dict[str, str]:
        """The X-RateLimit headers."""
        if self.shared_by_all:
            return {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}
        return {
            "X-RateLimit-Limit": str(self.limit), "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": f"{self.reset_at:.3f}", "X-RateLimit-Reset-After": f"{self.reset_after_s:.3f}",
            "X-RateLimit-Bucket": self.bucket,
        } | ({} if self.allowed else {"X-RateLimit-Scope": "user"})  # fmt: skip


class Limits:
    """The rate limits. Tests change them: `limits.by_route[EDIT_MESSAGE] = Limit(1, 2.0)`, `limits.scale = 0.1`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.enabled = True
        self.scale = 1.0
        """Stretches every window; 0.1 lets tests wait a tenth."""
        self.overall = Limit(50, 1.0)
        self.default = Limit(50, 1.0)
        self.by_route = {
            routes.CREATE_MESSAGE: Limit(5, 5.0),
            routes.EDIT_MESSAGE: Limit(5, 5.0),
            routes.DELETE_MESSAGE: Limit(5, 1.0),
            routes.TYPING: Limit(5, 5.0),
            routes.ADD_REACTION: Limit(1, 0.25),
            routes.REMOVE_OWN_REACTION: Limit(1, 0.25),
            routes.REMOVE_REACTION: Limit(1, 0.25),
            routes.FOLLOWUP: Limit(5, 2.0),
            routes.EDIT_ORIGINAL: Limit(5, 2.0),
            routes.EDIT_FOLLOWUP: Limit(5, 2.0),
            routes.START_THREAD: Limit(50, 10.0),
        }
        self.edits_of_old_messages = Limit(3, 5.0)
        """Of messages older than an hour; beyond it Discord answers 30046."""
        self.max_concurrency = 16
        """IDENTIFYs in 5 seconds; Discord gives most bots 1, and from 16 on none is refused here."""
        self.session_starts = 1000
        self.ban_after = 10_000
        """So many 401, 403 and 429 in ten minutes ban the address."""
        self.exceeded: list[str] = []
        """The route of every request that a limit refused."""
        self._windows: dict[tuple[str, str], Window] = {}
        self._invalid: deque[float] = deque()

    @property
    def invalid_requests(self) -> int:
        """How many 401, 403 and 429 the last ten minutes saw."""
        while self._invalid and self._clock.now() - self._invalid[0] > BAN_WINDOW_S:
            self._invalid.popleft()
        return len(self._invalid)

    @property
    def banned(self) -> bool:
        """Whether Cloudflare lets nothing through any more."""
        return self.invalid_requests >= self.ban_after

    def note_invalid(self) -> None:
        """Count an answer that leads towards the ban."""
        self._invalid.append(self._clock.now())

    def take(self, route: str, parameter: Callable[[str], str | None]) -> Allowance:
        """Let a request through, or not. `parameter` finds a part of its path."""
        if route not in routes.WITHOUT_TOKEN:
            overall = self._take("", "", self.overall)
            if not overall.allowed:
                self.exceeded.append(route)
                return overall
        major = ":".join(value for name in routes.MAJOR_PARAMETERS if (value := parameter(name)))
        allowance = self._take(route, major, self.by_route.get(route, self.default))
        if not allowance.allowed:
            self.exceeded.append(route)
        return allowance

    def take_edit_of_old_message(self, channel_id: int) -> Allowance:
        """Let an edit of an old message through, or not."""
        return self._take("old edits", str(channel_id), self.edits_of_old_messages)

    def _take(self, route: str, major: str, limit: Limit) -> Allowance:
        now, window_s = self._clock.now(), limit.window_s * self.scale
        window = self._windows.get((route, major))
        if window is None or now >= window.opened_at + window_s:
            window = self._windows[route, major] = Window(now)
        allowed = window.used < limit.count or not self.enabled
        window.used += allowed
        reset_at = window.opened_at + window_s
        bucket = hashlib.md5(route.encode(), usedforsecurity=False).hexdigest()
        remaining = max(limit.count - window.used, 0) if self.enabled else limit.count
        return Allowance(limit.count, remaining, reset_at, max(reset_at - now, 0.0), bucket, allowed, route == "")
