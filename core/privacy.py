"""What a person may ask about their own words: forget them, keep none from now on, export them.

Knows Participants. How words leave a row is in `purging`; the copies outside of SQL are dropped by whoever calls, with
what is returned here (`copies`). What is purged for its age is in `retention`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CompoundSelect, and_, bindparam, or_, select, union, update
from sqlalchemy.orm import Session

from core import purging, retention
from core.database import insert_new
from core.handoffs.models import Handoff
from core.models import Feedback, Message, Participant, Turn, tables
from core.open_turns import withdraw
from core.places import find_participant
from core.purging import BATCH, Purged, batches
from core.turn_order import in_state
from core.values import Person, Place, TurnState


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was purged of a Participant.

    `withdrawn` are their Turns that ended by it. `restarted` are Turns of others that were being answered in the same
    Conversations: the worker had read the words, so they are answered anew.
    """

    participant_id: int
    purged: Purged
    withdrawn: tuple[Turn, ...]
    restarted: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class PrivacyNotice:
    """How long words are kept at a place (None: until someone asks), and whether this person has none kept."""

    retention_days: int | None
    opted_out: bool


def notice(session: Session, place: Place, person: Person, default_days: int) -> PrivacyNotice:
    """What the person is told. `default_days` is the setting, 0 for no end."""
    participant = find_participant(session, place.platform, person.id)
    days = retention.days_of(session, place, default_days)
    return PrivacyNotice(days or None, participant is not None and participant.opted_out)


def opted_out_people(session: Session, platform: str, person_ids: Iterable[str]) -> frozenset[str]:
    """Those of `person_ids`, which are the platform's, of whom nothing may be stored."""
    wanted = Participant.external_id.in_(list(person_ids))
    return frozenset(
        session.scalars(
            select(Participant.external_id).where(
                Participant.platform == platform, wanted, Participant.opted_out_at.is_not(None)
            )
        )
    )


def opt(session: Session, platform: str, person_id: str, *, out: bool, now: datetime) -> None:
    """Keep none of the person's words from now on, or keep them again. What is there already stays."""
    key = {"platform": platform, "external_id": person_id}
    insert_new(session, Participant, tuple(key), {**key, "created_at": now})
    changing = update(Participant).filter_by(**key)
    if out:  # who says it again has been out for as long
        changing = changing.where(Participant.opted_out_at.is_(None))
    session.execute(changing.values(opted_out_at=now if out else None))


def forget(session: Session, participant_id: int, now: datetime) -> Forgotten:
    """Purge the Participant's messages, the answers to them, their comments and name, and withdraw what is open.

    What staff said to them in a hand-off is an answer too. Their own is to be ended before (`handoffs.states`).
    """
    # Messages before Turns, as every other change locks them: an edit on its way is waited for, then purged too.
    kept = session.execute(
        select(Message.id, Message.conversation_id)
        .where(Message.id.in_(_said_by_or_to(participant_id)))
        .order_by(Message.created_at, Message.id)
        .with_for_update()
    ).all()
    asked = _lock_turns(session, participant_id)
    purged = purging.purge(session, [row.id for row in kept], now)
    # Also of what was purged before: Redis may have been away then.
    silenced = {turn.id: turn.fence + 1 for turn in asked}
    purged += Purged(silenced=silenced, conversation_ids=frozenset(row.conversation_id for row in (*kept, *asked)))
    withdrawn = tuple(session.get_one(Turn, turn.id) for turn in asked if not turn.state.ended)
    for turn in withdrawn:
        withdraw(session, turn, now)
    for table in (_TURN, _HANDOFF):
        session.execute(update(table).where(table.c.participant_id == participant_id).values(target={}))
    comments = session.execute(
        update(Feedback)
        .where(Feedback.participant_id == participant_id, Feedback.comment != "")
        .values(comment="")
        .returning(Feedback.id),
        execution_options={"synchronize_session": False},
    ).all()
    session.execute(update(Participant).where(Participant.id == participant_id).values(display_name=None))
    purged += Purged(comments=len(comments))
    restarted = restart_readers(session, participant_id, purged.conversation_ids)
    return Forgotten(participant_id, purged, withdrawn, restarted)


def _said_by_or_to(participant_id: int) -> CompoundSelect[int]:
    """Messages that are kept of what they said, and of what staff said to them; each by an index."""
    kept = select(Message.id).where(Message.deleted_at.is_(None))
    theirs = select(Handoff.id).where(Handoff.participant_id == participant_id)
    replies = kept.where(Message.handoff_id.is_not(None), Message.handoff_id.in_(theirs), Message.staff)
    return union(kept.where(Message.participant_id == participant_id), replies)


def _lock_turns(session: Session, participant_id: int) -> list[Any]:
    """Every Turn of theirs, also an ended one, which they may be asking for again just now."""
    ids = sorted(session.scalars(select(_TURN.c.id).where(_TURN.c.participant_id == participant_id)))
    columns = _TURN.c.id, _TURN.c.conversation_id, _TURN.c.fence, _TURN.c.state
    locked: list[Any] = []
    for batch in batches(ids):
        locked += session.execute(
            select(*columns).where(_TURN.c.id.in_(batch)).order_by(_TURN.c.id).with_for_update()
        ).all()
    return locked


_ENDED = tuple(state for state in TurnState if state.ended)


def restart_readers(
    session: Session, participant_id: int, conversation_ids: Collection[int], but_not: Collection[int] = ()
) -> tuple[Turn, ...]:
    """Give Turns of others that run in these Conversations back to the queue; that is no failed attempt.

    Their workers read the Participant's words before they were purged. Call it once more after the purge is committed,
    for those that were claimed meanwhile.
    """
    restarted: list[Turn] = []
    for batch in batches(sorted(conversation_ids)):
        restarted += session.scalars(
            select(Turn)
            .where(
                in_state(Turn.state, TurnState.RUNNING),
                Turn.conversation_id.in_(batch),
                Turn.participant_id != participant_id,
                Turn.id.not_in(but_not),
            )
            .order_by(Turn.id)
            .with_for_update()
        )
    for turn in restarted:
        turn.state, turn.fence, turn.attempt = TurnState.QUEUED, turn.fence + 1, turn.attempt - 1
        turn.owner = turn.lease_until = None
    return tuple(restarted)


_MESSAGE, _TURN, _PERSON, _HANDOFF = tables(Message, Turn, Participant, Handoff)
_OVERDUE = (
    select(_MESSAGE.c.id)
    .select_from(_PERSON)
    .join(_MESSAGE, _MESSAGE.c.participant_id == _PERSON.c.id)
    .outerjoin(_TURN, _TURN.c.message_id == _MESSAGE.c.id)
    .outerjoin(_HANDOFF, _HANDOFF.c.id == _MESSAGE.c.handoff_id)
    .where(
        _PERSON.c.opted_out_at.is_not(None),
        _MESSAGE.c.deleted_at.is_(None),
        _MESSAGE.c.created_at >= _PERSON.c.opted_out_at,
        _MESSAGE.c.created_at < bindparam("before"),
        or_(_HANDOFF.c.id.is_(None), _HANDOFF.c.released_at < bindparam("before")),
        or_(_TURN.c.id.is_(None), and_(in_state(_TURN.c.state, *_ENDED), _TURN.c.finished_at < bindparam("before"))),
    )
    .order_by(_MESSAGE.c.id)
    .limit(BATCH)
)
_OVERDUE_REPLIES = (
    select(_MESSAGE.c.id)
    .select_from(_PERSON)
    .join(_HANDOFF, _HANDOFF.c.participant_id == _PERSON.c.id)
    .join(_MESSAGE, _MESSAGE.c.handoff_id == _HANDOFF.c.id)
    .where(
        _PERSON.c.opted_out_at.is_not(None),
        _HANDOFF.c.released_at < bindparam("before"),
        _MESSAGE.c.handoff_id.is_not(None),
        _MESSAGE.c.staff,
        _MESSAGE.c.deleted_at.is_(None),
        _MESSAGE.c.created_at >= _PERSON.c.opted_out_at,
    )
    .order_by(_MESSAGE.c.id)
    .limit(BATCH)
)


def overdue(session: Session, before: datetime) -> list[int]:
    """What people who opted out said and were told, at most two batches of Messages.

    Those whose Turn ended before `before` without reaching them, and those of a hand-off that was over by then.
    """
    return [found for each in (_OVERDUE, _OVERDUE_REPLIES) for found in session.scalars(each, {"before": before})]


def purge_overdue(session: Session, before: datetime, now: datetime) -> Purged:
    """Purge what is `overdue`. Whoever comes back for the answer is told that it was not kept."""
    locked: list[int] = []
    for each in (_OVERDUE, _OVERDUE_REPLIES):
        locked += session.scalars(each.with_for_update(of=_MESSAGE, skip_locked=True), {"before": before})
    return purging.purge(session, purging.lock_ended(session, locked), now)
