"""What people do to a Conversation: say, edit, delete, cancel, regenerate, reset.

Knows the rows and their order. Every function is given the Workspace's place and touches nothing outside of it. What
is said twice under the same event id is the same Turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core.errors import Busy, Conflict, NotAllowed, NotFound
from core.models import (
    Base,
    Conversation,
    Generation,
    Message,
    MessageRevision,
    Participant,
    Turn,
    Workspace,
)
from core.turns import count_queued, in_state
from core.values import FinishReason, InboundMessage, Person, Place, TurnState

Row = TypeVar("Row", bound=Base)


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many Turns may wait, in all and of one Participant."""

    turns: int
    turns_per_person: int


@dataclass(frozen=True, slots=True)
class Received:
    """The Turn that a message became. `ahead` is how many queued Turns are older."""

    turn_id: int
    conversation_id: int
    state: TurnState
    ahead: int
    duplicate: bool = False


def receive(session: Session, message: InboundMessage, text: str, limits: QueueLimits, now: datetime) -> Received:
    """Store `message`, whose cleaned text is `text`, and its Turn. Raises Busy; the same event again is no error."""
    known = session.scalar(select(Turn).where(Turn.source_key == _source_key(message)))
    if known is not None:
        return Received(known.id, known.conversation_id, known.state, queue_position(session, known.id), duplicate=True)
    person = _participant(session, message, now)
    _refuse_when_full(session, person.id, limits)
    conversation = _conversation(session, message, now)
    seq = _next_seq(session, conversation.id)
    stored = Message(
        conversation_id=conversation.id, participant_id=person.id, seq=seq, external_id=message.event_id, created_at=now
    )
    session.add(stored)
    session.flush()
    session.add(MessageRevision(message_id=stored.id, number=1, text=text, created_at=now))
    turn = Turn(
        source_key=_source_key(message),
        workspace_id=conversation.workspace_id,
        conversation_id=conversation.id,
        participant_id=person.id,
        message_id=stored.id,
        seq=seq,
        recipe=message.recipe,
        arguments=message.arguments,
        language=message.language,
        target=message.target,
        queued_at=now,
    )
    session.add(turn)
    session.flush()
    return Received(turn.id, conversation.id, TurnState.QUEUED, queue_position(session, turn.id))


def edit(session: Session, place: Place, event_id: str, text: str, now: datetime) -> Turn | None:
    """Give the message a new wording and its Turn, if it has one, back to the queue. None: not known or deleted."""
    message = _message(session, place, event_id)
    if message is None or message.deleted_at is not None:
        return None
    message.revision += 1
    session.add(MessageRevision(message_id=message.id, number=message.revision, text=text, created_at=now))
    turn = session.scalar(select(Turn).where(Turn.message_id == message.id).with_for_update())
    if turn is not None:
        _requeue(session, turn, now)
    return turn


def delete(session: Session, place: Place, event_id: str, now: datetime) -> Turn | None:
    """Purge the message's text and withdraw its Turn. None: not known, or it had no Turn."""
    message = _message(session, place, event_id)
    if message is None:
        return None
    message.deleted_at = message.deleted_at or now
    session.execute(update(MessageRevision).where(MessageRevision.message_id == message.id).values(text=""))
    turn = session.scalar(select(Turn).where(Turn.message_id == message.id).with_for_update())
    if turn is not None:
        withdraw(session, turn, now)
    return turn


def cancel(session: Session, place: Place, person: Person, turn_id: int, now: datetime) -> Turn:
    """Cancel a queued Turn, or ask the worker of a running one to; an ended one stays as it is.

    Raises NotFound, and NotAllowed for anyone but the asker.
    """
    turn = _asked_by(session, place, person, turn_id)
    _cancel(session, turn, now)
    return turn


def regenerate(session: Session, place: Place, person: Person, turn_id: int, now: datetime) -> Turn:
    """Put an ended Turn back to the queue for another Generation. Raises NotFound, NotAllowed, and Conflict if open."""
    turn = _asked_by(session, place, person, turn_id)
    if not turn.state.ended:
        raise Conflict(f"Turn {turn_id} is {turn.state}: it is being answered already.")
    if session.get_one(Message, turn.message_id).deleted_at is not None:
        raise NotFound(f"The message of turn {turn_id} was deleted.")
    _requeue(session, turn, now)
    return turn


def reset(session: Session, place: Place) -> None:
    """Start anew: Turns from now on see nothing of what was said before."""
    conversation = find_conversation(session, place)
    if conversation is not None:
        conversation.cut_seq = conversation.reset_seq = conversation.next_seq


def queue_position(session: Session, turn_id: int) -> int:
    """How many queued Turns are older than this queued one; 0 for one that does not wait."""
    turn = session.get(Turn, turn_id)
    if turn is None or turn.state is not TurnState.QUEUED:
        return 0
    older = select(func.count()).where(
        in_state(Turn, TurnState.QUEUED),
        (Turn.queued_at < turn.queued_at) | ((Turn.queued_at == turn.queued_at) & (Turn.id < turn.id)),
    )
    return session.scalar(older) or 0


def find_conversation(session: Session, place: Place) -> Conversation | None:
    """The Conversation at `place`, if anything was said there."""
    return session.scalar(
        select(Conversation)
        .join(Workspace, Workspace.id == Conversation.workspace_id)
        .where(
            Workspace.platform == place.platform,
            Workspace.external_id == place.workspace,
            Conversation.external_id == place.conversation,
        )
    )


def find_turn(session: Session, place: Place, turn_id: int, *, lock: bool = False) -> Turn:
    """The Turn, if it belongs to the Conversation at `place`. Raises NotFound."""
    conversation = find_conversation(session, place)
    turn = session.get(Turn, turn_id, with_for_update=lock or None)
    if conversation is None or turn is None or turn.conversation_id != conversation.id:
        raise NotFound(f"There is no turn {turn_id} in this conversation.")
    return turn


def find_participant(session: Session, place: Place, person: Person) -> Participant | None:
    """The Participant, if they ever said anything on this platform."""
    return session.scalar(
        select(Participant).where(Participant.platform == place.platform, Participant.external_id == person.id)
    )


def _asked_by(session: Session, place: Place, person: Person, turn_id: int) -> Turn:
    turn = find_turn(session, place, turn_id, lock=True)
    asker = find_participant(session, place, person)
    if asker is None or asker.id != turn.participant_id:
        raise NotAllowed("Only the person who asked may do that.")
    return turn


def _cancel(session: Session, turn: Turn, now: datetime) -> None:
    if turn.state is TurnState.RUNNING:
        turn.cancel_requested = True
    elif turn.state is TurnState.QUEUED:
        turn.state, turn.finished_at, turn.delivered_at = TurnState.CANCELLED, now, now
        turn.fence += 1
        _close_unfinished(session, turn, now)


def withdraw(session: Session, turn: Turn, now: datetime) -> None:
    """End an open Turn whose words are purged, at once: a worker that has it loses it, so that it writes none back."""
    turn.arguments = {}
    if not turn.state.ended:
        turn.state, turn.fence, turn.finished_at = TurnState.CANCELLED, turn.fence + 1, now
        turn.owner = turn.lease_until = None
        turn.delivered_at = now
        _close_unfinished(session, turn, now)


def _requeue(session: Session, turn: Turn, now: datetime) -> None:
    """Back to the queue; whoever works on it loses it, since its fence grows, and its unfinished Generation closes."""
    _close_unfinished(session, turn, now)
    turn.state, turn.fence, turn.attempt = TurnState.QUEUED, turn.fence + 1, 0
    turn.owner = turn.lease_until = turn.failure = None
    turn.cancel_requested = False
    turn.queued_at, turn.started_at, turn.finished_at, turn.delivered_at = now, None, None, None


def _close_unfinished(session: Session, turn: Turn, now: datetime) -> None:
    session.execute(
        update(Generation)
        .where(Generation.turn_id == turn.id, Generation.finish_reason.is_(None))
        .values(finish_reason=FinishReason.CANCELLED, finished_at=now)
    )


def _message(session: Session, place: Place, event_id: str) -> Message | None:
    conversation = find_conversation(session, place)
    if conversation is None:
        return None
    return session.scalar(
        select(Message).where(Message.conversation_id == conversation.id, Message.external_id == event_id)
    )


def _refuse_when_full(session: Session, participant_id: int, limits: QueueLimits) -> None:
    mine = session.scalar(
        select(func.count()).where(in_state(Turn, TurnState.QUEUED), Turn.participant_id == participant_id)
    )
    if (mine or 0) >= limits.turns_per_person:
        raise Busy(mine or 0)
    queued = count_queued(session)
    if queued >= limits.turns:
        raise Busy(queued)


def _source_key(message: InboundMessage) -> str:
    place = message.place
    return f"{place.platform}:{place.workspace}:{place.conversation}:{message.event_id}"


def _participant(session: Session, message: InboundMessage, now: datetime) -> Participant:
    row = _get_or_add(
        session,
        Participant,
        {"platform": message.place.platform, "external_id": message.person.id},
        {"created_at": now, "display_name": message.person.display_name},
    )
    if row.display_name != message.person.display_name:
        row.display_name = message.person.display_name
    return row


def _conversation(session: Session, message: InboundMessage, now: datetime) -> Conversation:
    place = message.place
    workspace = _get_or_add(
        session,
        Workspace,
        {"platform": place.platform, "external_id": place.workspace},
        {"created_at": now, "settings": {}},
    )
    return _get_or_add(
        session,
        Conversation,
        {"workspace_id": workspace.id, "external_id": place.conversation},
        {"created_at": now, "shared": message.shared, "next_seq": 1, "cut_seq": 1, "reset_seq": 1},
    )


def _next_seq(session: Session, conversation_id: int) -> int:
    following: int | None = session.scalar(
        update(Conversation)
        .where(Conversation.id == conversation_id)
        .values(next_seq=Conversation.next_seq + 1)
        .returning(Conversation.next_seq),
        execution_options={"synchronize_session": False},
    )
    assert following is not None
    return following - 1


def _get_or_add(session: Session, table: type[Row], key: dict[str, Any], values: dict[str, Any]) -> Row:
    """The row with this unique key; added where missing, also when another process adds it in the same moment."""
    query = select(table).filter_by(**key)
    row = session.scalar(query)
    if row is None:
        dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        session.execute(dialect.insert(table).values(**key, **values).on_conflict_do_nothing(index_elements=list(key)))
        row = session.scalars(query).one()
    return row
