"""Server-sent events of one Turn: what was shown so far, then live, then the end.

`state` says where the Turn waits. `text` carries `id: fence:offset`, where `offset` is the end of what has been sent,
in code points: a browser that comes back says which it had last, and gets what follows. A greater fence starts the
answer over; those of one fence add up to the answer of a Turn that is done. The stream finishes with `end`, the whole
Turn as SQL has it. Knows no session; how a Turn reads is `shown`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import structlog
from starlette.responses import StreamingResponse
from starlette.types import Send

from bots.replies import watch
from bots.web.shown import note_shown, status_of, turn_body
from core.errors import PajamaError
from core.history import TurnView
from core.service import Service
from core.tasks import end
from core.values import TurnState

T = TypeVar("T")

TICK_S = 3.0
"""After so long without text the browser is told how many are ahead now, or at least that the server is there."""

PING = b": ping\n\n"

log = structlog.get_logger(__name__)

_EVENT_ID = re.compile(r"(\d{1,18}):(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """How far an answer has been sent."""

    fence: int = 0
    offset: int = 0

    @classmethod
    def parse(cls, event_id: str | None) -> Position:
        """The position that a browser sends back; the start where it sends none or something else."""
        match = _EVENT_ID.fullmatch(event_id or "")
        return cls(int(match[1]), int(match[2])) if match else cls()

    def __str__(self) -> str:
        return f"{self.fence}:{self.offset}"


class Progress:
    """What of an answer has been sent, so that each character goes out once."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self.begun = False

    def advance(self, fence: int, text: str) -> bytes | None:
        """The event that brings a browser from its position to `text`, the whole answer of `fence` so far."""
        start = self.position.offset if fence == self.position.fence else 0
        if fence < self.position.fence or len(text) <= start:
            return None
        self.begun, self.position = True, Position(fence, len(text))
        return encode("text", {"fence": fence, "offset": start, "text": text[start:]}, self.position)


class EventStream(StreamingResponse):
    """Server-sent events of a generator, which is closed when the browser leaves as well."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._events = events

    async def stream_response(self, send: Send) -> None:
        """Send every event, then let go of what they came from."""
        try:
            await super().stream_response(send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._events.aclose()


async def reply_events(
    service: Service, view: TurnView, since: Position, language: str, closing: asyncio.Event
) -> AsyncGenerator[bytes]:
    """The events of a Turn from `since` on, to its end or until `closing` is set.

    A service that goes away ends them without `end`: the browser comes back and is told.
    """
    try:
        async with aclosing(_events(service, view, since, language, closing)) as events:
            async for event in events:
                yield event
    except PajamaError as error:
        log.warning("An event stream broke off.", action="stream_lost", turn_id=view.turn_id, reason=str(error))


async def _events(
    service: Service, view: TurnView, since: Position, language: str, closing: asyncio.Event
) -> AsyncGenerator[bytes]:
    progress = Progress(since)
    yield await _state(service, view, language)
    async with aclosing(until(closing, watch(service, view.turn_id, known=view))) as updates:
        async for update in updates:
            if update is None:
                yield (
                    PING if progress.begun else await _state(service, await service.turn_status(view.turn_id), language)
                )
                continue
            # After a failure SQL may hold an earlier answer, which does not continue what was sent.
            whole = update.turn is None or update.turn.state is TurnState.DONE
            if whole and (event := progress.advance(update.fence, update.text)):
                yield event
            if update.turn is not None:
                yield encode("end", (await turn_body(service, update.turn, language)).model_dump(mode="json"))
                with anyio.CancelScope(shield=True):  # the page hangs up as soon as it has the end
                    await note_shown(service, [update.turn])


async def _state(service: Service, view: TurnView, language: str) -> bytes:
    return encode("state", {"state": view.state, "status": await status_of(service, view, language)})


def encode(event: str, data: dict[str, Any], event_id: object = None) -> bytes:
    """One event on the wire. JSON holds no line break of its own, so one `data` line is enough."""
    id_line = f"id: {event_id}\n" if event_id is not None else ""
    return f"event: {event}\n{id_line}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def until(closing: asyncio.Event, source: AsyncGenerator[T], tick_s: float = TICK_S) -> AsyncGenerator[T | None]:
    """What `source` yields until it ends or `closing` is set; None whenever nothing came for `tick_s`."""
    closed = asyncio.ensure_future(closing.wait())
    item: asyncio.Future[T] | None = None
    try:
        while not closing.is_set():
            item = item or asyncio.ensure_future(anext(source))
            either: set[asyncio.Future[Any]] = {closed, item}
            await asyncio.wait(either, timeout=tick_s, return_when=asyncio.FIRST_COMPLETED)
            if item.done():
                arrived, item = item.result(), None
                yield arrived
            elif not closing.is_set():
                yield None
    except StopAsyncIteration:
        return
    finally:
        await end(closed, item)
        await source.aclose()
