"""The visitor's side of a hand-off: how it stands and what is said in it, once or as it happens.

The stream's `said` carries `id: seq`, the place among all that was said, so that a browser which comes back gets what
follows. It ends with the `state` that is no longer open.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query
from starlette.requests import Request

from bots import handoff
from bots.talking import listen, plain
from bots.texts import text
from bots.web.api import CurrentService, Language
from bots.web.events import PING, EventStream, encode, until
from bots.web.schemas import HandoffBody, LineBody, TalkBody
from bots.web.sessions import CurrentVisitor
from core.errors import PajamaError
from core.handoffs.transcripts import Line, Speaker
from core.handoffs.views import HandoffView
from core.service import Service
from core.values import Place

router = APIRouter(prefix="/api/handoff")
log = structlog.get_logger(__name__)

After = Annotated[int, Query(ge=0, le=10**9)]
_HUMAN = "👤 "
"""Marks a human in words; a page shows it by other means."""
_SEQ = re.compile(r"\d{1,9}", re.ASCII)


@router.get("")
async def shown(who: CurrentVisitor, service: CurrentService, language: Language, after: After = 0) -> TalkBody:
    """How it stands, and what was said after a place among all that was said."""
    view = await service.handoffs.standing(who.place)
    lines = await service.handoffs.said(who.place, after)
    return TalkBody(
        handoff=await _handoff_body(service, view, language), said=[_line_body(line, language) for line in lines]
    )


@router.get("/events", response_model=None)
async def events(
    request: Request,
    who: CurrentVisitor,
    service: CurrentService,
    language: Language,
    after: After = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventStream:
    """The same as server-sent events, for as long as it is open."""
    since = int(last_event_id) if _SEQ.fullmatch(last_event_id or "") and last_event_id else after
    told = _told(service, who.place, since, language)
    return EventStream(_until_closed(request, told))


async def _until_closed(request: Request, told: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """A service that goes away ends the stream: the browser comes back."""
    try:
        async with aclosing(until(request.app.state.closing, told)) as each:
            async for event in each:
                yield PING if event is None else event
    except PajamaError as error:
        log.warning("An event stream broke off.", action="stream_lost", reason=str(error))


async def _told(service: Service, place: Place, since: int, language: str) -> AsyncGenerator[bytes]:
    async with aclosing(listen(service, place, since)) as news:
        async for heard in news:
            for line in heard.lines:
                yield encode("said", _line_body(line, language).model_dump(mode="json"), line.seq)
            body = await _handoff_body(service, heard.view, language)
            yield encode("state", {"handoff": body.model_dump(mode="json") if body else None})
            if heard.view is None or not heard.view.open:
                return


async def _handoff_body(service: Service, view: HandoffView | None, language: str) -> HandoffBody | None:
    if view is None:
        return None
    sentence = handoff.standing(view, await service.workspace_settings(view.place), language)
    return (
        HandoffBody(handoff_id=view.handoff_id, state=view.state, sentence=plain(sentence).removeprefix(_HUMAN))
        if sentence
        else None
    )


def _line_body(line: Line, language: str) -> LineBody:
    nobody = "handoff_staff" if line.speaker is Speaker.STAFF else "handoff_somebody"
    return LineBody.of(line, name=line.name or text(nobody, language))
