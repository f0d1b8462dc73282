"""Delivery: an answer onto a platform that keeps messages, each chunk once, also across crashes.

Knows the ledger's order: written before each send, completed after it. A crash between the two sends again with the
same nonce, which the platform (or the sink, by looking it up) recognises. Knows no platform: that is the ReplySink.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from bots.answers import choices_of, shown
from bots.replies import watch
from bots.splitting import ended, split
from bots.texts import failure_sentence, text
from core.errors import DeliveryFailed, ServiceUnavailable
from core.faq.finding import Choice
from core.history import TurnView
from core.service import Service
from core.values import FinishReason, TurnState

log = structlog.get_logger(__name__)

_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 10.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """One message's worth of an answer. `nonce` is the same for every try to send it; `final`: it will not change.

    `last`: nothing of the answer follows it as yet, so that buttons belong below it. `whole` is the whole answer where
    that is too long for messages: it goes with this chunk as a file, and `text` says so at its end. `choices` are
    what may be chosen below it.
    """

    turn_id: int
    index: int
    text: str
    nonce: str
    final: bool
    last: bool = True
    whole: str | None = None
    choices: tuple[Choice, ...] = ()
    again: bool = False
    """Whether a process that crashed may have sent it: a platform that knows no nonces is asked for it first."""


class ReplySink(Protocol):
    """Where a platform puts an answer.

    Its methods retry what is worth it, and raise DeliveryFailed where the platform will never take it. An answer of
    more than `max_chunks` messages is cut there, and its last message carries all of it as a file. Both limits may change
    where the platform refuses what is within them: the answer is then cut anew.
    """

    max_chars: int | None
    max_chunks: int | None
    cuts: Sequence[int] = ()
    """Smaller limits of the first messages, where the platform ends them early; what was cut so stays so."""

    def edit_interval_s(self) -> float:
        """How soon after an edit the next one may come; asked after each."""

    async def ready(self, chunk: Chunk) -> bool:
        """Whether to send a chunk that will change; if not, it is asked again later, and sent when it is final."""
        return True

    async def send(self, chunk: Chunk) -> str:
        """Make a new message and return the platform's id of it; the same nonce again is the same message."""

    async def edit(self, external_id: str, chunk: Chunk) -> str | None:
        """Give the message another text, or take it for final. The id of a new message, where one had to replace it."""

    async def remove(self, external_id: str) -> None:
        """Take a message away that is no part of the answer any more. One that is gone already is no error."""

    async def notice(self, sentence: str, nonce: str, *, quiet: bool = False) -> None:
        """Tell something that is no part of the answer: an apology, that it was stopped.

        `quiet`: whoever asked knows it already, and is not to be called by it.
        """


def nonce(generation_id: int, chunk: int) -> str:
    """The idempotency key of a chunk, at most 25 characters: a retry has the same, a regeneration another."""
    return f"pj{generation_id:x}-{chunk:x}"


def notice_nonce(turn: TurnView) -> str:
    """The idempotency key of what is told at the Turn's end, at most 25 characters."""
    return f"pjt{turn.turn_id:x}-{turn.fence:x}"


async def deliver(service: Service, turn: TurnView, sink: ReplySink) -> TurnView:
    """Bring the Turn's answer, or the apology for it, to the platform and note it. Returns the ended Turn.

    A Turn that is asked for again before its end is noted is followed to its next end. Raises DeliveryFailed,
    DatabaseUnavailable; what was not noted is delivered by `Courier.resume`.
    """
    while True:
        ledger = _Ledger(service, sink, turn)  # anew: an answer that was complete is not retracted for the next one
        if turn.fence:  # else nothing ever was an answer to it
            await ledger.take_away()
        async with aclosing(watch(service, turn.turn_id, known=turn, pace=sink.edit_interval_s)) as updates:
            async for update in updates:
                if update.turn is None:
                    await ledger.show(update.generation_id, update.text)
                else:
                    turn = update.turn
        if await _end(service, turn, sink, ledger):
            return turn
        turn = await service.turn_status(turn.turn_id)


async def deliver_surely(service: Service, turn: TurnView, sink: ReplySink) -> None:
    """`deliver`, tried again while a service is away; what the platform will never take is logged and given up."""
    retry_s, refused = _FIRST_RETRY_S, False
    while True:
        try:
            await (_give_up(service, turn) if refused else deliver(service, turn, sink))
        except DeliveryFailed as error:
            log.warning(
                "A turn cannot be delivered.", action="delivery_failed", turn_id=turn.turn_id, reason=str(error)
            )
            refused = True
        except ServiceUnavailable as error:
            log.warning("A delivery waits.", action="delivery_postponed", turn_id=turn.turn_id, reason=str(error))
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
        else:
            return


async def _give_up(service: Service, turn: TurnView) -> TurnView:
    """Note a Turn as delivered once it has ended, so that nobody tries to bring it to the platform again."""
    while not await service.ledger.delivered(turn.turn_id, turn.fence, removed=None):
        async with aclosing(watch(service, turn.turn_id)) as updates:
            async for update in updates:
                turn = update.turn or turn
    return turn


async def _end(service: Service, turn: TurnView, sink: ReplySink, ledger: _Ledger) -> bool:
    """Show what SQL holds as the end, with an apology where it is due, and note that the person has it.

    False where the Turn was asked for again, or its question deleted, meanwhile.
    """
    answer = turn.answer
    if turn.purged and turn.state is TurnState.DONE:
        if turn.delivered_at is None and not ledger.took_away:
            await sink.notice(text("answer_not_kept", turn.language), notice_nonce(turn))
    elif answer is not None and (turn.state is TurnState.DONE or answer.finish_reason in _BROKEN_OFF):
        await ledger.show(answer.generation_id, shown(turn), final=True, choices=choices_of(turn))
    else:  # nothing was kept of this try; an answer of an earlier one stands where it stood
        await ledger.retract()
    if turn.state is TurnState.FAILED:
        await sink.notice(failure_sentence(turn.failure, turn.language), notice_nonce(turn))
    elif turn.state is TurnState.CANCELLED and not turn.purged:  # of a question that is gone nothing is told
        await sink.notice(text("stopped", turn.language), notice_nonce(turn), quiet=True)
    await ledger.take_away()
    noted = await service.ledger.delivered(turn.turn_id, turn.fence, ledger.removed)
    if noted:
        log.info("A turn was delivered.", action="turn_delivered", turn_id=turn.turn_id, state=turn.state)
    return noted


_BROKEN_OFF = (FinishReason.CANCELLED, FinishReason.ERROR)


@dataclass(frozen=True, slots=True)
class _Standing:
    """A message of the answer on the platform. `chunk` is what it shows, None where that is not known."""

    external_id: str
    chunk: Chunk | None = None


class _Ledger:
    """What of one answer stands on the platform, and in SQL that it does."""

    def __init__(self, service: Service, sink: ReplySink, turn: TurnView) -> None:
        self._service, self._sink, self._turn_id, self._language = service, sink, turn.turn_id, turn.language
        self._generation_id: int | None = None
        self._standing: list[_Standing] = []
        self._begun: set[int] = set()  # chunks that a process may have sent before it crashed
        self.removed: set[str] = set()
        self.took_away = False
        """Whether the question was deleted, or asked in other words, after something was an answer to it."""

    async def show(
        self, generation_id: int | None, words: str, *, final: bool = False, choices: tuple[Choice, ...] = ()
    ) -> None:
        """Make the platform show `words`: edit what differs, send what is missing, at the end remove what is left."""
        if generation_id is None:
            return
        if generation_id != self._generation_id:
            await self.retract()
            await self._open(generation_id)
        chunks = self._chunks(generation_id, words, final=final, choices=choices)
        if len(chunks) < len(self._standing) and not final:
            return  # an answer that is read or made anew has not come as far yet
        while not await self._bring(generation_id, chunks):
            chunks = self._chunks(generation_id, words, final=final, choices=choices)
        if final:
            await self._remove_from(len(chunks))

    async def _bring(self, generation_id: int, chunks: Sequence[Chunk]) -> bool:
        """Edit and send these; False, and not all of them, where the sink's limits have changed."""
        limits = self._sink.max_chars, self._sink.max_chunks
        for chunk in chunks:
            if chunk.index < len(self._standing):
                await self._edit(generation_id, chunk)
            elif chunk.final or chunk.index in self._begun or await self._sink.ready(chunk):
                await self._send(generation_id, chunk)
            if (self._sink.max_chars, self._sink.max_chunks) != limits:
                return False
        return True

    async def retract(self) -> None:
        """Take away what stands there: it is no answer any more."""
        await self._remove_from(0)

    async def take_away(self) -> None:
        """Take away what was an answer to another wording, or to a question that is deleted.

        What the platform will not take away stays: the answer of now does not depend on it.
        """
        stale = await self._service.ledger.to_remove(self._turn_id)
        self.took_away = self.took_away or bool(stale)
        for external_id in stale:
            if external_id in self.removed:
                continue
            try:
                await self._sink.remove(external_id)
            except DeliveryFailed as error:
                reason = str(error)
                log.info("A message stays.", action="remove_refused", turn_id=self._turn_id, reason=reason)
            self.removed.add(external_id)
        self._standing = [each for each in self._standing if each.external_id not in self.removed]

    def _chunks(self, generation_id: int, words: str, *, final: bool, choices: tuple[Choice, ...]) -> list[Chunk]:
        pieces = split(words, self._sink.max_chars, self._sink.cuts)
        kept = pieces[: self._sink.max_chunks]
        last, in_file = len(kept) - 1, final and len(kept) < len(pieces)
        if in_file:
            kept[last] = ended(kept[last], self._sink.max_chars, text("rest_in_file", self._language))
        return [
            Chunk(
                turn_id=self._turn_id,
                index=index,
                text=piece,
                nonce=nonce(generation_id, index),
                final=final or index < last,
                last=index == last,
                whole=words if in_file and index == last else None,
                choices=choices if index == last else (),
            )
            for index, piece in enumerate(kept)
        ]

    async def _open(self, generation_id: int) -> None:
        rows = await self._service.ledger.of_generation(generation_id)
        self._generation_id = generation_id
        self._standing = [_Standing(row.external_id) for row in rows if row.external_id is not None]
        self._begun = {row.chunk for row in rows if row.external_id is None}

    async def _send(self, generation_id: int, chunk: Chunk) -> None:
        await self._service.ledger.sending(generation_id, chunk.index)
        external_id = await self._sink.send(replace(chunk, again=chunk.index in self._begun))
        await self._service.ledger.sent(generation_id, chunk.index, external_id)
        if chunk.index in self._begun:  # the platform may have answered with the message of then, as it was then
            external_id = await self._edited(generation_id, external_id, chunk)
        self._standing.append(_Standing(external_id, chunk))

    async def _edit(self, generation_id: int, chunk: Chunk) -> None:
        standing = self._standing[chunk.index]
        if standing.chunk != chunk:
            external_id = await self._edited(generation_id, standing.external_id, chunk)
            self._standing[chunk.index] = _Standing(external_id, chunk)

    async def _edited(self, generation_id: int, external_id: str, chunk: Chunk) -> str:
        """The id of the message that shows the chunk now."""
        replaced_by = await self._sink.edit(external_id, chunk)
        if replaced_by is None:
            return external_id
        await self._service.ledger.sent(generation_id, chunk.index, replaced_by)
        return replaced_by

    async def _remove_from(self, index: int) -> None:
        while len(self._standing) > index:
            await self._sink.remove(self._standing[-1].external_id)
            self.removed.add(self._standing.pop().external_id)
