"""Faults of the REST API, on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.bots.changes import Changes

Answer = int | Literal["reset", "hang"]


@dataclass
class Fault:
    """What happens to the next requests of a route."""

    route: str | None
    answer: Answer
    times: int = 1
    after: int = 0
    """So many requests pass before it begins."""
    work_done: bool = False
    """Whether the servers do what was asked, before they answer badly."""
    retry_after_s: float = 0.05
    everywhere: bool = False
    """Whether a 429 is the global one."""

    def strikes(self, route: str) -> bool:
        """Whether it falls on this request; counts it."""
        if self.times <= 0 or self.route not in {None, route}:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


class Faults:
    """The faults that are arranged."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._arranged: list[Fault] = []
        self.struck: list[tuple[str, Answer]] = []
        """What fell on which route, in order."""

    def add(
        self,
        route: str | None,
        answer: Answer,
        *,
        times: int = 1,
        after: int = 0,
        work_done: bool = False,
        retry_after_s: float = 0.05,
        everywhere: bool = False,
    ) -> Fault:
        """Let the next `times` requests of `route` (None: of any) fail, after `after` that pass.

        `"reset"` resets the TCP connection; `"hang"` never answers; a number is the status answered.
        """
        fault = Fault(route, answer, times, after, work_done, retry_after_s, everywhere)
        self._arranged.append(fault)
        return fault

    def clear(self) -> None:
        """Nothing fails any more."""
        self._arranged.clear()

    def take(self, route: str) -> Fault | None:
        """The fault that falls on this request."""
        fault = next((one for one in self._arranged if one.strikes(route)), None)
        if fault is not None:
            self.struck.append((route, fault.answer))
            self._changes.happened()
        return fault
