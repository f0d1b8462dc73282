"""The order in which queued Turns are claimed, as SQL that `core/turns.py` runs.

The oldest open one of each Conversation, one at a time; among Workspaces the one with the fewest running first, then among
Participants. For a moment a Turn is left to the worker that has its Conversation's KV, if that one could take it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    ScalarSelect,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute

from core.models import Conversation, Turn, tables
from core.values import TurnState

_TURN, _CONVERSATION = tables(Turn, Conversation)


@dataclass(frozen=True, slots=True)
class Others:
    """The other workers that are ready.

    A Turn whose Conversation's KV is with one of them is left to it for `grace_s`, while it answers fewer than `slots`.
    """

    owners: frozenset[str] = frozenset()
    slots: int = 1
    grace_s: float = 0.0

    def values(self, now: datetime) -> dict[str, Any]:
        """The parameters of the statements below."""
        since = now - timedelta(seconds=self.grace_s)
        return {"others": sorted(self.owners), "slots": self.slots, "since": since, "until": now}


NOBODY = Others()


def in_state(
    state: ColumnElement[TurnState] | InstrumentedAttribute[TurnState], *states: TurnState
) -> ColumnElement[bool]:
    """The column `state` is one of `states`, written out literally: SQLite uses a partial index only then."""
    words: list[ColumnElement[TurnState]] = [literal_column(f"'{each}'") for each in states]
    return state == words[0] if len(words) == 1 else state.in_(words)


def next_queued(*, beside_others: bool) -> ScalarSelect[int]:
    """The id of the Turn to be claimed, locked; without what is left to Others, where there are any."""
    candidate = _TURN.alias("candidate")
    workspaces, people = _running_by("workspaces", "workspace_id"), _running_by("people", "participant_id")
    query = (
        select(candidate.c.id)
        .outerjoin(workspaces, workspaces.c.key == candidate.c.workspace_id)
        .outerjoin(people, people.c.key == candidate.c.participant_id)
        .where(in_state(candidate.c.state, TurnState.QUEUED), ~_blocked(candidate))
    )
    if beside_others:
        query = _with_left(query, candidate, left=False)
    return (
        query.order_by(
            func.coalesce(workspaces.c.running, 0),
            func.coalesce(people.c.running, 0),
            candidate.c.queued_at,
            candidate.c.id,
        )
        .limit(1)
        .with_for_update(skip_locked=True, of=candidate)
        .scalar_subquery()
    )


def left_to_others() -> Select[datetime]:
    """Since when the Turn that could be claimed longest is left to one of the Others."""
    candidate = _TURN.alias("candidate")
    query = select(_claimable_since(candidate)).where(
        in_state(candidate.c.state, TurnState.QUEUED), ~_blocked(candidate)
    )
    return _with_left(query, candidate, left=True).order_by(_claimable_since(candidate)).limit(1)


def _running_by(name: str, key: str) -> Subquery:
    """How many Turns run, by a column of theirs."""
    turn = _TURN.alias(f"running_by_{name}")
    running = select(turn.c[key].label("key"), func.count().label("running"))
    return running.where(in_state(turn.c.state, TurnState.RUNNING)).group_by(turn.c[key]).subquery(name)


def _blocked(candidate: FromClause) -> ColumnElement[bool]:
    """An earlier Turn of its Conversation is open, or any of it runs."""
    other = _TURN.alias("other")
    return exists().where(
        other.c.conversation_id == candidate.c.conversation_id,
        in_state(other.c.state, TurnState.QUEUED, TurnState.RUNNING),
        or_(other.c.seq < candidate.c.seq, in_state(other.c.state, TurnState.RUNNING)),
    )


def _claimable_since(candidate: FromClause) -> ColumnElement[datetime]:
    """When it was queued, or when the Turn before it ended, if that was later."""
    return case((_CONVERSATION.c.kv_at > candidate.c.queued_at, _CONVERSATION.c.kv_at), else_=candidate.c.queued_at)


def _with_left(query: Select[Any], candidate: FromClause, *, left: bool) -> Select[Any]:
    """Only the candidates that are left to one of the Others, or only the rest.

    One that seems to be from the future is not: of two clocks one is wrong then, and it might be left for long.
    """
    owners, since = _running_by("owners", "owner"), _claimable_since(candidate)
    is_left = and_(
        _CONVERSATION.c.kv_worker.is_not(None),
        _CONVERSATION.c.kv_worker.in_(bindparam("others", expanding=True)),
        since > bindparam("since"),
        since <= bindparam("until"),
        func.coalesce(owners.c.running, 0) < bindparam("slots"),
    )
    return (
        query.join(_CONVERSATION, _CONVERSATION.c.id == candidate.c.conversation_id)
        .outerjoin(owners, owners.c.key == _CONVERSATION.c.kv_worker)
        .where(is_left if left else ~is_left)
    )
