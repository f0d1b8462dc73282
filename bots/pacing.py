"""Pacing: how often the messages of a channel may be edited, and how many calls a bot may make in all.

Knows seconds, no platform. A platform limits edits by channel and tells little of how: an EditBudget starts at what is
known to be allowed, halves when an edit was held up, and recovers slowly. The Allowance of the whole bot is known, and
being refused for more is what it avoids.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_HELD_UP_S = 1.5
"""An edit that took longer was kept waiting by a limit, the library's or the platform's."""

_SLOWEST_PER_S = 0.1
_RECOVERY = 1.05


class EditBudget:
    """The edits of one channel."""

    def __init__(self, per_s: float, least_s: Callable[[], float] = lambda: 0.0) -> None:
        self._per_s = self._most_per_s = per_s
        self._least_s = least_s
        self.streams = 0

    def interval_s(self) -> float:
        """Seconds from one edit of an answer to its next, so that all that stream here stay within the budget."""
        return max(max(1, self.streams) / self._per_s, self._least_s())

    def note(self, took_s: float) -> None:
        """Learn from an edit that took so long."""
        if took_s > _HELD_UP_S:
            self._per_s = max(self._per_s / 2, _SLOWEST_PER_S)
        else:
            self._per_s = min(self._per_s * _RECOVERY, self._most_per_s)


class EditBudgets:
    """The budget of each channel in which something streams; all of them together make `together_per_s` edits."""

    def __init__(self, per_s: float, together_per_s: float = math.inf) -> None:
        self._per_s, self._together_per_s = per_s, together_per_s
        self._streams = 0
        self._budgets: dict[str, EditBudget] = {}

    @contextmanager
    def streaming(self, channel: str) -> Iterator[EditBudget]:
        """The channel's budget, with one more stream inside the block."""
        budget = self._budgets.setdefault(channel, EditBudget(self._per_s, self._least_s))
        budget.streams += 1
        self._streams += 1
        try:
            yield budget
        finally:
            self._streams -= 1
            budget.streams -= 1
            if not budget.streams:
                self._budgets.pop(channel, None)

    def _least_s(self) -> float:
        return self._streams / self._together_per_s


class Allowance:
    """So many calls a second, a few of them at once. Whoever comes when it is used up waits in line."""

    def __init__(self, per_s: float, at_once: int) -> None:
        self._gap_s, self._at_once = 1 / per_s, at_once
        self._used_until = 0.0
        """When everything that was taken will have been earned."""

    def spare(self) -> bool:
        """Whether a call that can as well be left out may be made: one now would make nobody wait."""
        return self._used_until - asyncio.get_running_loop().time() <= self._gap_s * (self._at_once // 2)

    async def take(self) -> None:
        """Return when a call may be made."""
        now = asyncio.get_running_loop().time()
        self._used_until = max(self._used_until, now) + self._gap_s
        await asyncio.sleep(max(0.0, self._used_until - now - self._gap_s * self._at_once))
