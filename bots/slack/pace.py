"""Pace: how often the streams of one workspace grow, those of this process together."""

from __future__ import annotations

from contextlib import ExitStack

from bots.pacing import EditBudget, EditBudgets

APPENDS_PER_S = 1.4
"""Slack allows a hundred a minute; the SendBudget is what keeps to that, and this what shares it out."""


class Pace:
    """The workspace's edits, shared by those answers of this process that are streams."""

    def __init__(self, budgets: EditBudgets, team: str, stack: ExitStack) -> None:
        self._budgets, self._team, self._stack = budgets, team, stack
        self._budget: EditBudget | None = None

    def begin(self) -> None:
        """The answer is a stream from now on."""
        if self._budget is None:
            self._budget = self._stack.enter_context(self._budgets.streaming(self._team))

    def interval_s(self) -> float:
        """Seconds from one edit to the next."""
        return self._budget.interval_s() if self._budget else 0.0

    def note(self, took_s: float) -> None:
        """Learn from an edit that took so long."""
        if self._budget:
            self._budget.note(took_s)
