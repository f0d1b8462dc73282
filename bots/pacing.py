"""EditBudget: how often the messages of one channel may be edited, shared by all answers that stream there.

Knows seconds, no platform. A platform limits edits by channel and tells little of how: the budget starts at what is
known to be allowed, halves when an edit was held up, and recovers slowly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_HELD_UP_S = 1.5
"""An edit that took longer was kept waiting by a limit, the library's or the platform's."""

_SLOWEST_PER_S = 0.1
_RECOVERY = 1.05


class EditBudget:
    """The edits of one channel."""

    def __init__(self, per_s: float) -> None:
        self._per_s = self._most_per_s = per_s
        self.streams = 0

    def interval_s(self) -> float:
        """Seconds from one edit of an answer to its next, so that all that stream here stay within the budget."""
        return max(1, self.streams) / self._per_s

    def note(self, took_s: float) -> None:
        """Learn from an edit that took so long."""
        if took_s > _HELD_UP_S:
            self._per_s = max(self._per_s / 2, _SLOWEST_PER_S)
        else:
            self._per_s = min(self._per_s * _RECOVERY, self._most_per_s)


class EditBudgets:
    """The budget of each channel in which something streams."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._budgets: dict[str, EditBudget] = {}

    @contextmanager
    def streaming(self, channel: str) -> Iterator[EditBudget]:
        """The channel's budget, with one more stream inside the block."""
        budget = self._budgets.setdefault(channel, EditBudget(self._per_s))
        budget.streams += 1
        try:
            yield budget
        finally:
            budget.streams -= 1
            if not budget.streams:
                self._budgets.pop(channel, None)
