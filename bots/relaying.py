"""Relaying: brings what is to be brought in hand-offs onto a platform that keeps messages, in order and once.

Knows the ledger's order: taken with a lease before, noted message by message after. A crash between sends again with the
same nonce, which the platform (or the sink, by looking it up) recognises. Knows no platform: that is the RelaySink.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Protocol

import structlog

from bots import handoff
from bots.handoff import Post
from core.errors import DeliveryFailed, LeaseLost, ServiceUnavailable
from core.handoffs.relays import LEASE_S, Taken
from core.handoffs.transcripts import Line
from core.handoffs.views import HandoffView
from core.service import Service
from core.tasks import end
from core.values import RelayKind, Side

log = structlog.get_logger(__name__)

POLL_S = LEASE_S / 4
"""How often SQL is asked where no bell rings, and leases are renewed."""

_AT_ONCE = 20
_MOST_CRASHES = 5
"""After so many of our own mistakes in a row with one thing, what comes after it on its side is waited for no longer."""


class RelaySink(Protocol):
    """Where a platform puts what is relayed.

    Its methods retry what is worth it, and raise DeliveryFailed where the platform will never take it.
    """

    max_chars: int

    async def link(self, view: HandoffView) -> str:
        """An address at which staff find the conversation; empty where there is none."""

    async def send(self, view: HandoffView, side: Side, post: Post, nonce: str, *, again: bool) -> str:
        """Make a new message and return the platform's id of it; the same nonce again is the same message.

        `again`: a process that crashed may have sent it.
        """

    async def edit(self, view: HandoffView, side: Side, external_id: str, post: Post) -> str:
        """Give the message another text, or put another in its place; returns the platform's id of what shows it now."""

    async def remove(self, view: HandoffView, side: Side, external_id: str) -> None:
        """Take a message away; one that is gone already is no error."""


class Relayer:
    """One per bot process of a platform."""

    def __init__(self, service: Service, platform: str, sink: RelaySink) -> None:
        self._service, self._platform, self._sink = service, platform, sink
        self._tasks: dict[asyncio.Task[None], Taken] = {}
        self._crashes: Counter[int] = Counter()  # by relay

    async def run(self) -> None:
        """Bring what is there and what comes, without end."""
        bell = self._service.handoffs.bell
        try:
            while True:
                rung = bell.rung
                try:
                    await self._look()
                except ServiceUnavailable as error:
                    log.warning("What is to be relayed is not known.", action="relays_unread", reason=str(error))
                await bell.after(rung, POLL_S)
        finally:
            await self._let_go()

    async def _look(self) -> None:
        handoffs = self._service.handoffs
        if self._tasks:
            await handoffs.hold_relays([(taken.relay_id, taken.fence) for taken in self._tasks.values()])
        for taken in await handoffs.take_relays(self._platform, _AT_ONCE):
            task = asyncio.create_task(self._run(taken), name=f"deliver-relay-{taken.relay_id}")
            self._tasks[task] = taken
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._service.handoffs.bell.ring_here()  # what waited for it may come now

    async def _let_go(self) -> None:
        await end(*self._tasks)

    async def _run(self, taken: Taken) -> None:
        try:
            try:
                await self._bring(taken)
                self._crashes.pop(taken.relay_id, None)
            except DeliveryFailed as error:
                await self._refused(taken, str(error))
        except (LeaseLost, ServiceUnavailable) as error:
            log.warning(
                "A relay is brought later.", action="relay_postponed", relay_id=taken.relay_id, reason=str(error)
            )
        except Exception as error:  # the edge: what cannot be brought must not keep the rest from being brought
            self._crashes[taken.relay_id] += 1
            tried = self._crashes[taken.relay_id]
            log.exception("A relay failed.", action="relay_crashed", relay_id=taken.relay_id, tried=tried)
            if tried >= _MOST_CRASHES:  # else it is taken again when its lease ends
                with contextlib.suppress(LeaseLost, ServiceUnavailable):
                    await self._refused(taken, repr(error))

    async def _refused(self, taken: Taken, reason: str) -> None:
        self._crashes.pop(taken.relay_id, None)
        log.warning(
            "Something of a hand-off cannot be brought.",
            action="relay_refused",
            handoff_id=taken.handoff_id,
            side=taken.side,
            kind=taken.kind,
            reason=reason,
        )
        await self._service.handoffs.relay_refused(taken)

    async def _bring(self, taken: Taken) -> None:
        """Make the platform show it: edit what is there, send what is missing, remove what is left."""
        handoffs, sink = self._service.handoffs, self._sink
        view = await handoffs.handoff(taken.handoff_id)
        shown = list(taken.external_ids)
        posts = await self._posts(taken, view)
        for index, post in enumerate(posts):
            if index < len(taken.external_ids):
                shows = await sink.edit(view, taken.side, shown[index], post)
                if shows == shown[index]:
                    continue
                shown[index] = shows
            else:
                shown.append(await sink.send(view, taken.side, post, nonce(taken, index), again=taken.again))
            await handoffs.note_relay(taken, shown)
            if post.notice:  # what follows belongs below it
                view = await handoffs.handoff(taken.handoff_id)
        while len(shown) > len(posts):
            await sink.remove(view, taken.side, shown.pop())
            await handoffs.note_relay(taken, shown)
        await handoffs.relay_sent(taken)

    async def _posts(self, taken: Taken, view: HandoffView) -> list[Post]:
        settings = await self._service.workspace_settings(view.place)
        lines: list[Line] = []
        if taken.side is Side.STAFF and taken.kind is RelayKind.NOTICE:
            lines = await self._service.handoffs.transcript(view.handoff_id, before_seq=view.opened_seq)
        elif taken.side is Side.STAFF and taken.kind is RelayKind.CLAIMED:
            lines = await self._service.handoffs.transcript(view.handoff_id, view.opened_seq, view.claimed_seq)
        link = await self._sink.link(view) if taken.kind is RelayKind.NOTICE else ""
        return handoff.posts(taken, view, settings, lines, link, self._sink.max_chars)


def nonce(taken: Taken, index: int) -> str:
    """The idempotency key of a message, at most 25 characters: a retry has the same."""
    return f"pjr{taken.relay_id:x}-{index:x}"
