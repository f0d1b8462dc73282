"""The queue in SQL: claim, lease, fence, heartbeat, finish, release, reap.

Knows the order of Turns: the oldest open one of each Conversation, one at a time; among Workspaces the one with the
fewest running first, then among Participants. A Celery message only calls a worker here; what is written here decides.
Every write of a worker is fenced: `fence` grows with each claim, and a worker with an older one has lost the Turn.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from core.errors import FailureCode, LeaseLost
from core.models import (
    Conversation,
    Generation,
    Message,
    MessageRevision,
    Participant,
    RecipeVersion,
    Turn,
    Workspace,
)
from core.values import FinishReason, SamplingParams, TurnState, Usage

_CLAIM_TRIES = 3


def in_state(turn: Any, *states: TurnState) -> ColumnElement[bool]:
    """`turn` is in one of `states`, written out literally: SQLite uses a partial index only then."""
    words: list[ColumnElement[TurnState]] = [literal_column(f"'{state}'") for state in states]
    column: ColumnElement[bool] = turn.state == words[0] if len(words) == 1 else turn.state.in_(words)
    return column


@dataclass(frozen=True, slots=True)
class ClaimedTurn:
    """A Turn that this worker has until its lease ends, with what is needed to answer it."""

    turn_id: int
    generation_id: int
    fence: int
    attempt: int
    workspace_id: int
    conversation_id: int
    participant_id: int
    message_id: int
    revision: int
    seq: int
    text: str
    speaker: str | None
    shared: bool
    recipe: str
    arguments: dict[str, str]
    language: str
    cut_seq: int
    queued_at: datetime
    workspace_settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """The source text of a recipe or persona, kept under its version so that `why` can render it again."""

    version: str
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a claimed Turn ended. `prompt` is a PromptRecord as JSON; `cut_seq` is the Conversation's from now on."""

    turn_id: int
    generation_id: int
    fence: int
    state: TurnState
    finish_reason: FinishReason
    text: str = ""
    token_ids: tuple[int, ...] = ()
    model: str | None = None
    model_revision: str | None = None
    sampling: SamplingParams | None = None
    usage: Usage = Usage()
    failure: FailureCode | None = None
    prompt: dict[str, Any] | None = None
    sources: tuple[Source, ...] = ()
    cut_seq: int | None = None
    timings_ms: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A Turn that ended without its worker; whoever follows it must be told."""

    turn_id: int
    generation_id: int | None
    fence: int
    state: TurnState
    failure: FailureCode | None


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one look for lost Turns found. `queued` counts what waits for a wake-up."""

    requeued: tuple[int, ...]
    ended: tuple[EndedTurn, ...]
    queued: int


def claim(session: Session, owner: str, lease_s: float, now: datetime) -> ClaimedTurn | None:
    """The next Turn for `owner`, or None. In one UPDATE, so that two workers never get the same one."""
    for _ in range(_CLAIM_TRIES):
        try:
            with session.begin_nested():
                turn = _take(session, owner, now + timedelta(seconds=lease_s), now)
        except IntegrityError:  # another worker got a Turn of the same Conversation in the same moment
            continue
        return _claimed(session, turn, now) if turn is not None else None
    return None


def _take(session: Session, owner: str, lease_until: datetime, now: datetime) -> Turn | None:
    statement = (
        update(Turn)
        .where(Turn.id == _next_queued().scalar_subquery())
        .values(
            state=TurnState.RUNNING,
            owner=owner,
            lease_until=lease_until,
            fence=Turn.fence + 1,
            attempt=Turn.attempt + 1,
            started_at=now,
        )
        .returning(Turn)
    )
    return session.scalars(statement, execution_options={"synchronize_session": False}).one_or_none()


def _next_queued() -> Select[int]:
    candidate, other = aliased(Turn, name="candidate"), aliased(Turn, name="other")
    workspace, person = aliased(Turn, name="of_workspace"), aliased(Turn, name="of_person")
    busy_workspaces = _running_by(workspace, workspace.workspace_id)
    busy_people = _running_by(person, person.participant_id)
    blocked = exists().where(
        other.conversation_id == candidate.conversation_id,
        in_state(other, TurnState.QUEUED, TurnState.RUNNING),
        or_(other.seq < candidate.seq, in_state(other, TurnState.RUNNING)),
    )
    return (
        select(candidate.id)
        .outerjoin(busy_workspaces, busy_workspaces.c.key == candidate.workspace_id)
        .outerjoin(busy_people, busy_people.c.key == candidate.participant_id)
        .where(in_state(candidate, TurnState.QUEUED), ~blocked)
        .order_by(
            func.coalesce(busy_workspaces.c.running, 0),
            func.coalesce(busy_people.c.running, 0),
            candidate.queued_at,
            candidate.id,
        )
        .limit(1)
        .with_for_update(skip_locked=True, of=candidate)
    )


def _running_by(turn: Any, key: Any) -> Any:
    return (
        select(key.label("key"), func.count().label("running"))
        .where(in_state(turn, TurnState.RUNNING))
        .group_by(key)
        .subquery()
    )


def _claimed(session: Session, turn: Turn, now: datetime) -> ClaimedTurn:
    message, revision, person, conversation, workspace = session.execute(
        select(Message, MessageRevision, Participant, Conversation, Workspace)
        .join(
            MessageRevision,
            and_(MessageRevision.message_id == Message.id, MessageRevision.number == Message.revision),
        )
        .join(Participant, Participant.id == Message.participant_id)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .join(Workspace, Workspace.id == Conversation.workspace_id)
        .where(Message.id == turn.message_id)
    ).one()
    return ClaimedTurn(
        turn_id=turn.id,
        generation_id=_open_generation(session, turn.id, now),
        fence=turn.fence,
        attempt=turn.attempt,
        workspace_id=turn.workspace_id,
        conversation_id=turn.conversation_id,
        participant_id=turn.participant_id,
        message_id=message.id,
        revision=revision.number,
        seq=turn.seq,
        text=revision.text,
        speaker=person.display_name,
        shared=conversation.shared,
        recipe=turn.recipe,
        arguments=turn.arguments,
        language=turn.language,
        cut_seq=_cut_for(session, turn, conversation),
        queued_at=turn.queued_at,
        workspace_settings=workspace.settings,
    )


def _open_generation(session: Session, turn_id: int, now: datetime) -> int:
    """The unfinished Generation of a lost attempt, or a new one."""
    row = session.execute(
        select(
            func.coalesce(func.max(Generation.number), 0).label("number"),
            func.max(Generation.id).filter(Generation.finish_reason.is_(None)).label("unfinished"),
        ).where(Generation.turn_id == turn_id)
    ).one()
    if row.unfinished is not None:
        return int(row.unfinished)
    generation = Generation(turn_id=turn_id, number=row.number + 1, created_at=now)
    session.add(generation)
    session.flush()
    return generation.id


def _cut_for(session: Session, turn: Turn, conversation: Conversation) -> int:
    """The Conversation's cut; for a Turn from before it, regenerated, the cut that its own Prompt had."""
    if turn.seq >= conversation.cut_seq:
        return conversation.cut_seq
    record = session.scalar(select(Generation.prompt).where(Generation.turn_id == turn.id, Generation.selected))
    return int(record["cut_seq"]) if record else turn.seq


def heartbeat(session: Session, owner: str, lease_s: float, now: datetime) -> tuple[dict[int, int], frozenset[int]]:
    """Renew all leases of `owner`. Returns the fence of each Turn that it holds, and those that it should cancel."""
    rows = session.execute(
        update(Turn)
        .where(Turn.owner == owner, in_state(Turn, TurnState.RUNNING))
        .values(lease_until=now + timedelta(seconds=lease_s))
        .returning(Turn.id, Turn.fence, Turn.cancel_requested),
        execution_options={"synchronize_session": False},
    ).all()
    return {row.id: row.fence for row in rows}, frozenset(row.id for row in rows if row.cancel_requested)


def finish(session: Session, outcome: Outcome, now: datetime) -> None:
    """End a claimed Turn and its Generation in one transaction. Raises LeaseLost where another fence holds it.

    An answer of no words whose Turn was cancelled, or which failed, leaves an earlier selected Generation selected.
    """
    conversation_id = _end_turn(session, outcome.turn_id, outcome.fence, outcome.state, outcome.failure, now)
    generation = session.get_one(Generation, outcome.generation_id)
    for name in ("text", "model", "model_revision", "prompt", "finish_reason", "failure", "timings_ms"):
        setattr(generation, name, getattr(outcome, name))
    generation.token_ids = pack_token_ids(outcome.token_ids) if outcome.token_ids else None
    generation.sampling = outcome.sampling.model_dump() if outcome.sampling else None
    generation.prompt_tokens = outcome.usage.prompt_tokens
    generation.cached_tokens = outcome.usage.cached_tokens
    generation.completion_tokens = outcome.usage.completion_tokens
    generation.finished_at = now
    if outcome.text or outcome.state is TurnState.DONE:
        _select(session, generation)
    _keep_sources(session, outcome.sources, now)
    if outcome.cut_seq is not None:
        session.execute(
            update(Conversation)
            .where(Conversation.id == conversation_id, Conversation.cut_seq < outcome.cut_seq)
            .values(cut_seq=outcome.cut_seq)
        )


def _end_turn(
    session: Session, turn_id: int, fence: int, state: TurnState, failure: FailureCode | None, now: datetime
) -> int:
    conversation_id: int | None = session.scalar(
        update(Turn)
        .where(Turn.id == turn_id, Turn.fence == fence, in_state(Turn, TurnState.RUNNING))
        .values(state=state, failure=failure, owner=None, lease_until=None, finished_at=now, cancel_requested=False)
        .returning(Turn.conversation_id),
        execution_options={"synchronize_session": False},
    )
    if conversation_id is None:
        raise LeaseLost(f"Turn {turn_id} is no longer held with fence {fence}.")
    return conversation_id


def _select(session: Session, generation: Generation) -> None:
    session.execute(
        update(Generation).where(Generation.turn_id == generation.turn_id, Generation.selected).values(selected=False)
    )
    generation.selected = True


def _keep_sources(session: Session, sources: tuple[Source, ...], now: datetime) -> None:
    for source in sources:
        if session.get(RecipeVersion, source.version) is None:
            session.merge(RecipeVersion(version=source.version, name=source.name, source=source.source, created_at=now))


def release(session: Session, owner: str, now: datetime) -> list[int]:
    """Give the running Turns of a worker that stops back to the queue; that is no failed attempt."""
    return list(
        session.scalars(
            update(Turn)
            .where(Turn.owner == owner, in_state(Turn, TurnState.RUNNING))
            .values(
                state=TurnState.QUEUED, owner=None, lease_until=None, fence=Turn.fence + 1, attempt=Turn.attempt - 1
            )
            .returning(Turn.id),
            execution_options={"synchronize_session": False},
        )
    )


def reap(session: Session, max_attempts: int, now: datetime) -> Reaped:
    """Take Turns whose lease has ended from their silent workers: to the queue, or to their end after `max_attempts`."""
    lost = session.scalars(
        select(Turn).where(in_state(Turn, TurnState.RUNNING), Turn.lease_until < now).with_for_update(skip_locked=True)
    ).all()
    requeued, ended = [], []
    for turn in lost:
        turn.fence += 1
        turn.owner = turn.lease_until = None
        if turn.cancel_requested:
            ended.append(_give_up(session, turn, TurnState.CANCELLED, None, now))
        elif turn.attempt >= max_attempts:
            ended.append(_give_up(session, turn, TurnState.FAILED, FailureCode.ATTEMPTS, now))
        else:
            turn.state = TurnState.QUEUED
            requeued.append(turn.id)
    session.flush()
    return Reaped(tuple(requeued), tuple(ended), count_queued(session))


def _give_up(session: Session, turn: Turn, state: TurnState, failure: FailureCode | None, now: datetime) -> EndedTurn:
    turn.state, turn.failure, turn.finished_at, turn.cancel_requested = state, failure, now, False
    generation = session.scalar(
        select(Generation).where(Generation.turn_id == turn.id, Generation.finish_reason.is_(None))
    )
    if generation is not None:
        generation.finish_reason = FinishReason.ERROR if failure else FinishReason.CANCELLED
        generation.failure, generation.finished_at = failure, now
    return EndedTurn(turn.id, generation.id if generation else None, turn.fence, state, failure)


def count_queued(session: Session) -> int:
    """How many Turns wait."""
    return session.scalar(select(func.count()).select_from(Turn).where(in_state(Turn, TurnState.QUEUED))) or 0


def pack_token_ids(token_ids: tuple[int, ...]) -> bytes:
    """Token ids as little-endian uint32."""
    return struct.pack(f"<{len(token_ids)}I", *token_ids)


def unpack_token_ids(packed: bytes) -> tuple[int, ...]:
    """Token ids from little-endian uint32."""
    return struct.unpack(f"<{len(packed) // 4}I", packed)
