"""Delivery: an answer onto a platform that keeps messages, each chunk once, also across crashes.

Knows the ledger's order: written before each send, completed after it. A crash between the two sends again with the
same nonce, which the platform (or the sink, by looking it up) recognises. Knows no platform: that is the ReplySink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from bots.replies import ReplyUpdate, watch
from bots.splitting import split
from bots.texts import failure_sentence, text
from core.history import TurnView
from core.service import Service
from core.values import DeliveryState, TurnState

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One message's worth of an answer. `nonce` is the same for every try to send it; `final`: it will not change."""

    index: int
    text: str
    nonce: str
    final: bool


class ReplySink(Protocol):
    """Where a platform puts an answer. Its methods retry what is worth it and raise what is not."""

    max_chars: int | None
    min_edit_interval_s: float

    async def send(self, chunk: Chunk) -> str:
        """Make a new message and return the platform's id of it; the same nonce again is the same message."""

    async def edit(self, external_id: str, chunk: Chunk) -> None:
        """Give the message another text."""

    async def remove(self, external_id: str) -> None:
        """Take the message away: the answer was started over and became shorter."""

    async def notice(self, sentence: str) -> None:
        """Tell something that is no part of the answer: an apology, that it was stopped."""


def nonce(generation_id: int, chunk: int) -> str:
    """The idempotency key of a chunk, at most 25 characters: a retry has the same, a regeneration another."""
    return f"pj{generation_id:x}-{chunk:x}"[:25]


async def deliver(service: Service, turn: TurnView, sink: ReplySink) -> TurnView:
    """Bring the Turn's answer, or the apology for it, to the platform and note it. Returns the ended Turn."""
    ledger = _Ledger(service, sink)
    async for update in watch(service, turn.turn_id, known=turn, interval_s=sink.min_edit_interval_s):
        await ledger.show(update)
        if update.turn is not None:
            await _close(service, update.turn, sink)
            return update.turn
    raise AssertionError("watch always ends with a final update")


async def resume_undelivered(service: Service, platform: str, sink_for: Callable[[TurnView], ReplySink]) -> int:
    """Deliver what was finished while no bot of `platform` ran. Returns how many Turns."""
    waiting = await service.undelivered(platform)
    for turn in waiting:
        await deliver(service, turn, sink_for(turn))
    return len(waiting)


async def _close(service: Service, turn: TurnView, sink: ReplySink) -> None:
    if turn.state is TurnState.FAILED:
        await sink.notice(failure_sentence(turn.failure, turn.language))
    elif turn.state is TurnState.CANCELLED:
        await sink.notice(text("stopped", turn.language))
    await service.mark_delivered(turn.turn_id, turn.fence)
    log.info("A turn was delivered.", action="turn_delivered", turn_id=turn.turn_id, state=turn.state)


class _Ledger:
    """What of one answer stands on the platform, and in SQL that it does."""

    def __init__(self, service: Service, sink: ReplySink) -> None:
        self._service, self._sink = service, sink
        self._generation_id: int | None = None
        self._sent: list[tuple[str, str | None]] = []  # platform's id, text that stands there if known

    async def show(self, update: ReplyUpdate) -> None:
        """Make the platform show `update`: edit what differs, send what is missing, remove what is too much."""
        if update.generation_id is None:
            return
        if update.generation_id != self._generation_id:
            await self._open(update.generation_id)
        chunks = split(update.text, self._sink.max_chars)
        for index, words in enumerate(chunks):
            last = index == len(chunks) - 1
            chunk = Chunk(index, words, nonce(update.generation_id, index), final=update.final or not last)
            await (self._edit(chunk) if index < len(self._sent) else self._send(update.generation_id, chunk))
        if update.final:
            for external_id, _ in self._sent[len(chunks) :]:
                await self._sink.remove(external_id)

    async def _open(self, generation_id: int) -> None:
        rows = await self._service.deliveries(generation_id)
        self._generation_id = generation_id
        self._sent = [(row.external_id, None) for row in rows if row.state is DeliveryState.SENT and row.external_id]

    async def _send(self, generation_id: int, chunk: Chunk) -> None:
        await self._service.delivery_sending(generation_id, chunk.index)
        external_id = await self._sink.send(chunk)
        await self._service.delivery_sent(generation_id, chunk.index, external_id)
        self._sent.append((external_id, chunk.text))

    async def _edit(self, chunk: Chunk) -> None:
        external_id, shown = self._sent[chunk.index]
        if shown != chunk.text:
            await self._sink.edit(external_id, chunk)
            self._sent[chunk.index] = (external_id, chunk.text)
