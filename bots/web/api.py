"""The routes under `/api`: each calls the Service or a shared command once for the visitor, and answers in JSON.

Every Turn is looked up in the visitor's own Place: somebody else's is not found.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Header, Query
from starlette.requests import Request

from bots import commands
from bots.explanation import decided, notes
from bots.texts import text, texts
from bots.web.events import EventStream, Position, reply_events
from bots.web.language import language_of
from bots.web.schemas import (
    AnswerBody,
    DocumentBody,
    FactBody,
    FeedbackRequest,
    HistoryBody,
    MessageRequest,
    PromptMessageBody,
    TakenBody,
    TextsBody,
    TurnBody,
    WhyBody,
)
from bots.web.sessions import CurrentVisitor
from bots.web.shown import note_shown, turn_body
from core.history import Explanation
from core.service import Service

router = APIRouter(prefix="/api")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _language(request: Request) -> str:
    return language_of(request.scope)


CurrentService = Annotated[Service, Depends(_service)]
Language = Annotated[str, Depends(_language)]


@router.get("/texts")
async def texts_of_page(language: Language) -> TextsBody:
    """The page's sentences."""
    return TextsBody(language=language, texts=texts("web_", language) | texts("why_", language))


@router.get("/history")
async def history(
    who: CurrentVisitor,
    service: CurrentService,
    language: Language,
    later: BackgroundTasks,
    before_seq: Annotated[int | None, Query(ge=1)] = None,
) -> HistoryBody:
    """The conversation since its last reset. What ended while nobody looked is delivered by this."""
    views = await service.history(who.place, before_seq=before_seq)
    later.add_task(note_shown, service, [view for view in views if view.state.ended and not view.delivered_at])
    return HistoryBody(turns=[await turn_body(service, view, language) for view in views])


@router.post("/messages")
async def say(said: MessageRequest, who: CurrentVisitor, service: CurrentService, language: Language) -> TakenBody:
    """Take a message or a command; the same event id again is the same Turn.

    The id is the visitor's own: two of them may make the same one.
    """
    asker = commands.Asker(who.place, who.person, f"{who.session_id}:{said.event_id}", language)
    return await _taken(service, await commands.handle(service, said.text, asker), language)


@router.get("/turns/{turn_id}")
async def turn(turn_id: int, who: CurrentVisitor, service: CurrentService, language: Language) -> TurnBody:
    """One Turn."""
    return await turn_body(service, await service.turn(who.place, turn_id), language)


@router.get("/turns/{turn_id}/events", response_model=None)
async def events(
    turn_id: int,
    request: Request,
    who: CurrentVisitor,
    service: CurrentService,
    language: Language,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventStream:
    """The Turn's answer as server-sent events: what was shown so far, then live, then the end."""
    view = await service.turn(who.place, turn_id)
    since = Position.parse(last_event_id)
    return EventStream(reply_events(service, view, since, language, request.app.state.closing))


@router.post("/turns/{turn_id}/stop")
async def stop(turn_id: int, who: CurrentVisitor, service: CurrentService, language: Language) -> TurnBody:
    """Stop the answer; what is written so far stays."""
    await service.cancel(who.place, who.person, turn_id)
    return await turn_body(service, await service.turn(who.place, turn_id), language)


@router.post("/turns/{turn_id}/regenerate")
async def regenerate(turn_id: int, who: CurrentVisitor, service: CurrentService, language: Language) -> TakenBody:
    """Answer once more."""
    view = await service.regenerate(who.place, who.person, turn_id)
    return TakenBody(turn=await turn_body(service, view, language))


@router.post("/turns/{turn_id}/choices/{entry_id}")
async def choose(
    turn_id: int, entry_id: int, who: CurrentVisitor, service: CurrentService, language: Language
) -> TakenBody:
    """Ask what was offered below the answer; twice is once."""
    asker = commands.Asker(who.place, who.person, "choice", language)
    asked = await commands.choose(service, await service.turn(who.place, turn_id), entry_id, asker)
    return await _taken(service, asked, language)


@router.post("/turns/{turn_id}/feedback", status_code=204)
async def feedback(turn_id: int, rated: FeedbackRequest, who: CurrentVisitor, service: CurrentService) -> None:
    """Rate the answer, or take the rating back."""
    await service.rate(who.place, who.person, turn_id, rated.rating, rated.comment)


@router.get("/turns/{turn_id}/why")
async def why(turn_id: int, who: CurrentVisitor, service: CurrentService, language: Language) -> WhyBody:
    """Why the Turn was answered so."""
    return _why_body(await service.why(who.place, turn_id), language)


@router.post("/reset", status_code=204)
async def reset(who: CurrentVisitor, service: CurrentService) -> None:
    """Start anew."""
    await service.reset(who.place)


async def _taken(service: Service, outcome: commands.Outcome, language: str) -> TakenBody:
    match outcome:
        case commands.Answering(turn=view):
            return TakenBody(turn=await turn_body(service, view, language))
        case commands.PassedOn():
            return TakenBody(reply=text("handoff_passed_on", language), passed_on=True)
        case commands.Told(text=reply, forgotten=forgotten):
            return TakenBody(reply=reply, forgotten=forgotten)
        case commands.Explained(explanation=explanation):
            return TakenBody(why=explanation.turn.turn_id)
        case commands.Exported(name=name, document=document):
            return TakenBody(document=DocumentBody(name=name, text=document.decode()))


def _why_body(told: Explanation, language: str) -> WhyBody:
    assert told.turn.answer is not None  # `explain` raises NotFound without one
    return WhyBody(
        turn_id=told.turn.turn_id,
        messages=[PromptMessageBody(role=message.role, text=message.text) for message in told.messages],
        answer=AnswerBody.of(told.turn.answer),
        recipe=told.recipe,
        recipe_version=told.recipe_version,
        budget=told.budget,
        sampling=told.sampling,
        notes=notes(told, language),
        decided=[
            FactBody(name=name, value=value.strip())
            for name, value in (decided(told.decision, language) if told.decision else ())
        ],
    )
