"""How a hand-off goes: requested, claimed by one of staff, spoken in, released.

Knows rows. Whoever changes the state locks the Conversation first, as everybody does who says something there: what is
said while somebody takes over belongs to the bot or to them, never to both or to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core import access
from core.errors import HandoffNotClaimed, HandoffTaken, NotFound
from core.handoffs import relays
from core.handoffs.models import OPEN, Handoff
from core.intake import PassedOn, next_seq, pass_on
from core.introductions import introduce, introduce_person
from core.models import Conversation, Participant, Turn, Workspace, tables
from core.open_turns import lock_open, stop
from core.places import find_conversation, find_participant
from core.values import HandoffReason, HandoffRequest, HandoffState, Place, RelayKind, ReleaseCause, Side, Staff
from core.workspaces import WorkspaceSettings

(_HANDOFF,) = tables(Handoff)


@dataclass(frozen=True, slots=True)
class Requested:
    """The Conversation's open hand-off. `new`: it was not there before."""

    handoff_id: int
    new: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """A hand-off that one of staff has. `stopped` are the Turns that nobody answers now."""

    handoff_id: int
    stopped: tuple[Turn, ...]


def request(session: Session, request: HandoffRequest, words: str, now: datetime) -> Requested:
    """Have a human asked for, unless that is so already; `words`, cleaned, are passed on to them.

    Raises AccessDenied where the Workspace does not let this person be answered.
    """
    access.check(_settings(session, request.place), request)
    introduce(session, request, (), now)
    conversation = _conversation(session, request.place)
    participant = find_participant(session, request.place.platform, request.person.id)
    assert participant is not None  # just introduced
    seq, _ = next_seq(session, conversation.id)
    session.refresh(conversation)
    handoff = open_of(session, conversation.id)
    new = handoff is None
    if handoff is None:
        asked = Asked(participant.id, request.turn_id, request.why, request.language, request.target)
        handoff = begin(session, conversation, asked, now)
    if words:
        sides = () if new else (Side.STAFF,)  # the notice of a new one tells them
        pass_on(session, handoff, participant.id, request.event_id, words, seq, now, to=sides)
    return Requested(handoff.id, new)


@dataclass(frozen=True, slots=True)
class Asked:
    """Who needs a human, why, and where they are told."""

    participant_id: int
    turn_id: int | None
    why: HandoffReason
    language: str
    target: dict[str, Any]


def begin(session: Session, conversation: Conversation, asked: Asked, now: datetime) -> Handoff:
    """A new hand-off of a Conversation that has no open one; where another process adds one just now, that one."""
    settings = WorkspaceSettings.of(session.get_one(Workspace, conversation.workspace_id).settings)
    row = {
        "workspace_id": conversation.workspace_id,
        "conversation_id": conversation.id,
        "participant_id": asked.participant_id,
        "turn_id": asked.turn_id,
        "why": asked.why,
        "language": asked.language,
        "target": asked.target,
        "staff_channel": settings.staff_channel,
        "from_seq": conversation.reset_seq,
        "opened_seq": conversation.next_seq,
        "requested_at": now,
        "touched_at": now,
    }
    handoff_id = session.scalar(_add(session), row)
    handoff = open_of(session, conversation.id)
    assert handoff is not None  # ours, or the one that was in the way
    if handoff_id is not None:
        relays.add(session, handoff, Side.STAFF, RelayKind.NOTICE, now)
    return handoff


def _add(session: Session) -> Any:
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    add = dialect.insert(_HANDOFF)
    return add.on_conflict_do_nothing(index_elements=["conversation_id"], index_where=text(OPEN)).returning(
        _HANDOFF.c.id
    )


def claim(session: Session, place: Place, handoff_id: int, staff: Staff, now: datetime) -> Claimed:
    """Let one of staff have it; the bot is silent from now on. Whoever has it already may say so again.

    Raises NotFound, HandoffTaken where somebody else has it, and HandoffNotClaimed where it is over.
    """
    member = introduced(session, staff, now)
    conversation = _conversation(session, place)
    waiting = lock_open(session, conversation.id)  # Turns first, as a worker that ends one locks them
    handoff = _locked(session, conversation, handoff_id)
    if handoff.state is HandoffState.CLAIMED and handoff.claimed_by == member.id:
        return Claimed(handoff.id, ())
    if handoff.state is HandoffState.CLAIMED:
        raise HandoffTaken(name_of(session, handoff.claimed_by) or "?")
    if handoff.state is HandoffState.RELEASED:
        raise HandoffNotClaimed
    handoff.state, handoff.claimed_at, handoff.claimed_by = HandoffState.CLAIMED, now, member.id
    handoff.claimed_seq, handoff.touched_at = conversation.next_seq, now
    conversation.handed_off = True
    late = [turn for turn in lock_open(session, conversation.id) if turn not in waiting]
    for turn in (*waiting, *late):
        stop(session, turn, now)
    session.flush()
    _tell_change(session, handoff, RelayKind.CLAIMED, now)
    return Claimed(handoff.id, (*waiting, *late))


def staff_says(
    session: Session, place: Place, handoff_id: int, staff: Staff, event_id: str, words: str, now: datetime
) -> PassedOn:
    """What one of staff says to the person; the same event again is no error.

    Raises NotFound, and HandoffNotClaimed where nobody has it.
    """
    member = introduced(session, staff, now)
    conversation = _conversation(session, place)
    seq, _ = next_seq(session, conversation.id)
    handoff = _locked(session, conversation, handoff_id)
    if handoff.state is not HandoffState.CLAIMED:
        raise HandoffNotClaimed
    elsewhere = staff.platform != place.platform  # then those in the staff channel have not seen it
    sides = (Side.PERSON, Side.STAFF) if elsewhere else (Side.PERSON,)
    return pass_on(session, handoff, member.id, event_id, words, seq, now, to=sides, staff=True)


def release(session: Session, place: Place, handoff_id: int, staff: Staff, now: datetime) -> bool:
    """Give the Conversation back to the bot. False where that is so already. Raises NotFound."""
    member = introduced(session, staff, now)
    conversation = _conversation(session, place)
    handoff = _locked(session, conversation, handoff_id)
    return _end(session, conversation, handoff, ReleaseCause.STAFF, now, by=member.id)


def release_at(session: Session, place: Place, cause: ReleaseCause, now: datetime) -> None:
    """End the open hand-off of the Conversation at `place`, if there is one."""
    conversation = find_conversation(session, place)
    if conversation is not None and open_of(session, conversation.id) is not None:
        _release_of(session, conversation.id, cause, now)


def release_of_person(session: Session, participant_id: int, now: datetime) -> None:
    """End every open hand-off of somebody who is to be forgotten."""
    theirs = Handoff.participant_id == participant_id, text(OPEN)
    for conversation_id in session.scalars(select(Handoff.conversation_id).where(*theirs)).all():
        _release_of(session, conversation_id, ReleaseCause.FORGOTTEN, now)


def stale(session: Session, before: datetime, most: int = 100) -> list[int]:
    """Conversations with an open hand-off in which nobody has done or said anything since `before`."""
    found = select(Handoff.conversation_id).where(text(OPEN), Handoff.touched_at < before)
    return list(session.scalars(found.order_by(Handoff.touched_at).limit(most)))


def release_stale(session: Session, before: datetime, now: datetime) -> int:
    """End those. Returns how many."""
    return sum(
        _release_of(session, conversation_id, ReleaseCause.TIMEOUT, now, before=before)
        for conversation_id in stale(session, before)
    )


def _release_of(
    session: Session, conversation_id: int, cause: ReleaseCause, now: datetime, *, before: datetime | None = None
) -> bool:
    conversation = session.get_one(Conversation, conversation_id, with_for_update=True, populate_existing=True)
    handoff = open_of(session, conversation_id)
    if handoff is None or (before is not None and handoff.touched_at >= before):
        return False
    return _end(session, conversation, handoff, cause, now)


def _end(
    session: Session,
    conversation: Conversation,
    handoff: Handoff,
    cause: ReleaseCause,
    now: datetime,
    *,
    by: int | None = None,
) -> bool:
    """End it; both, the Conversation first, are locked. False where it has ended before."""
    if handoff.state is HandoffState.RELEASED:
        return False
    handoff.state, handoff.cause = HandoffState.RELEASED, cause
    handoff.released_at, handoff.released_by, handoff.touched_at = now, by, now
    conversation.handed_off = False
    session.flush()
    _tell_change(session, handoff, RelayKind.RELEASED, now)
    return True


def _tell_change(session: Session, handoff: Handoff, kind: RelayKind, now: datetime) -> None:
    """Have both sides told, and staff's notice changed."""
    relays.renew_notice(session, handoff.id)
    for side in Side:
        relays.add(session, handoff, side, kind, now)


def open_of(session: Session, conversation_id: int) -> Handoff | None:
    """The open hand-off of a Conversation, as it is now."""
    this = select(Handoff).where(Handoff.conversation_id == conversation_id, text(OPEN))
    return session.scalar(this.execution_options(populate_existing=True))


def introduced(session: Session, staff: Staff, now: datetime) -> Participant:
    """The Participant that one of staff is; before anything is locked, as everybody is introduced."""
    introduce_person(session, staff.platform, staff.person, now)
    this = {"platform": staff.platform, "external_id": staff.person.id}
    return session.scalars(select(Participant).filter_by(**this)).one()


def name_of(session: Session, participant_id: int | None) -> str | None:
    """How a Participant is called."""
    return session.get_one(Participant, participant_id).display_name if participant_id is not None else None


def _settings(session: Session, place: Place) -> WorkspaceSettings:
    this = Workspace.platform == place.platform, Workspace.external_id == place.workspace
    return WorkspaceSettings.of(session.scalar(select(Workspace.settings).where(*this)))


def _conversation(session: Session, place: Place) -> Conversation:
    conversation = find_conversation(session, place)
    if conversation is None:
        raise NotFound("Nothing was said there.")
    return conversation


def _locked(session: Session, conversation: Conversation, handoff_id: int) -> Handoff:
    """The hand-off, if it is this Conversation's, both locked and as they are now. Raises NotFound."""
    session.refresh(conversation, with_for_update=True)
    handoff = session.get(Handoff, handoff_id, with_for_update=True, populate_existing=True)
    if handoff is None or handoff.conversation_id != conversation.id:
        raise NotFound(f"There is no hand-off {handoff_id} in this conversation.")
    return handoff
