"""Rate limits: a tier per method and workspace, and one post a second in a channel.

Slack documents what a tier allows in a minute and that short bursts may pass; a sliding minute is the strict reading.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from tests.bots.slack.standin.clock import Clock

MINUTE_S = 60.0
PER_MINUTE = {1: 1, 2: 20, 3: 50, 4: 100}
POSTING = "chat.postMessage"
FOR_COMMERCIAL_APPS = {"conversations.history": 1, "conversations.replies": 1}


@dataclass
class Bucket:
    """Tokens for posts in one channel; one comes back each second."""

    tokens: float
    filled_at: float


class Limits:
    """The rate limits. Tests change them: `limits.by_method["chat.update"] = 5`, `limits.scale = 0.1`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.enabled = True
        self.scale = 1.0
        """Stretches every window; 0.1 lets tests wait a tenth."""
        self.by_method: dict[str, int] = {}
        """Calls in a minute, instead of those of the method's tier."""
        self.commercial = True
        """Whether the app is one of those that may read history once a minute, 15 messages at a time."""
        self.post_burst = 4
        self.posts_per_s = 1.0
        self.retry_after_s: int | None = None
        """What Retry-After says; None: the truth, in whole seconds."""
        self.exceeded: list[tuple[str, str]] = []
        """Method and workspace of every call that was refused."""
        self.impatient: list[tuple[str, str]] = []
        """Those that came again before their Retry-After had passed."""
        self._calls: dict[tuple[str, str], deque[float]] = {}
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._refused_until: dict[tuple[str, str], float] = {}

    def take(self, method: str, tier: int | None, team_id: str, channel_id: str | None) -> int | None:
        """Let a call pass, or say after how many seconds it may come again."""
        if not self.enabled:
            return None
        if method == POSTING:
            wait_s = self._take_post(team_id, channel_id or "")
        else:
            wait_s = self._take_call((method, team_id), self._allowed(method, tier))
        if wait_s is None:
            return None
        self.exceeded.append((method, team_id))
        return math.ceil(wait_s) if self.retry_after_s is None else self.retry_after_s

    def note_call(self, method: str, team_id: str, channel_id: str | None) -> None:
        """A call comes, whatever becomes of it."""
        if self._clock.now() < self._refused_until.get(_key(method, team_id, channel_id), 0.0):
            self.impatient.append((method, team_id))

    def note_refusal(self, method: str, team_id: str, channel_id: str | None, retry_after_s: int) -> None:
        """A call was refused, by these limits or by a fault: none is to come for so long."""
        self._refused_until[_key(method, team_id, channel_id)] = self._clock.now() + retry_after_s

    def _allowed(self, method: str, tier: int | None) -> int | None:
        if method in self.by_method:
            return self.by_method[method]
        if self.commercial and method in FOR_COMMERCIAL_APPS:
            return FOR_COMMERCIAL_APPS[method]
        return None if tier is None else PER_MINUTE[tier]

    def _take_call(self, key: tuple[str, str], allowed: int | None) -> float | None:
        if allowed is None:
            return None
        now, window_s = self._clock.now(), MINUTE_S * self.scale
        calls = self._calls.setdefault(key, deque())
        while calls and now - calls[0] >= window_s:
            calls.popleft()
        if len(calls) >= allowed:
            return calls[0] + window_s - now
        calls.append(now)
        return None

    def _take_post(self, team_id: str, channel_id: str) -> float | None:
        now, rate = self._clock.now(), self.posts_per_s / self.scale
        bucket = self._buckets.setdefault((team_id, channel_id), Bucket(self.post_burst, now))
        bucket.tokens = min(self.post_burst, bucket.tokens + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / rate
        bucket.tokens -= 1
        return None


def _key(method: str, team_id: str, channel_id: str | None) -> tuple[str, str]:
    """What is refused together: a method in a workspace, posts in a channel."""
    return (f"{method} {channel_id}" if method == POSTING else method), team_id
