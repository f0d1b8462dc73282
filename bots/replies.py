"""Following a Turn's answer: from the reply stream while it flows, from SQL where that is gone.

Yields the text so far, never a character twice, and at last what SQL holds. Knows no platform and sends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from core.errors import QueueUnavailable
from core.history import TurnView
from core.service import Service
from core.tasks import end
from core.values import ReplyEvent, ReplyEventKind, TurnState

log = structlog.get_logger(__name__)

QUIET_S = 2.0
"""After so long without an event SQL is asked whether the Turn has ended."""

POLL_S = 0.5
"""How soon SQL is asked when Redis goes down; each time after that twice as late, to at most `LONGEST_POLL_S`."""

LONGEST_POLL_S = 4.0


@dataclass(frozen=True, slots=True)
class ReplyUpdate:
    """An answer so far. A greater `fence` starts over. The last one is `final`, with the Turn as SQL has it."""

    turn_id: int
    generation_id: int | None
    fence: int
    text: str
    turn: TurnView | None = None

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self.turn is not None


Pace = Callable[[], float]
"""Seconds from one update to the next; asked after each, so that it may change with the load."""


def unpaced() -> float:
    """Every update at once."""
    return 0.0


async def watch(
    service: Service, turn_id: int, *, known: TurnView | None = None, pace: Pace = unpaced
) -> AsyncGenerator[ReplyUpdate]:
    """The Turn's answer as it grows, updates joined to `pace`, and its end. Raises NotFound.

    `known` is the Turn as the caller has just read it, which saves reading it again.
    Raises DatabaseUnavailable where SQL is down when it is needed.
    """
    turn = known or await service.turn_status(turn_id)
    progress, poll_s = _Progress(turn_id), POLL_S
    while not turn.state.ended:
        after = turn.fence if turn.state is TurnState.QUEUED else turn.fence - 1
        try:
            async with aclosing(_updates(service, turn_id, after, progress, pace)) as updates:
                async for update in updates:
                    poll_s = POLL_S
                    yield update
        except QueueUnavailable as error:
            log.warning("A reply is followed in SQL.", action="reply_polled", turn_id=turn_id, reason=str(error))
            await asyncio.sleep(poll_s)
            poll_s = min(2 * poll_s, LONGEST_POLL_S)
        turn = await service.turn_status(turn_id)
    answer = turn.answer
    generation_id = answer.generation_id if answer else None
    yield ReplyUpdate(turn_id, generation_id, turn.fence, answer.text if answer else "", turn)


@dataclass(slots=True)
class _Progress:
    """What has been told of the answer."""

    turn_id: int
    fence: int = 0
    generation_id: int | None = None
    text: str = ""

    def take(self, event: ReplyEvent) -> bool:
        """Take an event in; whether there is more to tell. Text after a gap waits for SQL."""
        if event.fence < self.fence:
            return False
        if event.fence > self.fence:
            self.fence, self.text = event.fence, ""
        self.generation_id = event.generation_id
        known = len(self.text) - event.offset
        if event.kind is not ReplyEventKind.DELTA or known < 0 or known >= len(event.text):
            return False
        self.text += event.text[known:]
        return True

    def update(self) -> ReplyUpdate:
        """What to tell now."""
        return ReplyUpdate(self.turn_id, self.generation_id, self.fence, self.text)


async def _updates(
    service: Service, turn_id: int, after_fence: int, progress: _Progress, pace: Pace
) -> AsyncGenerator[ReplyUpdate]:
    """Updates until an event ends the Turn, or SQL says in a quiet moment that it has ended.

    Events that come sooner than `pace` after the last update are joined into the next.
    """
    loop = asyncio.get_running_loop()
    due, heard, waiting = 0.0, loop.time(), False
    pending: asyncio.Future[ReplyEvent] | None = None
    async with aclosing(service.follow(turn_id, after_fence)) as stream:
        try:
            while True:
                pending = pending or asyncio.ensure_future(anext(stream))
                wake = min(due, heard + QUIET_S) if waiting else heard + QUIET_S
                done, _ = await asyncio.wait({pending}, timeout=max(0.0, wake - loop.time()))
                if done:
                    event, pending, heard = pending.result(), None, loop.time()
                    if event.terminal:
                        return
                    waiting = progress.take(event) or waiting
                if waiting and loop.time() >= due:
                    yield progress.update()
                    due, heard, waiting = loop.time() + pace(), loop.time(), False
                elif loop.time() >= heard + QUIET_S:
                    if (await service.turn_status(turn_id)).state.ended:
                        return
                    heard = loop.time()
        except StopAsyncIteration:
            return
        finally:
            await end(pending)
