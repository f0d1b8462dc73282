"""Relays: what is still to be brought to the person or to staff, in order, each by one process at a time.

A row is written in the transaction of what it tells, so that a bot that crashed, or is elsewhere, brings it later. Whoever
takes one has it until its lease ends; what it sent is noted message by message. Knows rows; what is sent, and with which
nonce, is the bots' affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, Update, and_, bindparam, case, exists, literal, or_, select, text, update
from sqlalchemy.orm import Session

from core.errors import LeaseLost
from core.handoffs.models import Handoff, Relay
from core.models import Message, MessageRevision, Participant, Workspace, tables
from core.values import DeliveryState, Platform, RelayKind, Side

LEASE_S = 20.0
"""Whoever fell silent for longer loses what it was bringing."""

BROUGHT_TO: tuple[Platform, ...] = ("discord", "slack")
"""Platforms whose bots post to people; on the others a page shows what SQL holds."""

_RELAY, _HANDOFF, _MESSAGE, _WORKSPACE = tables(Relay, Handoff, Message, Workspace)
_OLDER = _RELAY.alias("older")
_PENDING, _SENDING, _SENT = (
    literal(state, _RELAY.c.state.type) for state in (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.SENT)
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A Relay that this process has until its lease ends.

    `words` are empty where they were purged, and where the kind has none. `again`: whoever had it before may have sent
    the message that follows `external_ids`.
    """

    relay_id: int
    handoff_id: int
    side: Side
    kind: RelayKind
    wanted: int
    fence: int
    again: bool
    external_ids: tuple[str, ...]
    words: str = ""
    speaker: str | None = None
    staff: bool = False
    event_id: str | None = None


def add(
    session: Session, handoff: Handoff, side: Side, kind: RelayKind, now: datetime, message_id: int | None = None
) -> None:
    """Have something brought to a side, where anybody is to bring it there."""
    if side is Side.STAFF and handoff.staff_channel is None:
        return
    if session.get_one(Workspace, handoff.workspace_id).platform in BROUGHT_TO:
        row = Relay(handoff_id=handoff.id, side=side, kind=kind, message_id=message_id, created_at=now)
        session.add(row)
        session.flush()  # in the order in which it is said


def renew_notice(session: Session, handoff_id: int) -> None:
    """Have staff's notice show how the hand-off stands now."""
    session.execute(_renewed(_RELAY.c.handoff_id == handoff_id, _RELAY.c.kind == RelayKind.NOTICE))


def renew_words(session: Session, message_ids: Sequence[int], *sides: Side) -> None:
    """Have the Messages shown on these sides as they read now: with other words, or not at all."""
    session.execute(_renewed(_RELAY.c.message_id.in_(message_ids), _RELAY.c.side.in_(sides)))


def renew_after_purge(session: Session, message_ids: Sequence[int]) -> None:
    """Have the words of these Messages taken away from what staff is shown: copies that Pajama made."""
    renew_words(session, message_ids, Side.STAFF)
    quoted = and_(
        _MESSAGE.c.conversation_id == _HANDOFF.c.conversation_id,
        _MESSAGE.c.seq >= _HANDOFF.c.from_seq,
        or_(_MESSAGE.c.seq < _HANDOFF.c.opened_seq, _MESSAGE.c.seq < _HANDOFF.c.claimed_seq),
    )
    told = select(_HANDOFF.c.id).join(_MESSAGE, quoted).where(_MESSAGE.c.id.in_(message_ids))
    session.execute(
        _renewed(
            _RELAY.c.handoff_id.in_(told),
            _RELAY.c.side == Side.STAFF,
            _RELAY.c.kind.in_((RelayKind.NOTICE, RelayKind.CLAIMED)),
        )
    )


def _renewed(*rows: ColumnElement[bool]) -> Update:
    """Back to pending; what is on its way just now comes back once it has arrived."""
    state = case((_RELAY.c.state == DeliveryState.SENDING, _SENDING), else_=_PENDING)
    return update(_RELAY).where(*rows).values(wanted=_RELAY.c.wanted + 1, state=state)


_DUE: Select[int] = (
    select(_RELAY.c.id)
    .join(_HANDOFF, _HANDOFF.c.id == _RELAY.c.handoff_id)
    .join(_WORKSPACE, _WORKSPACE.c.id == _HANDOFF.c.workspace_id)
    .where(
        text("relay.state != 'sent'"),  # literally: SQLite uses a partial index only then
        _WORKSPACE.c.platform == bindparam("on_platform"),
        or_(_RELAY.c.state == DeliveryState.PENDING, _RELAY.c.lease_until < bindparam("now")),
        ~exists().where(
            _OLDER.c.handoff_id == _RELAY.c.handoff_id,
            _OLDER.c.side == _RELAY.c.side,
            _OLDER.c.id < _RELAY.c.id,
            _OLDER.c.state != DeliveryState.SENT,
        ),
    )
    .order_by(_RELAY.c.id)
    .limit(bindparam("most"))
    .with_for_update(of=_RELAY, skip_locked=True)
)


def take(session: Session, platform: str, most: int, now: datetime) -> list[Taken]:
    """What is to be brought next on a platform, at most one a side of each Handoff, until a lease ends."""
    due = session.scalars(_DUE, {"on_platform": platform, "now": now, "most": most}).all()
    return [_take(session, relay_id, now) for relay_id in due]


def _take(session: Session, relay_id: int, now: datetime) -> Taken:
    relay = session.get_one(Relay, relay_id)
    again, relay.begun = relay.begun, True
    relay.state, relay.fence, relay.lease_until = (
        DeliveryState.SENDING,
        relay.fence + 1,
        now + timedelta(seconds=LEASE_S),
    )
    said = session.get(Message, relay.message_id) if relay.message_id is not None else None
    newest = session.get_one(MessageRevision, (said.id, said.revision)) if said is not None else None
    author = session.get_one(Participant, said.participant_id) if said is not None else None
    return Taken(
        relay_id=relay.id,
        handoff_id=relay.handoff_id,
        side=relay.side,
        kind=relay.kind,
        wanted=relay.wanted,
        fence=relay.fence,
        again=again,
        external_ids=tuple(relay.external_ids),
        words=newest.text if newest else "",
        speaker=author.display_name if author else None,
        staff=said is not None and said.staff,
        event_id=said.external_id if said else None,
    )


def hold(session: Session, held: Sequence[tuple[int, int]], now: datetime) -> None:
    """Have these, by id and fence, for another lease."""
    for relay_id, fence in held:
        session.execute(_held(relay_id, fence).values(lease_until=now + timedelta(seconds=LEASE_S)))


def note(session: Session, taken: Taken, external_ids: Sequence[str]) -> None:
    """Note which messages show it so far; staff's notice becomes known by its first. Raises LeaseLost."""
    if taken.kind is RelayKind.NOTICE and external_ids:
        session.execute(update(_HANDOFF).where(_HANDOFF.c.id == taken.handoff_id).values(notice_id=external_ids[0]))
    _changed(session, taken, external_ids=list(external_ids))


def sent(session: Session, taken: Taken) -> None:
    """Note that all of it is there, unless it is to look different by now. Raises LeaseLost."""
    state = case((_RELAY.c.wanted == taken.wanted, _SENT), else_=_PENDING)
    _changed(session, taken, state=state, begun=False, lease_until=None)


def refused(session: Session, taken: Taken, now: datetime) -> None:
    """Note that the platform will never take it. Whoever waits for it is told, once. Raises LeaseLost."""
    handoff = session.get_one(Handoff, taken.handoff_id, with_for_update=True)
    _changed(session, taken, state=DeliveryState.SENT, begun=False, lease_until=None)
    side, kind = (
        (Side.PERSON, RelayKind.UNREACHABLE) if taken.side is Side.STAFF else (Side.STAFF, RelayKind.UNDELIVERED)
    )
    told = exists().where(_RELAY.c.handoff_id == handoff.id, _RELAY.c.kind == kind)
    speaks = taken.kind in (RelayKind.NOTICE, RelayKind.WORDS) and not taken.external_ids
    if speaks and (kind is RelayKind.UNDELIVERED or not session.scalar(select(told))):
        add(session, handoff, side, kind, now)


def _held(relay_id: int, fence: int) -> Update:
    return update(_RELAY).where(_RELAY.c.id == relay_id, _RELAY.c.fence == fence)


def _changed(session: Session, taken: Taken, **values: object) -> None:
    changed = session.execute(_held(taken.relay_id, taken.fence).values(values).returning(_RELAY.c.id)).one_or_none()
    if changed is None:
        raise LeaseLost(f"Relay {taken.relay_id} is no longer held with fence {taken.fence}.")
