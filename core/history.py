"""What was said: as Speech for the next Prompt, as views for people, and as the Prompt that the model saw.

Reads only. Every function but `turn_view` and `undelivered`, which serve reply following inside a bot process, is
given the place it may read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, literal_column, select
from sqlalchemy.orm import Session

from core import recipes
from core.conversations import find_conversation, find_turn
from core.errors import NotFound
from core.models import (
    Conversation,
    Feedback,
    Generation,
    Message,
    MessageRevision,
    Participant,
    RecipeVersion,
    Turn,
    Workspace,
)
from core.prompts import Answer, PromptRecord, Speech, SpeechReference, render_again
from core.turns import unpack_token_ids
from core.values import FinishReason, Place, Rating, TurnState, Usage

FORGOTTEN = "[…]"
"""Stands in a Prompt shown again for words that were purged since."""


@dataclass(frozen=True, slots=True)
class GenerationView:
    """One answer. `rating` is the asker's own."""

    generation_id: int
    number: int
    text: str
    finish_reason: FinishReason | None
    failure: str | None
    model: str | None
    model_revision: str | None
    usage: Usage
    timings_ms: dict[str, float]
    rating: Rating | None


@dataclass(frozen=True, slots=True)
class TurnView:
    """One question and its selected answer. `text` is empty where it was purged."""

    turn_id: int
    place: Place
    participant_id: int
    event_id: str
    seq: int
    state: TurnState
    fence: int
    failure: str | None
    cancel_requested: bool
    text: str
    recipe: str
    language: str
    target: dict[str, Any]
    queued_at: datetime
    delivered_at: datetime | None
    answer: GenerationView | None


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a Prompt as the model saw it."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a Turn was answered as it was. `exact` is false where words, recipe or persona are no longer the same."""

    turn: TurnView
    messages: tuple[PromptMessage, ...]
    exact: bool
    recipe: str
    recipe_version: str
    left_out: int
    budget: int
    sampling: dict[str, Any]


def load_history(
    session: Session, conversation_id: int, cut_seq: int, before_seq: int, model_revision: str
) -> tuple[Speech, ...]:
    """What was said in [`cut_seq`, `before_seq`), oldest first. Token ids only of answers of this model revision."""
    rows = session.execute(
        _said()
        .where(Message.conversation_id == conversation_id, Message.seq >= cut_seq, Message.seq < before_seq)
        .order_by(Message.seq)
    )
    return tuple(
        _speech(message, text, speaker, generation, model_revision) for message, text, speaker, generation in rows
    )


def _said() -> Any:
    return (
        select(Message, MessageRevision.text, Participant.display_name, Generation)
        .join(
            MessageRevision,
            and_(MessageRevision.message_id == Message.id, MessageRevision.number == Message.revision),
        )
        .join(Participant, Participant.id == Message.participant_id)
        .outerjoin(Turn, and_(Turn.conversation_id == Message.conversation_id, Turn.seq == Message.seq))
        .outerjoin(Generation, and_(Generation.turn_id == Turn.id, Generation.selected))
    )


def _speech(
    message: Message, text: str, speaker: str | None, generation: Generation | None, model_revision: str
) -> Speech:
    answer = None
    if generation is not None and generation.text:
        same = generation.model_revision == model_revision and generation.token_ids is not None
        ids = unpack_token_ids(generation.token_ids) if same and generation.token_ids else None
        answer = Answer(generation.id, generation.text, ids)
    words = text if message.deleted_at is None else None
    return Speech(message.seq, message.id, message.revision, words, speaker, answer)


def conversation_view(session: Session, place: Place, limit: int, before_seq: int | None = None) -> list[TurnView]:
    """The last `limit` Turns since the last reset, oldest first; before `before_seq` to page back."""
    conversation = find_conversation(session, place)
    if conversation is None:
        return []
    query = _views().where(Turn.conversation_id == conversation.id, Turn.seq >= conversation.reset_seq)
    if before_seq is not None:
        query = query.where(Turn.seq < before_seq)
    rows = session.execute(query.order_by(Turn.seq.desc()).limit(limit)).all()
    return [_view(*row) for row in reversed(rows)]


def scoped_turn_view(session: Session, place: Place, turn_id: int) -> TurnView:
    """The Turn, if it belongs to the Conversation at `place`. Raises NotFound."""
    return turn_view(session, find_turn(session, place, turn_id).id)


def turn_view(session: Session, turn_id: int) -> TurnView:
    """The Turn, wherever it is. Raises NotFound."""
    row = session.execute(_views().where(Turn.id == turn_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no turn {turn_id}.")
    return _view(*row)


def undelivered(session: Session, platform: str, limit: int) -> list[TurnView]:
    """Turns of a platform that ended while nobody delivered them, oldest first."""
    waiting = (Turn.delivered_at.is_(None), literal_column("turn.state").in_(_ENDED))
    rows = session.execute(_views().where(Workspace.platform == platform, *waiting).order_by(Turn.id).limit(limit))
    return [_view(*row) for row in rows]


# Written out literally, as in the partial index.
_ENDED: list[ColumnElement[TurnState]] = [literal_column(f"'{state}'") for state in TurnState if state.ended]


def _views() -> Any:
    return (
        select(Turn, Message, MessageRevision.text, Conversation, Workspace, Generation, Feedback.rating)
        .join(Message, Message.id == Turn.message_id)
        .join(
            MessageRevision,
            and_(MessageRevision.message_id == Message.id, MessageRevision.number == Message.revision),
        )
        .join(Conversation, Conversation.id == Turn.conversation_id)
        .join(Workspace, Workspace.id == Turn.workspace_id)
        .outerjoin(Generation, and_(Generation.turn_id == Turn.id, Generation.selected))
        .outerjoin(
            Feedback,
            and_(Feedback.generation_id == Generation.id, Feedback.participant_id == Turn.participant_id),
        )
    )


def _view(
    turn: Turn,
    message: Message,
    text: str,
    conversation: Conversation,
    workspace: Workspace,
    generation: Generation | None,
    rating: Rating | None,
) -> TurnView:
    place = Place.model_validate(
        {"platform": workspace.platform, "workspace": workspace.external_id, "conversation": conversation.external_id}
    )
    return TurnView(
        turn_id=turn.id,
        place=place,
        participant_id=turn.participant_id,
        event_id=message.external_id,
        seq=turn.seq,
        state=turn.state,
        fence=turn.fence,
        failure=turn.failure,
        cancel_requested=turn.cancel_requested,
        text=text,
        recipe=turn.recipe,
        language=turn.language,
        target=turn.target,
        queued_at=turn.queued_at,
        delivered_at=turn.delivered_at,
        answer=_generation_view(generation, rating) if generation is not None else None,
    )


def _generation_view(generation: Generation, rating: Rating | None) -> GenerationView:
    return GenerationView(
        generation_id=generation.id,
        number=generation.number,
        text=generation.text,
        finish_reason=generation.finish_reason,
        failure=generation.failure,
        model=generation.model,
        model_revision=generation.model_revision,
        usage=Usage(
            prompt_tokens=generation.prompt_tokens,
            cached_tokens=generation.cached_tokens,
            completion_tokens=generation.completion_tokens,
        ),
        timings_ms=generation.timings_ms or {},
        rating=rating,
    )


def explain(session: Session, turn_id: int) -> Explanation:
    """The Prompt of the Turn's selected Generation, rendered again. Raises NotFound where it has no answer yet."""
    turn = turn_view(session, turn_id)
    generation = session.get(Generation, turn.answer.generation_id) if turn.answer else None
    if generation is None or generation.prompt is None:
        raise NotFound(f"Turn {turn_id} has no answer yet.")
    record = PromptRecord.model_validate(generation.prompt)
    messages, exact = _rendered_again(session, record)
    return Explanation(
        turn=turn,
        messages=messages,
        exact=exact,
        recipe=record.recipe,
        recipe_version=record.recipe_version,
        left_out=record.left_out,
        budget=record.budget,
        sampling=generation.sampling or {},
    )


def _rendered_again(session: Session, record: PromptRecord) -> tuple[tuple[PromptMessage, ...], bool]:
    source = session.get(RecipeVersion, record.recipe_version)
    persona = session.get(RecipeVersion, record.persona_version)
    recipe = recipes.load(record.recipe, {record.recipe: source.source} if source else None)
    speeches = _recall(session, (*record.history, record.newest))
    prompt = render_again(
        record, recipe, newest=speeches[-1], history=speeches[:-1], persona=persona.source if persona else ""
    )
    exact = source is not None and persona is not None and not any(s.text == FORGOTTEN for s in speeches)
    return tuple(PromptMessage(part.role, part.text) for part in prompt.parts), exact


def _recall(session: Session, references: Sequence[SpeechReference]) -> list[Speech]:
    """What the references lead to today; purged words are shown as such."""
    messages = _by_id(session.scalars(select(Message).where(Message.id.in_([r.message_id for r in references]))))
    people = _by_id(
        session.scalars(select(Participant).where(Participant.id.in_([m.participant_id for m in messages.values()])))
    )
    words = {
        (row.message_id, row.number): row.text
        for row in session.scalars(select(MessageRevision).where(MessageRevision.message_id.in_(list(messages))))
    }
    answers = _by_id(
        session.scalars(select(Generation).where(Generation.id.in_([r.generation_id for r in references])))
    )
    speeches = []
    for reference in references:
        message = messages[reference.message_id]
        said = words.get((message.id, reference.revision)) or FORGOTTEN
        answer = answers.get(reference.generation_id) if reference.generation_id else None
        speeches.append(
            Speech(
                seq=message.seq,
                message_id=message.id,
                revision=reference.revision,
                text=said,
                speaker=people[message.participant_id].display_name,
                answer=Answer(answer.id, answer.text or FORGOTTEN) if answer else None,
            )
        )
    return speeches


def _by_id(rows: Iterable[Any]) -> dict[int, Any]:
    return {row.id: row for row in rows}
