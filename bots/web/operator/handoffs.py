"""The routes of the inbox: who needs a human, what was said, and claiming, answering and giving back.

An operator is one of staff by the name that they give: the key is the same for all, and there are no accounts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from bots.talking import POLL_S
from bots.texts import text
from bots.web.api import CurrentService, Language
from bots.web.events import PING, EventStream, encode, until
from bots.web.operator.badges import PATH
from bots.web.operator.collections import Office
from bots.web.operator.schemas import ConversationBody, InboxBody, InboxRowBody, StaffRequest, WordsRequest
from bots.web.operator.signing_in import OPERATORS_ONLY
from bots.web.refusals import Refused
from bots.web.schemas import LineBody
from core.bell import Bell
from core.handoffs.transcripts import Line, Speaker
from core.handoffs.views import HandoffView
from core.service import Service
from core.values import Person, Staff, clean_text

router = APIRouter(prefix=f"{PATH}/api/handoffs", dependencies=OPERATORS_ONLY)

SHORTENED_CHARS = 200


@router.get("")
async def inbox(
    service: CurrentService, office: Office, workspace: Annotated[str, Query(max_length=300)] = ""
) -> InboxBody:
    """Who waits for a human or has one, of one Workspace or of all."""
    platform, _, external_id = workspace.partition(":")
    views = await service.handoffs.open_handoffs(platform or None, external_id or None)
    words = await service.handoffs.last_words([view.handoff_id for view in views])
    rows = [InboxRowBody.of(view, _shortened(words.get(view.handoff_id))) for view in views]
    return InboxBody(handoffs=rows, workspaces=await office.workspaces())


@router.get("/events", response_model=None)
async def events(request: Request, service: CurrentService) -> EventStream:
    """Server-sent events without any words: whoever gets `look` may find something new."""
    return EventStream(_until_closed(request, _looks(service.handoffs.bell)))


@router.get("/{handoff_id}")
async def one(handoff_id: int, service: CurrentService, language: Language) -> ConversationBody:
    """One hand-off, with what was said."""
    return await _conversation(service, await service.handoffs.handoff(handoff_id), language)


@router.post("/{handoff_id}/claim")
async def claim(handoff_id: int, given: StaffRequest, service: CurrentService, language: Language) -> ConversationBody:
    """Take it; somebody else who has it keeps it."""
    view = await service.handoffs.handoff(handoff_id)
    return await _conversation(service, await service.handoffs.claim(view.place, handoff_id, _staff(given)), language)


@router.post("/{handoff_id}/words")
async def say(handoff_id: int, given: WordsRequest, service: CurrentService, language: Language) -> ConversationBody:
    """Bring the person some words; the same event again brings them once."""
    view = await service.handoffs.handoff(handoff_id)
    await service.handoffs.staff_says(
        view.place, handoff_id, _staff(given), f"operator:{handoff_id}:{given.event_id}", given.text
    )
    return await _conversation(service, view, language)


@router.post("/{handoff_id}/release")
async def release(
    handoff_id: int, given: StaffRequest, service: CurrentService, language: Language
) -> ConversationBody:
    """Give it back to the assistant."""
    view = await service.handoffs.handoff(handoff_id)
    return await _conversation(service, await service.handoffs.release(view.place, handoff_id, _staff(given)), language)


def _staff(given: StaffRequest) -> Staff:
    """One of staff by their name: the same name is the same Participant. Raises Refused where nothing is left of it."""
    name = clean_text(given.name)
    if not name:
        raise Refused(422, "invalid")
    identity = sha256(name.encode()).hexdigest()[:20]
    return Staff(platform="web", person=Person(id=f"operator-{identity}", display_name=name))


async def _conversation(service: Service, view: HandoffView, language: str) -> ConversationBody:
    lines = await service.handoffs.transcript(view.handoff_id)
    # What somebody asks the assistant afterwards is not for staff.
    said = [line for line in lines if view.released_at is None or line.said_at <= view.released_at]
    return ConversationBody(
        handoff=InboxRowBody.of(view), said=[LineBody.of(line, name=_name(line, language)) for line in said]
    )


def _name(line: Line, language: str) -> str:
    if line.speaker is Speaker.ASSISTANT:
        return text("handoff_assistant", language)
    return line.name or text("handoff_staff" if line.speaker is Speaker.STAFF else "operator_handoff_person", language)


def _shortened(line: Line | None) -> str:
    words = line.text if line is not None else ""
    return words if len(words) <= SHORTENED_CHARS else f"{words[: SHORTENED_CHARS - 1]}…"


async def _looks(bell: Bell) -> AsyncGenerator[bytes]:
    while True:
        rung = bell.rung
        yield encode("look", {})
        await bell.after(rung, POLL_S)


async def _until_closed(request: Request, looks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async for event in until(request.app.state.closing, looks):
        yield PING if event is None else event
