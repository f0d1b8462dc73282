"""The servers' time and their ids.

Time is the machine's, and tests move it forward: an interaction of 15 minutes ago needs no 15 minutes.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

EPOCH_MS = 1_420_070_400_000
GUILDS_FROM_MS = 1_577_836_800_000  # guilds are founded from 2020 on


class Clock:
    """What time it is on the servers."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._ahead_s += seconds


def written(seconds: float) -> str:
    """A moment as Discord writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


class Snowflakes:
    """Ids that grow with time, each only once."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._newest, self._guilds = clock, 0, 0

    def next(self) -> int:
        """The id of what is made now."""
        now = int(self._clock.now() * 1000) - EPOCH_MS
        self._newest = max(self._newest + 1, now << 22)
        return self._newest

    def next_guild(self) -> int:
        """The id of a guild; they are a millisecond apart, so that they spread over the shards."""
        self._guilds += 1
        return (GUILDS_FROM_MS - EPOCH_MS + self._guilds) << 22


def moment(snowflake: int) -> float:
    """When something with this id was made, in seconds since 1970."""
    return ((snowflake >> 22) + EPOCH_MS) / 1000
