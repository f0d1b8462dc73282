"""What people do to a Conversation: say, edit, delete, cancel, regenerate, reset.

Knows the rows and their order. Every function is given the Workspace's place and touches nothing outside of it. What
is said twice under the same event id is the same Turn. While a human has the Conversation nothing becomes a Turn: words
are passed on to them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core import access, context, deliveries, purging
from core.errors import AccessDenied, Busy, Conflict, HandedOff, NotAllowed, NotFound, WordsPurged
from core.handoffs import relays
from core.handoffs.models import Handoff
from core.introductions import introduce
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
from core.purging import Purged
from core.turn_order import in_state
from core.values import FinishReason, HandoffState, InboundMessage, Person, Place, RelayKind, Side, TurnState
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


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of a deleted message: its Turn, if it had one, and what was purged."""

    turn: Turn | None
    purged: Purged


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


def edit(session: Session, place: Place, event_id: str, text: str, now: datetime) -> Turn | None:
    """Give the message a new wording and its Turn, if it has one, back to the queue; returns that Turn.

    None: not known, purged, or the wording is the same, as when a platform only adds a preview of a link. Of a person
    who has been blocked since, and while a human has the Conversation, the wording is kept and nothing is answered. What
    will not be answered of a person who opted out is not kept either. What was said in a hand-off is shown to its other
    side as it reads now.
    """
    message = _message(session, place, event_id)
    if message is None or message.deleted_at is not None:
        return None
    newest = session.get_one(MessageRevision, (message.id, message.revision))
    if newest.text in ("", text):
        return None
    turn = session.scalar(select(Turn).where(Turn.message_id == message.id).with_for_update())
    if turn is not None and _is_handed_off(session, turn):
        turn = None
    to_answer = turn if turn is not None and not _is_blocked(session, turn) else None
    passed_on = message.handoff_id is not None
    if to_answer is None and not passed_on and session.get_one(Participant, message.participant_id).opted_out:
        return None
    message.revision += 1
    session.add(MessageRevision(message_id=message.id, number=message.revision, text=text, created_at=now))
    if passed_on:
        session.flush()
        relays.renew_words(session, [message.id], *Side)
    if to_answer is not None:
        deliveries.take_back(session, to_answer.id, now)
        _requeue(session, to_answer, now)
    return to_answer


def delete(session: Session, place: Place, event_id: str, now: datetime, *, gone: bool = False) -> Deleted | None:
    """Purge the message with all that came of it and withdraw its Turn. None: not known.

    The Turn is undelivered until its answers are taken away, unless they are `gone` with all of the channel.
    """
    message = _message(session, place, event_id)
    if message is None:
        return None
    turn = session.scalar(select(Turn).where(Turn.message_id == message.id).with_for_update())
    purged = purging.purge(session, [message.id], now)
    relays.renew_words(session, [message.id], Side.PERSON)  # of what staff said
    if turn is not None:
        withdraw(session, turn, now)
        if not gone and deliveries.take_back(session, turn.id, now):
            turn.delivered_at = None
    return Deleted(turn, purged)


def cancel(
    session: Session, place: Place, person: Person, turn_id: int, now: datetime, *, moderator: bool = False
) -> Turn:
    """Cancel a queued Turn, or ask the worker of a running one to; an ended one stays as it is.

    Raises NotFound, and NotAllowed for anyone but the asker or a moderator.
    """
    unwanted = purging.lock_unwanted(session, turn_id)
    turn = (
        find_turn(session, place, turn_id, lock=True)
        if moderator
        else check_asker(session, place, person, turn_id, lock=True)
    )
    _cancel(session, turn, now)
    if turn.delivered_at is not None:  # nobody waits for it any more
        purging.purge(session, unwanted, now)
    return turn


def regenerate(session: Session, place: Place, person: Person, turn_id: int, now: datetime) -> Turn:
    """Put an ended Turn back to the queue for another Generation.

    Raises NotFound, NotAllowed, WordsPurged, Conflict if it is open, HandedOff while a human has the Conversation, and
    AccessDenied where the asker has been blocked since.
    """
    turn = check_asker(session, place, person, turn_id, lock=True)
    if not turn.state.ended:
        raise Conflict(f"Turn {turn_id} is {turn.state}: it is being answered already.")
    if not session.scalar(_words_of(turn.message_id)):
        raise WordsPurged(f"The words of turn {turn_id} are not kept any more.")
    if _is_handed_off(session, turn):
        raise HandedOff
    if _is_blocked(session, turn):
        raise AccessDenied("person")
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


_COUNT_OPEN = (
    select(_TURN.c.state, func.count().label("turns"))
    .where(in_state(_TURN.c.state, TurnState.QUEUED, TurnState.RUNNING))
    .group_by(_TURN.c.state)
)


def count_open(session: Session) -> tuple[int, int]:
    """How many Turns wait and how many run."""
    counts: dict[TurnState, int] = {row.state: row.turns for row in session.execute(_COUNT_OPEN)}
    return counts.get(TurnState.QUEUED, 0), counts.get(TurnState.RUNNING, 0)


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


def asked_events(session: Session, platform: str, workspace: str, event_ids: Collection[str]) -> set[str]:
    """Those of these events whose message asked something: it has a Turn, whatever became of it."""
    found = session.scalars(
        select(Message.external_id)
        .join(Turn, Turn.message_id == Message.id)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .join(Workspace, Workspace.id == Conversation.workspace_id)
        .where(Message.external_id.in_(event_ids), Workspace.platform == platform, Workspace.external_id == workspace)
    )
    return {event_id for event_id in found if event_id is not None}


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


def _words_of(message_id: int) -> Select[str]:
    return (
        select(MessageRevision.text)
        .join(Message, and_(Message.id == MessageRevision.message_id, Message.revision == MessageRevision.number))
        .where(Message.id == message_id)
    )


def check_asker(session: Session, place: Place, person: Person, turn_id: int, *, lock: bool = False) -> Turn:
    """The Turn, which this person asked. Raises NotFound, NotAllowed."""
    turn = find_turn(session, place, turn_id, lock=lock)
    asker = find_participant(session, place, person)
    if asker is None or asker.id != turn.participant_id:
        raise NotAllowed("Only the person who asked may do that.")
    return turn


def _is_blocked(session: Session, turn: Turn) -> bool:
    """Whether who asked has been blocked; of roles and categories, a Turn that was taken keeps no note."""
    settings = WorkspaceSettings.of(session.get_one(Workspace, turn.workspace_id).settings)
    return session.get_one(Participant, turn.participant_id).external_id in settings.blocked_users


def _is_handed_off(session: Session, turn: Turn) -> bool:
    """Whether a human has the Conversation; who takes it over waits until this transaction has ended."""
    this = select(Conversation.handed_off).where(Conversation.id == turn.conversation_id)
    return bool(session.scalar(this.with_for_update(read=True)))


def lock_open(session: Session, conversation_id: int) -> list[Turn]:
    """The Turns of a Conversation that wait or run, locked."""
    is_open = in_state(Turn.state, TurnState.QUEUED, TurnState.RUNNING)
    locked = select(Turn).where(Turn.conversation_id == conversation_id, is_open).order_by(Turn.id).with_for_update()
    return list(session.scalars(locked))


def stop(session: Session, turn: Turn, now: datetime) -> None:
    """Stop an open Turn, which is locked, whoever asked it."""
    _cancel(session, turn, now)


def _cancel(session: Session, turn: Turn, now: datetime) -> None:
    if turn.state is TurnState.RUNNING:
        turn.cancel_requested = True
    elif turn.state is TurnState.QUEUED:
        turn.state, turn.finished_at, turn.delivered_at = TurnState.CANCELLED, now, now
        turn.fence += 1
        close_unfinished(session, turn, now)


def withdraw(session: Session, turn: Turn, now: datetime) -> None:
    """End a Turn whose words are purged, at once: a worker that has it loses it, so that it writes none back."""
    turn.arguments = {}
    turn.delivered_at = turn.delivered_at or now
    if not turn.state.ended:
        turn.state, turn.fence, turn.finished_at = TurnState.CANCELLED, turn.fence + 1, now
        turn.owner = turn.lease_until = None
        close_unfinished(session, turn, now)


def _requeue(session: Session, turn: Turn, now: datetime) -> None:
    """Back to the queue; whoever works on it loses it, since its fence grows, and its unfinished Generation closes."""
    close_unfinished(session, turn, now)
    turn.state, turn.fence, turn.attempt = TurnState.QUEUED, turn.fence + 1, 0
    turn.owner = turn.lease_until = turn.failure = None
    turn.cancel_requested = False
    turn.queued_at, turn.started_at, turn.finished_at, turn.delivered_at = now, None, None, None


def close_unfinished(session: Session, turn: Turn, now: datetime) -> None:
    """End the Generation of a Turn that nobody works on any more."""
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
