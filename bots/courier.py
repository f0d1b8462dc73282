"""Courier: delivers Turns in the background, one task each, to the end, and each of them in one process.

Knows Turns and how to get a ReplySink for one; knows no platform. Events of a platform are handled at once and their
answers come when they come: that is what runs here. A Turn is leased while it is on its way, so that of several
processes one brings it, and another once the lease of one that ended is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, nullcontext, suppress

import structlog

from bots.delivery import ReplySink, deliver_surely
from bots.patience import Telling, tell_wait
from core.errors import QueueUnavailable, ServiceUnavailable
from core.history import TurnView
from core.service import Service
from core.tasks import end
from core.values import Place, TurnState

log = structlog.get_logger(__name__)

LEASE_S = 4.0
"""How long nobody takes over what a process was doing that ended without a word."""

LOOK_S = 1.0
"""How often leases are renewed, and what others left is looked for."""

LOOK_AHEAD_S = 0.1
"""How often it is looked whether another process has delivered what comes before."""

BEHIND_S = 30.0
"""How long an answer stays behind one that has ended and that another process does not deliver."""

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
        self._leases = service.new_leases()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._newest: dict[Place, asyncio.Task[None]] = {}
        self._again: dict[int, TurnView] = {}
        self._leased: set[int] = set()
        self._left: set[int] = set()  # what was not on its way here at the last look

    def deliver(self, turn: TurnView) -> None:
        """Deliver the Turn, after those of its Conversation that are on their way.

        One that is itself on its way, and was asked for again, is followed to its next end.
        """
        if turn.turn_id in self._tasks:
            self._again[turn.turn_id] = turn
            return
        before = None if turn.purged else self._newest.get(turn.place)  # of a purged one nothing is told
        until_open = ExitStack()
        until_open.enter_context(self._waiting(turn))
        task = asyncio.create_task(self._run(turn, before, until_open), name=f"deliver-{turn.turn_id}")
        task.add_done_callback(lambda _: until_open.close())  # also where it never begins
        self._tasks[turn.turn_id] = task
        if not turn.purged:
            self._newest[turn.place] = task
        if self._telling is not None and turn.state is TurnState.QUEUED:
            told = asyncio.create_task(tell_wait(self._service, turn, self._telling), name=f"wait-{turn.turn_id}")
            task.add_done_callback(lambda _: told.cancel())

    async def resume(self, platform: str) -> int:
        """Deliver what a bot of `platform` that ended has left, finished or not. Returns how many Turns that are.

        What another process has is waited for, until it is delivered or left: what is said after it comes after it.
        """
        waiting = await self._service.waiting(platform)
        return await self._take(waiting, await self._hold(waiting))

    async def keep(self, platform: str) -> None:
        """Keep others from what is on its way here, and take over what they leave; without end."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._renew()
                if taken := await self._take_over(platform):
                    log.info("Answers of another bot are delivered.", action="taken_over", turns=taken)
            except ServiceUnavailable as error:
                log.warning("What others left is not known.", action="take_over_failed", reason=str(error))

    async def settled(self) -> None:
        """Wait until nothing is on its way."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def close(self) -> None:
        """Let go of everything; the next start delivers it."""
        await end(*self._tasks.values())
        await self._give_back(list(self._leased))

    async def _take_over(self, platform: str) -> int:
        """Deliver what was not on its way at the last look already: what has come since is whose who stored it."""
        waiting = set(await self._service.waiting(platform)) - self._tasks.keys()
        left, self._left = waiting & self._left, waiting
        held = await self._hold(left)
        return await self._take(held, held)

    async def _take(self, turn_ids: Collection[int], held: set[int]) -> int:
        """Deliver them, as they are now that some of them are `held`. Returns how many are not delivered yet."""
        turns = await self._service.turns(turn_ids) if turn_ids else []
        waiting = [turn for turn in turns if turn.delivered_at is None]
        for turn in waiting:
            self.deliver(turn)
        await self._give_back(held - {turn.turn_id for turn in waiting})
        return len(waiting)

    async def _ours(self, turn: TurnView) -> TurnView | None:
        """The Turn, once no other process has it; None where it is delivered by then."""
        if await self._hold([turn.turn_id]):
            return turn
        while not await self._hold([turn.turn_id]):  # noqa: ASYNC110 - nothing tells of a lease that ends
            await asyncio.sleep(LOOK_S)
        return await self._due(turn)

    async def _due(self, turn: TurnView) -> TurnView | None:
        """The Turn as it is now; None where it is delivered."""
        now = await self._service.turn_status(turn.turn_id)
        return now if now.delivered_at is None else None

    async def _in_order(self, turn: TurnView, before: asyncio.Task[None] | None) -> None:
        """Wait for what was asked before it in its Conversation: here, then in other processes.

        Where that has ended and is not delivered all the same, not without end: two processes may wait for each other.
        """
        if before is not None:
            await asyncio.wait({before})
        loop, earlier = asyncio.get_running_loop(), await self._elsewhere(turn)
        until = loop.time() + BEHIND_S
        while earlier and loop.time() < until:
            await asyncio.sleep(LOOK_AHEAD_S)
            if not all(state.ended for state in earlier.values()):
                until = loop.time() + BEHIND_S
            earlier = await self._elsewhere(turn)

    async def _elsewhere(self, turn: TurnView) -> dict[int, TurnState]:
        """What is to be delivered before it and is not on its way here; nothing where SQL does not say."""
        try:
            earlier = {} if turn.purged else await self._service.undelivered_before(turn.turn_id)
        except ServiceUnavailable as error:
            log.warning("What comes before is not known.", action="order_unknown", reason=str(error))
            return {}
        return {turn_id: state for turn_id, state in earlier.items() if turn_id not in self._tasks}

    async def _renew(self) -> None:
        """Hold on to what is on its way here, and let go of what another has taken over: this process slept too long."""
        leased = set(self._leased)
        for turn_id in leased - await self._hold(leased):
            self._leased.discard(turn_id)
            if (task := self._tasks.get(turn_id)) is not None and task.cancel():
                log.warning("Another bot delivers a turn.", action="delivery_lease_lost", turn_id=turn_id)

    async def _hold(self, turn_ids: Collection[int]) -> set[int]:
        """Lease them; those that are this process's to deliver: all, where Redis does not say."""
        names = {_lease(turn_id): turn_id for turn_id in turn_ids}
        try:
            held = {names[name] for name in await self._leases.take(list(names), LEASE_S)}
        except QueueUnavailable:
            held = set(turn_ids)
        self._leased |= held
        return held

    async def _give_back(self, turn_ids: Collection[int]) -> None:
        self._leased.difference_update(turn_ids)
        with suppress(QueueUnavailable):  # they end by themselves
            await self._leases.release([_lease(turn_id) for turn_id in turn_ids])

    async def _run(self, turn: TurnView, before: asyncio.Task[None] | None, until_open: ExitStack) -> None:
        try:
            following = await self._ours(turn)
            await self._in_order(turn, before)
            while following is not None:
                async with self._sink_for(following) as sink:
                    until_open.close()
                    await deliver_surely(self._service, following, sink)
                asked_again = self._again.pop(turn.turn_id, None)
                following = await self._due(asked_again) if asked_again is not None else None
        except Exception:  # the edge: one answer that cannot be delivered must not be forgotten in silence
            log.exception("A delivery failed.", action="delivery_crashed", turn_id=turn.turn_id)
        finally:
            self._forget(turn)
        if turn.turn_id not in self._tasks:
            await self._give_back([turn.turn_id])

    def _forget(self, turn: TurnView) -> None:
        task = self._tasks.pop(turn.turn_id, None)
        self._again.pop(turn.turn_id, None)
        if self._newest.get(turn.place) is task:
            self._newest.pop(turn.place, None)


def _lease(turn_id: int) -> str:
    return f"delivery-{turn_id}"
