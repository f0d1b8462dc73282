"""Retention: words that are older than they may be kept are purged, a few at a time.

A wording, an answer and a comment each have an age of their own; a Turn's arguments have that of its Message. How old
they may get is a setting of the process, which a Workspace's own (`retention_days`) replaces; 0 is for ever. Any number
of reapers may do this at once: on PostgreSQL each takes what no other has locked, and what is purged stays purged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, or_, select
from sqlalchemy.orm import Session

from core import purging
from core.database import Database
from core.models import Conversation, Message, Workspace, tables
from core.purging import BATCH, Purged
from core.values import Place

SETTING = "retention_days"
"""Its name in a Workspace's settings."""

MAX_DAYS = 36_500

_CONVERSATIONS = 100
"""Conversations with something old that are looked for at once."""

_MESSAGE, _CONVERSATION = tables(Message, Conversation)
_OWN = Workspace.settings[SETTING].as_string()


def days_of(session: Session, place: Place, default_days: int) -> int:
    """How many days words are kept at `place`; 0 is for ever."""
    settings = session.scalar(
        select(Workspace.settings).where(Workspace.platform == place.platform, Workspace.external_id == place.workspace)
    )
    return _days(settings or {}, default_days)


def _days(settings: dict[str, Any], default_days: int) -> int:
    own = settings.get(SETTING)
    return min(own, MAX_DAYS) if type(own) is int and own >= 0 else default_days


def purge_old(database: Database, default_days: int, now: datetime) -> Iterator[Purged]:
    """Go once through everything that is too old; each step is one short transaction. Raises DatabaseUnavailable."""
    for group in _groups(database, default_days, now):
        after = 0
        while conversation_ids := _read(database, _with_old_words(group, after)):
            for conversation_id in conversation_ids:
                yield from _purge_conversation(database, conversation_id, group.older_than, now)
            after = conversation_ids[-1]


@dataclass(frozen=True, slots=True)
class _Group:
    """Conversations whose words are kept equally long."""

    conversations: ColumnElement[bool]
    older_than: datetime


def _groups(database: Database, default_days: int, now: datetime) -> Iterator[_Group]:
    """Each Workspace with a number of days of its own, then all others."""
    with database.read() as session:
        own = session.execute(select(Workspace.id, Workspace.settings).where(_OWN.is_not(None))).all()
    for workspace in own:
        if days := _days(workspace.settings, default_days):
            yield _Group(_CONVERSATION.c.workspace_id == workspace.id, now - timedelta(days=days))
    if default_days:
        others = Workspace.id == _CONVERSATION.c.workspace_id, _OWN.is_(None)
        yield _Group(select(Workspace.id).where(*others).exists(), now - timedelta(days=default_days))


def _with_old_words(group: _Group, after: int) -> Select[int]:
    """The next Conversations that have a kept Message from before. As a value, so that each is probed by the index."""
    old = (
        select(_MESSAGE.c.id)
        .where(
            _MESSAGE.c.conversation_id == _CONVERSATION.c.id,
            _MESSAGE.c.deleted_at.is_(None),
            _MESSAGE.c.created_at < group.older_than,
        )
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(_CONVERSATION.c.id)
        .where(_CONVERSATION.c.id > after, group.conversations, old.is_not(None))
        .order_by(_CONVERSATION.c.id)
        .limit(_CONVERSATIONS)
    )


def _read(database: Database, conversations: Select[int]) -> list[int]:
    with database.read() as session:
        return list(session.scalars(conversations))


_OLD = (
    select(_MESSAGE.c.id, _MESSAGE.c.created_at)
    .where(
        _MESSAGE.c.conversation_id == bindparam("of_conversation"),
        _MESSAGE.c.deleted_at.is_(None),
        _MESSAGE.c.created_at < bindparam("older_than"),
        _MESSAGE.c.created_at >= bindparam("since"),
        or_(_MESSAGE.c.created_at > bindparam("since"), _MESSAGE.c.id > bindparam("after")),
    )
    .order_by(_MESSAGE.c.created_at, _MESSAGE.c.id)
    .limit(BATCH)
    .with_for_update(of=_MESSAGE, skip_locked=True)
)
_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)


def _purge_conversation(
    database: Database, conversation_id: int, older_than: datetime, now: datetime
) -> Iterator[Purged]:
    """Purge a batch a step. What has younger words as well stays among the kept, and is passed."""
    where: dict[str, Any] = {"of_conversation": conversation_id, "since": _BEGINNING, "after": 0}
    while True:
        with database.write() as session:
            rows, purged = _purge_batch(session, where, older_than, now)
        yield purged
        if len(rows) < BATCH:
            return
        where |= {"since": rows[-1].created_at, "after": rows[-1].id}


def _purge_batch(
    session: Session, where: dict[str, Any], older_than: datetime, now: datetime
) -> tuple[Sequence[Any], Purged]:
    """Purge the next Messages but those that are to be answered just now. Returns all that were looked at, too."""
    rows = session.execute(_OLD, {**where, "older_than": older_than}).all()
    ended = purging.lock_ended(session, [row.id for row in rows])
    return rows, purging.purge(session, ended, now, older_than)
