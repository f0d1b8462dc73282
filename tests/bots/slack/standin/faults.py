"""Faults of the Web API, on demand."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bots.changes import Changes


@dataclass
class Fault:
    """What happens to the next calls of a method."""

    method: str | None
    answer: int | str
    times: int = 1
    after: int = 0
    """So many calls pass before it begins."""
    work_done: bool = False
    """Whether the servers do what was asked, before they answer badly."""
    retry_after_s: int = 1
    team_id: str | None = None

    def strikes(self, method: str, team_id: str | None) -> bool:
        """Whether it falls on this call; counts it."""
        if self.times <= 0 or self.method not in {None, method} or self.team_id not in {None, team_id}:
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
        self.struck: list[tuple[str, int | str]] = []
        """What fell on which method, in order."""

    def add(
        self,
        method: str | None,
        answer: int | str,
        *,
        times: int = 1,
        after: int = 0,
        work_done: bool = False,
        retry_after_s: int = 1,
        team_id: str | None = None,
    ) -> Fault:
        """Let the next `times` calls of `method` (None: of any) fail, after `after` that pass.

        `"reset"` resets the TCP connection; `"hang"` never answers; a number is the HTTP status (429 says Retry-After); any
        other word is an error as Slack reports them: `ok: false` with status 200. Beside the methods of the Web API there
        are `calls.UPLOAD`, `calls.DOWNLOAD` and `calls.RESPONSE_URL`.
        """
        fault = Fault(method, answer, times, after, work_done, retry_after_s, team_id)
        self._arranged.append(fault)
        return fault

    def clear(self) -> None:
        """Nothing fails any more."""
        self._arranged.clear()

    def take(self, method: str, team_id: str | None) -> Fault | None:
        """The fault that falls on this call."""
        fault = next((one for one in self._arranged if one.strikes(method, team_id)), None)
        if fault is not None:
            self.struck.append((method, fault.answer))
            self._changes.happened()
        return fault
