"""What was said: as Speech for the next Prompt, as views for people, and as the Prompt that the model saw.

Reads only. Every function but `turn_view`, `turn_views`, `waiting` and `undelivered_before`, which serve the work inside a bot process, is given the place or the Workspace it may read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import and_, bindparam, select, union_all
from sqlalchemy.orm import Session

from core import recipes
from core.errors import NotFound
from core.faq import finding, matches, passages
from core.faq.finding import Finding, Kept
from core.faq.matches import DecisionView
from core.faq.models import FaqDecision
from core.models import (
    Conversation,
    Delivery,
    Feedback,
    Generation,
    Message,
    MessageRevision,
    Participant,
    RecipeVersion,
    Turn,
    Workspace,
    tables,
)
from core.places import find_conversation
from core.prompts import Answer, PromptRecord, Speech, SpeechReference, render_again
from core.turn_order import in_state
from core.turns import unpack_token_ids
from core.values import FinishReason, Place, Rating, TurnState, Usage

FORGOTTEN = "[…]"
"""Stands in a Prompt shown again for words that were purged since."""


@dataclass(frozen=True, slots=True)
class GenerationView:
    """One answer. `rating` is the asker's own; `finding` is what FAQs gave to it, None where none was asked."""

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
    finding: Finding | None = None


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
    arguments: dict[str, str]
    language: str
    target: dict[str, Any]
    queued_at: datetime
    delivered_at: datetime | None
    answer: GenerationView | None

    @property
    def purged(self) -> bool:
        """Whether the words of the question are not kept any more. No message is empty before."""
        return not self.text


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a Prompt as the model saw it."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a Turn was answered as it was. `exact` is false where words, recipe or persona are no longer the same.

    `messages` are empty where no model was asked; `decision` is what was decided where a FAQ was.
    """

    turn: TurnView
    messages: tuple[PromptMessage, ...]
    exact: bool
    recipe: str
    recipe_version: str
    left_out: int
    budget: int
    sampling: dict[str, Any]
    decision: DecisionView | None = None


# Built once: putting a statement together costs more than SQLite takes to run it.
_MESSAGE, _REVISION, _PERSON, _TURN, _GENERATION = tables(Message, MessageRevision, Participant, Turn, Generation)
_CONVERSATION, _WORKSPACE, _FEEDBACK, _DELIVERY = tables(Conversation, Workspace, Feedback, Delivery)
(_DECISION,) = tables(FaqDecision)
_ANSWER = _GENERATION.alias("any_answer")
_NEWEST_REVISION = and_(_REVISION.c.message_id == _MESSAGE.c.id, _REVISION.c.number == _MESSAGE.c.revision)
_SELECTED = and_(_GENERATION.c.turn_id == _TURN.c.id, _GENERATION.c.selected)

_SAID = (
    select(
        _MESSAGE.c.seq,
        _MESSAGE.c.id.label("message_id"),
        _MESSAGE.c.revision,
        _MESSAGE.c.staff,
        _REVISION.c.text.label("words"),
        _PERSON.c.display_name,
        _GENERATION.c.id.label("generation_id"),
        _GENERATION.c.text.label("answer"),
        _GENERATION.c.token_ids,
        _GENERATION.c.model_revision,
    )
    .select_from(_MESSAGE)
    .join(_REVISION, _NEWEST_REVISION)
    .join(_PERSON, _PERSON.c.id == _MESSAGE.c.participant_id)
    .outerjoin(_TURN, and_(_TURN.c.conversation_id == _MESSAGE.c.conversation_id, _TURN.c.seq == _MESSAGE.c.seq))
    .outerjoin(_GENERATION, _SELECTED)
    .where(
        _MESSAGE.c.conversation_id == bindparam("of_conversation"),
        _MESSAGE.c.seq >= bindparam("from_seq"),
        _MESSAGE.c.seq < bindparam("before_seq"),
    )
    .order_by(_MESSAGE.c.seq)
)


def load_history(
    session: Session, conversation_id: int, cut_seq: int, before_seq: int, model_revision: str
) -> tuple[Speech, ...]:
    """What was said in [`cut_seq`, `before_seq`), oldest first. Token ids only of answers of this model revision."""
    bounds = {"of_conversation": conversation_id, "from_seq": cut_seq, "before_seq": before_seq}
    return tuple(_speech(row, model_revision) for row in session.execute(_SAID, bounds))


def _speech(row: Any, model_revision: str) -> Speech:
    answer = None
    if row.answer:
        same = row.model_revision == model_revision and row.token_ids is not None
        answer = Answer(row.generation_id, row.answer, unpack_token_ids(row.token_ids) if same else None)
    words = row.words or None  # what was purged is empty
    return Speech(row.seq, row.message_id, row.revision, words, row.display_name, answer, row.staff)


_VIEWS = (
    select(
        _TURN,
        _MESSAGE.c.external_id.label("event_id"),
        _REVISION.c.text.label("words"),
        _CONVERSATION.c.external_id.label("conversation"),
        _WORKSPACE.c.platform,
        _WORKSPACE.c.external_id.label("workspace"),
        _FEEDBACK.c.rating,
        _DECISION.c.outcome.label("finding"),
        _DECISION.c.reason.label("finding_reason"),
        _DECISION.c.thresholds.label("finding_told"),
        *(
            _GENERATION.c[name].label(f"answer_{name}")
            for name in (
                "id", "number", "text", "finish_reason", "failure", "model", "model_revision", "prompt_tokens",
                "cached_tokens", "completion_tokens", "timings_ms",
            )
        ),
    )
    .select_from(_TURN)
    .join(_MESSAGE, _MESSAGE.c.id == _TURN.c.message_id)
    .join(_REVISION, _NEWEST_REVISION)
    .join(_CONVERSATION, _CONVERSATION.c.id == _TURN.c.conversation_id)
    .join(_WORKSPACE, _WORKSPACE.c.id == _TURN.c.workspace_id)
    .outerjoin(_GENERATION, _SELECTED)
    .outerjoin(
        _FEEDBACK,
        and_(_FEEDBACK.c.generation_id == _GENERATION.c.id, _FEEDBACK.c.participant_id == _TURN.c.participant_id),
    )
    .outerjoin(_DECISION, _DECISION.c.generation_id == _GENERATION.c.id)
)  # fmt: skip
_VIEW = _VIEWS.where(_TURN.c.id == bindparam("of_turn"))
_PAGE = (
    _VIEWS.where(
        _TURN.c.conversation_id == bindparam("of_conversation"),
        _TURN.c.seq >= bindparam("from_seq"),
        _TURN.c.seq < bindparam("before_seq"),
    )
    .order_by(_TURN.c.seq.desc())
    .limit(bindparam("most"))
)
_THESE = _VIEWS.where(_TURN.c.id.in_(bindparam("these_turns", expanding=True))).order_by(_TURN.c.id)
_ON_PLATFORM = (
    select(_TURN.c.id)
    .join(_WORKSPACE, _WORKSPACE.c.id == _TURN.c.workspace_id)
    .where(_WORKSPACE.c.platform == bindparam("on_platform"))
)
_WAITING = union_all(  # not one condition: each half has an index of its own
    _ON_PLATFORM.where(in_state(_TURN.c.state, *(state for state in TurnState if not state.ended))),
    _ON_PLATFORM.where(
        _TURN.c.delivered_at.is_(None), in_state(_TURN.c.state, *(state for state in TurnState if state.ended))
    ),
)
_THIS_TURN = _TURN.alias("this_turn")
_BEFORE_IT = (
    select(_TURN.c.id, _TURN.c.state)
    .join(_THIS_TURN, and_(_THIS_TURN.c.conversation_id == _TURN.c.conversation_id, _THIS_TURN.c.seq > _TURN.c.seq))
    .where(_THIS_TURN.c.id == bindparam("of_turn"), _THIS_TURN.c.workspace_id == _TURN.c.workspace_id)
)
_UNDELIVERED_BEFORE = union_all(  # as above
    _BEFORE_IT.where(in_state(_TURN.c.state, *(state for state in TurnState if not state.ended))),
    _BEFORE_IT.where(
        _TURN.c.delivered_at.is_(None), in_state(_TURN.c.state, *(state for state in TurnState if state.ended))
    ),
)
_OF_MESSAGE = (
    _VIEWS.where(
        _WORKSPACE.c.platform == bindparam("on_platform"),
        _WORKSPACE.c.external_id == bindparam("in_workspace"),
        _TURN.c.id.in_(
            select(_ANSWER.c.turn_id)
            .join(_DELIVERY, _DELIVERY.c.generation_id == _ANSWER.c.id)
            .where(_DELIVERY.c.external_id == bindparam("as_message"))
        ),
    )
    .order_by(_TURN.c.id.desc())
    .limit(1)
)
_LATEST_OF_PERSON = (
    _VIEWS.where(
        _WORKSPACE.c.platform == bindparam("on_platform"),
        _WORKSPACE.c.external_id == bindparam("in_workspace"),
        _CONVERSATION.c.channel == bindparam("in_channel"),
        _TURN.c.participant_id.in_(
            select(_PERSON.c.id).where(
                _PERSON.c.platform == bindparam("on_platform"), _PERSON.c.external_id == bindparam("of_person")
            )
        ),
        _TURN.c.seq >= _CONVERSATION.c.reset_seq,
    )
    .order_by(_TURN.c.queued_at.desc(), _TURN.c.id.desc())
    .limit(1)
)
_LATEST = {
    "any": _LATEST_OF_PERSON,
    "open": _LATEST_OF_PERSON.where(in_state(_TURN.c.state, *(state for state in TurnState if not state.ended))),
    "answered": _LATEST_OF_PERSON.where(_GENERATION.c.id.is_not(None)),
}
Which = Literal["any", "open", "answered"]
_NO_SEQ = 2**31 - 1


def conversation_view(session: Session, place: Place, limit: int, before_seq: int | None = None) -> list[TurnView]:
    """The last `limit` Turns since the last reset, oldest first; before `before_seq` to page back."""
    conversation = find_conversation(session, place)
    if conversation is None:
        return []
    bounds = {
        "of_conversation": conversation.id,
        "from_seq": conversation.reset_seq,
        "before_seq": _NO_SEQ if before_seq is None else before_seq,
        "most": limit,
    }
    return _views(session, session.execute(_PAGE, bounds).all()[::-1])


def scoped_turn_view(session: Session, place: Place, turn_id: int) -> TurnView:
    """The Turn, if it belongs to the Conversation at `place`. Raises NotFound."""
    view = turn_view(session, turn_id)
    if view.place != place:
        raise NotFound(f"There is no turn {turn_id} in this conversation.")
    return view


def turn_view(session: Session, turn_id: int) -> TurnView:
    """The Turn, wherever it is. Raises NotFound."""
    row = session.execute(_VIEW, {"of_turn": turn_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no turn {turn_id}.")
    return _views(session, [row])[0]


def turn_views(session: Session, turn_ids: Collection[int]) -> list[TurnView]:
    """These Turns, as many as there are, oldest first."""
    return _views(session, session.execute(_THESE, {"these_turns": list(turn_ids)}).all())


def waiting(session: Session, platform: str) -> list[int]:
    """Turns of a platform that are not delivered, ended or not, oldest first."""
    return sorted(session.scalars(_WAITING, {"on_platform": platform}))


def undelivered_before(session: Session, turn_id: int) -> dict[int, TurnState]:
    """The Turns of its Conversation before this one that are not delivered, and whether they have ended."""
    return {row.id: row.state for row in session.execute(_UNDELIVERED_BEFORE, {"of_turn": turn_id})}


def turn_of_message(session: Session, platform: str, workspace: str, external_id: str) -> TurnView | None:
    """The Turn of whose answers a chunk stands on the platform as this message; an earlier answer counts too."""
    values = {"on_platform": platform, "in_workspace": workspace, "as_message": external_id}
    return next(iter(_views(session, session.execute(_OF_MESSAGE, values).all())), None)


def latest_of_person(
    session: Session, platform: str, workspace: str, channel: str, person_id: str, which: Which
) -> TurnView | None:
    """What somebody asked last in any Conversation of a channel since its reset."""
    values = {"on_platform": platform, "in_workspace": workspace, "in_channel": channel, "of_person": person_id}
    return next(iter(_views(session, session.execute(_LATEST[which], values).all())), None)


def _views(session: Session, rows: Sequence[Any]) -> list[TurnView]:
    """The rows as views, with what FAQs gave where one was asked."""
    kept = [
        Kept(r.answer_id, r.finding, r.finding_reason, r.answer_text, r.finding_told)
        for r in rows
        if r.finding is not None
    ]
    found = finding.load(session, kept) if kept else {}
    return [_view(row, found.get(row.answer_id)) for row in rows]


def _view(row: Any, found: Finding | None) -> TurnView:
    place = {"platform": row.platform, "workspace": row.workspace, "conversation": row.conversation}
    return TurnView(
        turn_id=row.id,
        place=Place.model_validate(place),
        participant_id=row.participant_id,
        event_id=row.event_id,
        seq=row.seq,
        state=row.state,
        fence=row.fence,
        failure=row.failure,
        cancel_requested=row.cancel_requested,
        text=row.words,
        recipe=row.recipe,
        arguments=row.arguments,
        language=row.language,
        target=row.target,
        queued_at=row.queued_at,
        delivered_at=row.delivered_at,
        answer=_generation_view(row, found) if row.answer_id is not None else None,
    )


def _generation_view(row: Any, found: Finding | None) -> GenerationView:
    return GenerationView(
        generation_id=row.answer_id,
        number=row.answer_number,
        text=row.answer_text,
        finish_reason=row.answer_finish_reason,
        failure=row.answer_failure,
        model=row.answer_model,
        model_revision=row.answer_model_revision,
        usage=Usage(
            prompt_tokens=row.answer_prompt_tokens,
            cached_tokens=row.answer_cached_tokens,
            completion_tokens=row.answer_completion_tokens,
        ),
        timings_ms=row.answer_timings_ms or {},
        rating=row.rating,
        finding=found,
    )


def explain(session: Session, turn_id: int) -> Explanation:
    """The Prompt of the Turn's selected Generation, rendered again, and what its FAQs decided.

    Raises NotFound where it has no answer yet.
    """
    turn = turn_view(session, turn_id)
    generation = session.get(Generation, turn.answer.generation_id) if turn.answer else None
    decision = matches.of_generation(session, generation.id) if generation else None
    if generation is None or (generation.prompt is None and decision is None):
        raise NotFound(f"Turn {turn_id} has no answer yet.")
    if generation.prompt is None:  # the curated answer, or none: no model was asked
        return Explanation(turn, (), True, turn.recipe, "", 0, 0, {}, decision)
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
        decision=decision,
    )


def _rendered_again(session: Session, record: PromptRecord) -> tuple[tuple[PromptMessage, ...], bool]:
    source = session.get(RecipeVersion, record.recipe_version)
    persona = session.get(RecipeVersion, record.persona_version)
    recipe = recipes.load(record.recipe, {record.recipe: source.source} if source else None)
    speeches = _recall(session, (*record.history, record.newest))
    prompt = render_again(
        record,
        recipe,
        newest=speeches[-1],
        history=speeches[:-1],
        passages=passages.recall(session, record.passages),
        persona=persona.source if persona else "",
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
                staff=message.staff,
            )
        )
    return speeches


def _by_id(rows: Iterable[Any]) -> dict[int, Any]:
    return {row.id: row for row in rows}
