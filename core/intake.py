"""Intake: what somebody says becomes a Message with its Turn; while a human has the Conversation, words for them.

Knows the rows and their order, and touches nothing outside of the message's place. What is said twice under the same
event id is the same Turn. What people do to it afterwards is in `conversations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core import access, context
from core.errors import Busy, NotFound
from core.handoffs import relays
from core.handoffs.models import Handoff
from core.introductions import introduce
from core.models import Conversation, Message, MessageRevision, Participant, Turn, Workspace, tables
from core.open_turns import queue_position
from core.turn_order import in_state
from core.values import HandoffState, InboundMessage, RelayKind, Side, TurnState
from core.workspaces import ChannelSettings, WorkspaceSettings

PLAIN = "chat"
"""The recipe of a message that asks for none; a channel may have another for it."""


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


@dataclass(frozen=True, slots=True)
class PassedOn:
    """The words that a human was given instead of the bot."""

    handoff_id: int
    conversation_id: int
    message_id: int
    seq: int
    duplicate: bool = False


# Built once: putting a statement together costs more than SQLite takes to run it.
_TURN, _MESSAGE, _REVISION, _PERSON, _CONVERSATION, _WORKSPACE = tables(
    Turn, Message, MessageRevision, Participant, Conversation, Workspace
)
_THIS_PERSON = and_(_PERSON.c.platform == bindparam("platform"), _PERSON.c.external_id == bindparam("person"))
_THIS_WORKSPACE = and_(
    _WORKSPACE.c.platform == bindparam("platform"), _WORKSPACE.c.external_id == bindparam("workspace")
)
_THIS_CONVERSATION = and_(
    _CONVERSATION.c.workspace_id == _WORKSPACE.c.id, _CONVERSATION.c.external_id == bindparam("conversation")
)
_QUEUED = select(func.count()).where(in_state(_TURN.c.state, TurnState.QUEUED))
_QUEUED_OF_PERSON = _QUEUED.where(_TURN.c.participant_id == _PERSON.c.id).correlate(_PERSON)
_ONE_ROW = select(literal(1).label("one")).subquery("one_row")

_LOOK = (
    select(
        select(_TURN.c.id).where(_TURN.c.source_key == bindparam("source_key")).scalar_subquery().label("known_turn"),
        _PERSON.c.id.label("person"),
        _PERSON.c.display_name,
        _WORKSPACE.c.id.label("workspace"),
        _WORKSPACE.c.settings,
        _CONVERSATION.c.id.label("conversation"),
        _CONVERSATION.c.channel,
        _CONVERSATION.c.shared,
        _QUEUED.scalar_subquery().label("queued"),
        _QUEUED_OF_PERSON.scalar_subquery().label("queued_of_person"),
    )
    .select_from(_ONE_ROW)
    .outerjoin(_PERSON, _THIS_PERSON)
    .outerjoin(_WORKSPACE, _THIS_WORKSPACE)
    .outerjoin(_CONVERSATION, _THIS_CONVERSATION)
)

_NEXT_SEQ = (
    update(_CONVERSATION)
    .where(_CONVERSATION.c.id == bindparam("of_conversation"))
    .values(next_seq=_CONVERSATION.c.next_seq + bindparam("taken"))
    .returning(_CONVERSATION.c.next_seq, _CONVERSATION.c.handed_off)
)
_ADD_REVISION = insert(_REVISION)
_ADD_TURN = insert(_TURN).returning(_TURN.c.id)


def _say_or_take_up(dialect: Any) -> Any:
    """Adds a Message; one that was read for context becomes the newest, with one more wording.

    None where it was deleted, or said to a human.
    """
    add = dialect.insert(_MESSAGE)
    taken_up = {
        "seq": add.excluded.seq,
        "participant_id": add.excluded.participant_id,
        "revision": _MESSAGE.c.revision + 1,
        "handoff_id": add.excluded.handoff_id,
    }
    kept_for_context = and_(_MESSAGE.c.deleted_at.is_(None), _MESSAGE.c.handoff_id.is_(None))
    return add.on_conflict_do_update(
        index_elements=["conversation_id", "external_id"], set_=taken_up, where=kept_for_context
    ).returning(_MESSAGE.c.id, _MESSAGE.c.revision)


_ADD_MESSAGE = {"sqlite": _say_or_take_up(sqlite), "postgresql": _say_or_take_up(postgresql)}


def receive(
    session: Session, message: InboundMessage, text: str, limits: QueueLimits, now: datetime
) -> Received | PassedOn:
    """Store `message`, whose cleaned text is `text`, its context and its Turn. The same event again is no error.

    While a human has the Conversation the words are for them, and there is no Turn. Raises AccessDenied, Busy,
    QuotaUsed, and NotFound where the message was deleted before it was asked about.
    """
    found: Any = session.execute(_LOOK, _lookup(message)).one()
    settings = WorkspaceSettings.of(found.settings)
    if found.known_turn is None and access.wait_in_line(session, settings, found.workspace):
        found = session.execute(_LOOK, _lookup(message)).one()  # whoever was before may have stored the same event
    if found.known_turn is not None:
        known = session.get_one(Turn, found.known_turn)
        return Received(known.id, known.conversation_id, known.state, queue_position(session, known.id), duplicate=True)
    _check(settings, found, message, limits)
    beside = context.news(session, found.conversation, message)
    if beside or _is_news(found, message):
        introduce(session, message, beside, now)
        found = session.execute(_LOOK, _lookup(message)).one()
    access.check_quota(session, settings, found.workspace, found.person, now)
    seq, handed_off = next_seq(session, found.conversation, len(beside))
    if beside:
        context.add(session, found.conversation, beside, seq - len(beside), now)
    if handed_off:
        handoff = session.scalars(_in_hand(found.conversation)).one()
        return pass_on(session, handoff, found.person, message.event_id, text, seq, now, to=(Side.STAFF,))
    here = settings.for_channel(found.channel)
    common = {"conversation_id": found.conversation, "participant_id": found.person, "seq": seq}
    message_id = _say(session, {**common, "external_id": message.event_id}, text, now)
    if message_id is None:
        return _said_before(session, found.conversation, message.event_id)
    turn_id = _add_turn(session, _with_recipe(message, here), {**common, "message_id": message_id}, found, now)
    return Received(turn_id, found.conversation, TurnState.QUEUED, ahead=found.queued)


def check(session: Session, message: InboundMessage, limits: QueueLimits, now: datetime) -> None:
    """Refuse what `receive` would refuse now, and store nothing. Raises AccessDenied, Busy, QuotaUsed."""
    found: Any = session.execute(_LOOK, _lookup(message)).one()
    settings = WorkspaceSettings.of(found.settings)
    _check(settings, found, message, limits)
    access.check_quota(session, settings, found.workspace, found.person, now)


def _check(settings: WorkspaceSettings, found: Any, message: InboundMessage, limits: QueueLimits) -> None:
    """Raises AccessDenied, Busy."""
    access.check(settings, message)
    if found.queued_of_person >= limits.turns_per_person:
        raise Busy(found.queued_of_person)
    if found.queued >= limits.turns:
        raise Busy(found.queued)


def pass_on(
    session: Session,
    handoff: Handoff,
    author_id: int,
    event_id: str,
    text: str,
    seq: int,
    now: datetime,
    *,
    to: tuple[Side, ...],
    staff: bool = False,
) -> PassedOn:
    """Store what is said in a hand-off, and have it brought to these sides; the same event again is no error.

    The Conversation is locked. Raises NotFound where the message was deleted before.
    """
    said = {"conversation_id": handoff.conversation_id, "participant_id": author_id, "seq": seq}
    said |= {"handoff_id": handoff.id, "staff": staff}
    message_id = _say(session, {**said, "external_id": event_id}, text, now)
    if message_id is None:
        return _said_before(session, handoff.conversation_id, event_id)
    for side in to:
        relays.add(session, handoff, side, RelayKind.WORDS, now, message_id)
    handoff.touched_at = now
    return PassedOn(handoff.id, handoff.conversation_id, message_id, seq)


def _is_news(found: Any, message: InboundMessage) -> bool:
    """Whether anything of who speaks, and where, is to be written down first."""
    return (
        None in (found.person, found.workspace, found.conversation)
        or found.display_name != message.person.display_name
        or (message.shared and not found.shared)
        or message.channel not in (None, found.channel)
    )


def _with_recipe(message: InboundMessage, here: ChannelSettings) -> InboundMessage:
    """A plain message becomes one for the channel's recipe."""
    if message.recipe != PLAIN or here.recipe is None:
        return message
    return message.model_copy(update={"recipe": here.recipe})


def _lookup(message: InboundMessage) -> dict[str, str]:
    place = message.place
    return {
        "source_key": f"{place.platform}:{place.workspace}:{place.conversation}:{message.event_id}",
        "platform": place.platform,
        "workspace": place.workspace,
        "conversation": place.conversation,
        "person": message.person.id,
    }


def next_seq(session: Session, conversation_id: int, before: int = 0) -> tuple[int, bool]:
    """A sequence number that nobody else has, with `before` more free before it, and whether a human has it now.

    Locks the Conversation, so that who takes it over or gives it back waits.
    """
    row = session.execute(_NEXT_SEQ, {"of_conversation": conversation_id, "taken": before + 1}).one()
    return row.next_seq - 1, row.handed_off


def _say(session: Session, said: dict[str, Any], text: str, now: datetime) -> int | None:
    """Store a Message; None where its event was deleted, or said in a hand-off already."""
    add_message = _ADD_MESSAGE[session.get_bind().dialect.name]
    added = session.execute(add_message, {**said, "created_at": now}).one_or_none()
    if added is None:
        return None
    revision = {"message_id": added.id, "number": added.revision, "text": text, "created_at": now}
    session.execute(_ADD_REVISION, revision)
    message_id: int = added.id
    return message_id


def _said_before(session: Session, conversation_id: int, event_id: str) -> PassedOn:
    """What was said in a hand-off as this event. Raises NotFound where it was deleted."""
    kept = Message.deleted_at.is_(None), Message.handoff_id.is_not(None)
    this = Message.conversation_id == conversation_id, Message.external_id == event_id
    known = session.scalar(select(Message).where(*this, *kept))
    if known is None or known.handoff_id is None:
        raise NotFound("The message was deleted.")
    return PassedOn(known.handoff_id, conversation_id, known.id, known.seq, duplicate=True)


def _in_hand(conversation_id: int) -> Select[Handoff]:
    """The hand-off that staff have claimed of a Conversation, which is locked."""
    return select(Handoff).where(Handoff.conversation_id == conversation_id, Handoff.state == HandoffState.CLAIMED)


def _add_turn(session: Session, message: InboundMessage, common: dict[str, Any], found: Any, now: datetime) -> int:
    turn = {
        **common,
        "source_key": _lookup(message)["source_key"],
        "workspace_id": found.workspace,
        "recipe": message.recipe,
        "arguments": message.arguments,
        "language": message.language,
        "target": message.target,
        "queued_at": now,
    }
    turn_id: int = session.execute(_ADD_TURN, turn).scalar_one()
    return turn_id
