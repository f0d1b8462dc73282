"""What people do to a Conversation: say, edit, delete, cancel, regenerate, reset.

Knows the rows and their order. Every function is given the Workspace's place and touches nothing outside of it. What
is said twice under the same event id is the same Turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from core.database import insert_new
from core.errors import Busy, Conflict, NotAllowed, NotFound
from core.models import (
    Conversation,
    Generation,
    Message,
    MessageRevision,
    Participant,
    Turn,
    Workspace,
    tables,
)
from core.turns import in_state
from core.values import FinishReason, InboundMessage, Person, Place, TurnState


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


# Built once: putting a statement together costs more than SQLite takes to run it.
_TURN, _MESSAGE, _REVISION, _PERSON, _CONVERSATION, _WORKSPACE = tables(
    Turn, Message, MessageRevision, Participant, Conversation, Workspace
)
_THIS_PERSON = and_(_PERSON.c.platform == bindparam("platform"), _PERSON.c.external_id == bindparam("person"))
_THIS_WORKSPACE = and_(
    _WORKSPACE.c.platform == bindparam("platform"), _WORKSPACE.c.external_id == bindparam("workspace")
)
_QUEUED = select(func.count()).where(in_state(_TURN.c.state, TurnState.QUEUED))

_LOOK = select(
    select(_TURN.c.id).where(_TURN.c.source_key == bindparam("source_key")).scalar_subquery().label("known_turn"),
    select(_PERSON.c.id).where(_THIS_PERSON).scalar_subquery().label("person"),
    select(_PERSON.c.display_name).where(_THIS_PERSON).scalar_subquery().label("display_name"),
    select(_WORKSPACE.c.id).where(_THIS_WORKSPACE).scalar_subquery().label("workspace"),
    select(_CONVERSATION.c.id)
    .join(_WORKSPACE, _WORKSPACE.c.id == _CONVERSATION.c.workspace_id)
    .where(_THIS_WORKSPACE, _CONVERSATION.c.external_id == bindparam("conversation"))
    .scalar_subquery()
    .label("conversation"),
    _QUEUED.scalar_subquery().label("queued"),
    _QUEUED.join(_PERSON, _PERSON.c.id == _TURN.c.participant_id)
    .where(_THIS_PERSON)
    .scalar_subquery()
    .label("queued_of_person"),
)

_NEXT_SEQ = (
    update(_CONVERSATION)
    .where(_CONVERSATION.c.id == bindparam("of_conversation"))
    .values(next_seq=_CONVERSATION.c.next_seq + 1)
    .returning(_CONVERSATION.c.next_seq)
)
_ADD_MESSAGE = insert(_MESSAGE).returning(_MESSAGE.c.id)
_ADD_REVISION = insert(_REVISION)
_ADD_TURN = insert(_TURN).returning(_TURN.c.id)


def receive(session: Session, message: InboundMessage, text: str, limits: QueueLimits, now: datetime) -> Received:
    """Store `message`, whose cleaned text is `text`, and its Turn. Raises Busy; the same event again is no error."""
    found: Any = session.execute(_LOOK, _lookup(message)).one()
    if found.known_turn is not None:
        known = session.get_one(Turn, found.known_turn)
        return Received(known.id, known.conversation_id, known.state, queue_position(session, known.id), duplicate=True)
    if found.queued_of_person >= limits.turns_per_person:
        raise Busy(found.queued_of_person)
    if found.queued >= limits.turns:
        raise Busy(found.queued)
    if None in (found.person, found.workspace, found.conversation) or found.display_name != message.person.display_name:
        _introduce(session, message, now)
        found = session.execute(_LOOK, _lookup(message)).one()
    turn_id = _add_turn(session, message, text, found, now)
    return Received(turn_id, found.conversation, TurnState.QUEUED, ahead=found.queued)


def _lookup(message: InboundMessage) -> dict[str, str]:
    place = message.place
    return {
        "source_key": f"{place.platform}:{place.workspace}:{place.conversation}:{message.event_id}",
        "platform": place.platform,
        "workspace": place.workspace,
        "conversation": place.conversation,
        "person": message.person.id,
    }


def introduce_person(session: Session, platform: str, person: Person, now: datetime) -> None:
    """Add the Participant if they are new, and take a new display name."""
    key = {"platform": platform, "external_id": person.id}
    insert_new(session, Participant, tuple(key), {**key, "created_at": now})
    session.execute(update(Participant).filter_by(**key).values(display_name=person.display_name))


def _introduce(session: Session, message: InboundMessage, now: datetime) -> None:
    """Add the Participant, Workspace and Conversation that are new, and take a new display name."""
    place = message.place
    introduce_person(session, place.platform, message.person, now)
    key = {"platform": place.platform, "external_id": place.workspace}
    insert_new(session, Workspace, tuple(key), {**key, "settings": {}, "created_at": now})
    workspace_id = session.scalars(select(Workspace.id).filter_by(**key)).one()
    row = {"workspace_id": workspace_id, "external_id": place.conversation, "shared": message.shared, "created_at": now}
    insert_new(session, Conversation, ("workspace_id", "external_id"), row)


def _add_turn(session: Session, message: InboundMessage, text: str, found: Any, now: datetime) -> int:
    following: int = session.execute(_NEXT_SEQ, {"of_conversation": found.conversation}).scalar_one()
    common = {"conversation_id": found.conversation, "participant_id": found.person, "seq": following - 1}
    stored = {**common, "external_id": message.event_id, "created_at": now}
    message_id: int = session.execute(_ADD_MESSAGE, stored).scalar_one()
    session.execute(_ADD_REVISION, {"message_id": message_id, "number": 1, "text": text, "created_at": now})
    turn = {
        **common,
        "source_key": _lookup(message)["source_key"],
        "workspace_id": found.workspace,
        "message_id": message_id,
        "recipe": message.recipe,
        "arguments": message.arguments,
        "language": message.language,
        "target": message.target,
        "queued_at": now,
    }
    turn_id: int = session.execute(_ADD_TURN, turn).scalar_one()
    return turn_id


def edit(session: Session, place: Place, event_id: str, text: str, now: datetime) -> Turn | None:
    """Give the message a new wording and its Turn, if it has one, back to the queue.

    None: not known, deleted, or the wording is the same, as when a platform only adds a preview of a link.
    """
    message = _message(session, place, event_id)
    if message is None or message.deleted_at is not None:
        return None
    newest = session.get_one(MessageRevision, (message.id, message.revision))
    if newest.text == text:
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
        in_state(Turn.state, TurnState.QUEUED),
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


def places_of_event(session: Session, platform: str, workspace: str, event_id: str) -> list[Place]:
    """Every Conversation of the Workspace that holds the message of this event, as its own or for context."""
    found = session.scalars(
        select(Conversation.external_id)
        .join(Message, Message.conversation_id == Conversation.id)
        .join(Workspace, Workspace.id == Conversation.workspace_id)
        .where(Message.external_id == event_id, Workspace.platform == platform, Workspace.external_id == workspace)
        .order_by(Conversation.id)
    )
    keys = {"platform": platform, "workspace": workspace}
    return [Place.model_validate({**keys, "conversation": conversation}) for conversation in found]


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
    """The message, locked: whoever changes one locks it before its Turn, so that edits, deletes and forgetting wait."""
    conversation = find_conversation(session, place)
    if conversation is None:
        return None
    return session.scalar(
        select(Message)
        .where(Message.conversation_id == conversation.id, Message.external_id == event_id)
        .with_for_update()
    )
