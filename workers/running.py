"""RunningTurns: which Turns this process is answering, shared by task threads, heartbeat, control channel and drain.

Knows ids, fences and the Generator to cancel in; knows no SQL and no Redis.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from core.turns import ClaimedTurn
from workers.generator import Generator


@dataclass(eq=False, slots=True)
class RunningTurn:
    """A Turn between claim and finish. `cancelled`: a person wants its end. `lost`: it is not ours any more."""

    turn_id: int
    fence: int
    cancelled: bool = False
    lost: threading.Event = field(default_factory=threading.Event)

    @property
    def request_id(self) -> str:
        """Its name in the Generator: another claim of the same Turn is another request."""
        return f"{self.turn_id}.{self.fence}"


class RunningTurns:
    """Every Turn of this process that is being answered, and whether more may be claimed."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._changed = threading.Condition()
        self._turns: dict[int, RunningTurn] = {}
        self._busy = 0
        self._closed = False

    @contextmanager
    def claiming(self) -> Iterator[bool]:
        """Whether a Turn may be claimed and answered inside the block; `wait_idle` waits for its end."""
        with self._changed:
            may_claim = not self._closed
            self._busy += may_claim
        try:
            yield may_claim
        finally:
            with self._changed:
                self._busy -= may_claim
                self._changed.notify_all()

    @contextmanager
    def holding(self, claimed: ClaimedTurn) -> Iterator[RunningTurn]:
        """Make a claimed Turn known for as long as the block runs."""
        turn = RunningTurn(claimed.turn_id, claimed.fence)
        with self._changed:
            self._turns[turn.turn_id] = turn
        try:
            yield turn
        finally:
            with self._changed:
                if self._turns.get(turn.turn_id) is turn:
                    del self._turns[turn.turn_id]

    def held(self) -> dict[int, int]:
        """The fence of each Turn that is being answered."""
        with self._changed:
            return {turn.turn_id: turn.fence for turn in self._turns.values()}

    def cancel(self, turn_id: int, fence: int) -> None:
        """End a Turn's answer, if its fence is at most `fence`, because a person wants it; what there is is kept."""
        with self._changed:
            turn = self._turns.get(turn_id)
        if turn is not None and turn.fence <= fence:
            turn.cancelled = True
            self._generator.cancel(turn.request_id)

    def lose(self, turn_id: int, fence: int) -> None:
        """End a Turn's answer because another worker has it now: nothing more may be said."""
        with self._changed:
            turn = self._turns.get(turn_id)
        if turn is not None and turn.fence == fence:
            turn.lost.set()
            self._generator.cancel(turn.request_id)

    def stop_claiming(self) -> None:
        """Claim no more, for good."""
        with self._changed:
            self._closed = True

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is being answered. Whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._busy == 0, timeout_s)
