"""Courier: delivers Turns in the background, one task each, to the end.

Knows Turns and how to get a ReplySink for one; knows no platform. Events of a platform are handled at once and their
answers come when they come: that is what runs here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, nullcontext

import structlog

from bots.delivery import ReplySink, deliver_surely
from bots.patience import Telling, tell_wait
from core.history import TurnView
from core.service import Service
from core.tasks import end
from core.values import Place, TurnState

log = structlog.get_logger(__name__)

SinkFor = Callable[[TurnView], AbstractAsyncContextManager[ReplySink]]
"""The place where a Turn's answer goes, opened for as long as it is delivered."""

Waiting = Callable[[TurnView], AbstractContextManager[object]]
"""What shows that a Turn is waited for, from the moment it is given until its sink is open."""


class Courier:
    """One per bot process."""

    def __init__(
        self, service: Service, sink_for: SinkFor, waiting: Waiting = nullcontext, telling: Telling | None = None
    ) -> None:
        self._service, self._sink_for, self._waiting, self._telling = service, sink_for, waiting, telling
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._newest: dict[Place, asyncio.Task[None]] = {}
        self._again: dict[int, TurnView] = {}
        self._left: set[int] = set()  # what nobody had delivered at the last look

    def deliver(self, turn: TurnView) -> None:
        """Deliver the Turn, after those of its Conversation that are on their way.

        One that is itself on its way, and was asked for again, is followed to its next end.
        """
        if turn.turn_id in self._tasks:
            self._again[turn.turn_id] = turn
            return
        before, until_open = self._newest.get(turn.place), ExitStack()
        until_open.enter_context(self._waiting(turn))
        task = asyncio.create_task(self._run(turn, before, until_open), name=f"deliver-{turn.turn_id}")
        task.add_done_callback(lambda _: until_open.close())  # also where it never begins
        self._tasks[turn.turn_id] = self._newest[turn.place] = task
        if self._telling is not None and turn.state is TurnState.QUEUED:
            told = asyncio.create_task(tell_wait(self._service, turn, self._telling), name=f"wait-{turn.turn_id}")
            task.add_done_callback(lambda _: told.cancel())

    async def resume(self, platform: str) -> int:
        """Deliver what a bot of `platform` that ended has left, finished or not. Returns how many Turns that are."""
        turns = [*await self._service.open_turns(platform), *await self._service.undelivered(platform)]
        waiting = {turn.turn_id: turn for turn in turns}
        for _, turn in sorted(waiting.items()):
            self.deliver(turn)
        return len(waiting)

    async def take_over(self, platform: str) -> int:
        """Deliver what was undelivered at the last look already: the bot that was to do it has ended.

        While one bot takes over from another both are told of a message, and only the first to store it delivers it.
        Returns how many Turns that are.
        """
        undelivered = {turn.turn_id: turn for turn in await self._service.undelivered(platform)}
        left = {turn_id: turn for turn_id, turn in sorted(undelivered.items()) if turn_id not in self._tasks}
        taken = [turn for turn_id, turn in left.items() if turn_id in self._left]
        self._left = set(left)
        for turn in taken:
            self.deliver(turn)
        return len(taken)

    async def settled(self) -> None:
        """Wait until nothing is on its way."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def close(self) -> None:
        """Let go of everything; the next start delivers it."""
        await end(*self._tasks.values())

    async def _run(self, turn: TurnView, before: asyncio.Task[None] | None, until_open: ExitStack) -> None:
        following: TurnView | None = turn
        try:
            if before is not None:
                await asyncio.wait({before})
            while following is not None:
                async with self._sink_for(following) as sink:
                    until_open.close()
                    await deliver_surely(self._service, following, sink)
                following = self._again.pop(turn.turn_id, None)
        except Exception:  # the edge: one answer that cannot be delivered must not be forgotten in silence
            log.exception("A delivery failed.", action="delivery_crashed", turn_id=turn.turn_id)
        finally:
            self._forget(turn)

    def _forget(self, turn: TurnView) -> None:
        task = self._tasks.pop(turn.turn_id, None)
        self._again.pop(turn.turn_id, None)
        if self._newest.get(turn.place) is task:
            self._newest.pop(turn.place, None)
