"""The queue in SQL: claim, lease, fence, heartbeat, finish, release, reap.

A Celery message only calls a worker here; what is written here decides, in the order that `core/turn_order.py` knows.
Every write of a worker is fenced: `fence` grows with each claim, and a worker with an older one has lost the Turn.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from core.database import Database, insert_new
from core.errors import FailureCode, LeaseLost
from core.faq import matches
from core.faq.matches import Decided
from core.models import (
    Conversation,
    Generation,
    Message,
    MessageRevision,
    Participant,
    RecipeVersion,
    Turn,
    Workspace,
    tables,
)
from core.turn_order import NOBODY, Others, in_state, left_to_others, next_queued
from core.values import FinishReason, SamplingParams, TurnState, Usage

_CLAIM_TRIES = 3


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
    channel: str | None
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
    """How a claimed Turn ended. `prompt` is a PromptRecord as JSON; `cut_seq` is the Conversation's from now on.

    `decided` is what its FAQs gave, where any was asked; `kv_worker` keeps the Conversation's KV from now on.
    """

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
    decided: Decided | None = None
    kv_worker: str | None = None


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


# The hot path's statements are built once: putting one together costs more than SQLite takes to run it.
_TURN, _MESSAGE, _REVISION = tables(Turn, Message, MessageRevision)
_PERSON, _CONVERSATION, _WORKSPACE, _GENERATION = tables(Participant, Conversation, Workspace, Generation)


def _claim(*, beside_others: bool) -> ReturningUpdate[Any]:
    return (
        update(_TURN)
        .where(_TURN.c.id == next_queued(beside_others=beside_others))
        .values(
            state=TurnState.RUNNING,
            owner=bindparam("for_owner"),
            lease_until=bindparam("leased_until"),
            fence=_TURN.c.fence + 1,
            attempt=_TURN.c.attempt + 1,
            started_at=bindparam("now"),
        )
        .returning(_TURN)
    )


_CLAIM, _CLAIM_BESIDE_OTHERS, _LEFT = _claim(beside_others=False), _claim(beside_others=True), left_to_others()

_CLAIMED = (
    select(
        _REVISION.c.number.label("revision"),
        _REVISION.c.text,
        _PERSON.c.display_name,
        _CONVERSATION.c.channel,
        _CONVERSATION.c.shared,
        _CONVERSATION.c.cut_seq,
        _WORKSPACE.c.settings,
        select(func.max(_GENERATION.c.number))
        .where(_GENERATION.c.turn_id == bindparam("of_turn"))
        .scalar_subquery()
        .label("generations"),
        select(func.max(_GENERATION.c.id))
        .where(_GENERATION.c.turn_id == bindparam("of_turn"), _GENERATION.c.finish_reason.is_(None))
        .scalar_subquery()
        .label("unfinished"),
    )
    .select_from(_MESSAGE)
    .join(_REVISION, and_(_REVISION.c.message_id == _MESSAGE.c.id, _REVISION.c.number == _MESSAGE.c.revision))
    .join(_PERSON, _PERSON.c.id == _MESSAGE.c.participant_id)
    .join(_CONVERSATION, _CONVERSATION.c.id == _MESSAGE.c.conversation_id)
    .join(_WORKSPACE, _WORKSPACE.c.id == _CONVERSATION.c.workspace_id)
    .where(_MESSAGE.c.id == bindparam("of_message"))
)

_ADD_GENERATION = insert(_GENERATION).returning(_GENERATION.c.id)


def claim(session: Session, owner: str, lease_s: float, now: datetime, others: Others = NOBODY) -> ClaimedTurn | None:
    """The next Turn for `owner`, or None. In one UPDATE, so that two workers never get the same one.

    Raises IntegrityError where another worker got a Turn of the same Conversation in the same moment: try again.
    """
    values = {"for_owner": owner, "leased_until": now + timedelta(seconds=lease_s), "now": now}
    statement = _CLAIM_BESIDE_OTHERS if others.owners else _CLAIM
    turn = session.execute(statement, values | (others.values(now) if others.owners else {})).one_or_none()
    return _claimed(session, turn, now) if turn is not None else None


def claim_next(
    database: Database, owner: str, lease_s: float, now: datetime, others: Others = NOBODY
) -> ClaimedTurn | None:
    """`claim` in a transaction of its own, tried again where another worker was in the way."""
    for _ in range(_CLAIM_TRIES):
        with suppress(IntegrityError), database.write() as session:
            return claim(session, owner, lease_s, now, others)
    return None


def left_for(session: Session, now: datetime, others: Others) -> timedelta | None:
    """How much longer a Turn is left to one of the Others, the first where there are several. None: there is none."""
    since = session.scalar(_LEFT, others.values(now)) if others.owners else None
    return None if since is None else since + timedelta(seconds=others.grace_s) - now


def _claimed(session: Session, turn: Any, now: datetime) -> ClaimedTurn:
    found = session.execute(_CLAIMED, {"of_message": turn.message_id, "of_turn": turn.id}).one()
    generation_id = found.unfinished  # of a lost attempt
    if generation_id is None:
        number = (found.generations or 0) + 1
        generation_id = session.scalar(_ADD_GENERATION, {"turn_id": turn.id, "number": number, "created_at": now})
    before_the_cut = turn.seq < found.cut_seq
    return ClaimedTurn(
        turn_id=turn.id,
        generation_id=generation_id,
        fence=turn.fence,
        attempt=turn.attempt,
        workspace_id=turn.workspace_id,
        conversation_id=turn.conversation_id,
        participant_id=turn.participant_id,
        message_id=turn.message_id,
        revision=found.revision,
        seq=turn.seq,
        text=found.text,
        speaker=found.display_name,
        channel=found.channel,
        shared=found.shared,
        recipe=turn.recipe,
        arguments=turn.arguments,
        language=turn.language,
        cut_seq=_own_cut(session, turn) if before_the_cut else found.cut_seq,
        queued_at=turn.queued_at,
        workspace_settings=found.settings,
    )


def _own_cut(session: Session, turn: Any) -> int:
    """The cut that the Prompt of a Turn from before the Conversation's cut had, for when it is regenerated."""
    record = session.scalar(select(Generation.prompt).where(Generation.turn_id == turn.id, Generation.selected))
    return int(record["cut_seq"]) if record else int(turn.seq)


_HEARTBEAT = (
    update(_TURN)
    .where(_TURN.c.owner == bindparam("of_owner"), in_state(_TURN.c.state, TurnState.RUNNING))
    .values(lease_until=bindparam("until"))
    .returning(_TURN.c.id, _TURN.c.fence, _TURN.c.cancel_requested)
)


def heartbeat(session: Session, owner: str, lease_s: float, now: datetime) -> tuple[dict[int, int], frozenset[int]]:
    """Renew all leases of `owner`. Returns the fence of each Turn that it holds, and those that it should cancel."""
    rows = session.execute(_HEARTBEAT, {"of_owner": owner, "until": now + timedelta(seconds=lease_s)}).all()
    return {row.id: row.fence for row in rows}, frozenset(row.id for row in rows if row.cancel_requested)


_END_TURN = (
    update(_TURN)
    .where(
        _TURN.c.id == bindparam("of_turn"),
        _TURN.c.fence == bindparam("at_fence"),
        in_state(_TURN.c.state, TurnState.RUNNING),
    )
    .values(
        state=bindparam("to_state"),
        failure=bindparam("with_failure"),
        owner=None,
        lease_until=None,
        finished_at=bindparam("now"),
        cancel_requested=False,
    )
    .returning(_TURN.c.conversation_id, _TURN.c.workspace_id)
)

_DESELECT = (
    update(_GENERATION)
    .where(_GENERATION.c.turn_id == bindparam("of_turn"), _GENERATION.c.selected)
    .values(selected=False)
)

_RESULT = (
    "text", "token_ids", "model", "model_revision", "sampling", "prompt", "prompt_tokens", "cached_tokens",
    "completion_tokens", "finish_reason", "failure", "timings_ms", "selected", "finished_at",
)  # fmt: skip
_END_GENERATION = (
    update(_GENERATION)
    .where(_GENERATION.c.id == bindparam("of_generation"))
    .values({name: bindparam(f"new_{name}") for name in _RESULT})
)

_MOVE_CUT = (
    update(_CONVERSATION)
    .where(_CONVERSATION.c.id == bindparam("of_conversation"), _CONVERSATION.c.cut_seq < bindparam("to_seq"))
    .values(cut_seq=bindparam("to_seq"))
)


_UNLOCKED = _CONVERSATION.alias("unlocked")
# A hint is not worth waiting for whoever has the Conversation: they may wait for the Turn that ends here.
_KEEP = (
    update(_CONVERSATION)
    .where(
        _CONVERSATION.c.id
        == select(_UNLOCKED.c.id)
        .where(_UNLOCKED.c.id == bindparam("of_conversation"))
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    .values(kv_worker=bindparam("worker"), kv_at=bindparam("now"))
)


def finish(session: Session, outcome: Outcome, now: datetime) -> None:
    """End a claimed Turn and its Generation in one transaction. Raises LeaseLost where another fence holds it.

    An answer of no words whose Turn was cancelled, or which failed, leaves an earlier selected Generation selected.
    """
    ended = _end_turn(session, outcome, now)
    selected = bool(outcome.text) or outcome.state is TurnState.DONE
    if selected:
        session.execute(_DESELECT, {"of_turn": outcome.turn_id})
    result = {
        "text": outcome.text,
        "token_ids": pack_token_ids(outcome.token_ids) if outcome.token_ids else None,
        "model": outcome.model,
        "model_revision": outcome.model_revision,
        "sampling": outcome.sampling.model_dump() if outcome.sampling else None,
        "prompt": outcome.prompt,
        **outcome.usage.model_dump(),
        "finish_reason": outcome.finish_reason,
        "failure": outcome.failure,
        "timings_ms": outcome.timings_ms,
        "selected": selected,
        "finished_at": now,
    }
    values = {f"new_{name}": value for name, value in result.items()}
    session.execute(_END_GENERATION, {"of_generation": outcome.generation_id, **values})
    _keep_sources(session, outcome.sources, now)
    if outcome.cut_seq is not None:
        session.execute(_MOVE_CUT, {"of_conversation": ended.conversation_id, "to_seq": outcome.cut_seq})
    if outcome.kv_worker is not None:
        session.execute(_KEEP, {"of_conversation": ended.conversation_id, "worker": outcome.kv_worker, "now": now})
    if outcome.decided is not None:
        matches.record(
            session, outcome.generation_id, outcome.turn_id, ended.workspace_id, outcome.decided, now, outcome.text
        )


def _end_turn(session: Session, outcome: Outcome, now: datetime) -> Any:
    values = {
        "of_turn": outcome.turn_id,
        "at_fence": outcome.fence,
        "to_state": outcome.state,
        "with_failure": outcome.failure,
        "now": now,
    }
    ended = session.execute(_END_TURN, values).one_or_none()
    if ended is None:
        raise LeaseLost(f"Turn {outcome.turn_id} is no longer held with fence {outcome.fence}.")
    return ended


def _keep_sources(session: Session, sources: tuple[Source, ...], now: datetime) -> None:
    """Keep each source once; every answer has them, so they are nearly always there."""
    for source in sources:
        row = {"version": source.version, "name": source.name, "source": source.source, "created_at": now}
        insert_new(session, RecipeVersion, ("version",), row)


def release(session: Session, owner: str, now: datetime) -> list[int]:
    """Give the running Turns of a worker that stops back to the queue; that is no failed attempt."""
    return list(
        session.scalars(
            update(Turn)
            .where(Turn.owner == owner, in_state(Turn.state, TurnState.RUNNING))
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
        select(Turn)
        .where(in_state(Turn.state, TurnState.RUNNING), Turn.lease_until < now)
        .with_for_update(skip_locked=True)
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
    return session.scalar(select(func.count()).select_from(Turn).where(in_state(Turn.state, TurnState.QUEUED))) or 0


def pack_token_ids(token_ids: tuple[int, ...]) -> bytes:
    """Token ids as little-endian uint32."""
    return struct.pack(f"<{len(token_ids)}I", *token_ids)


def unpack_token_ids(packed: bytes) -> tuple[int, ...]:
    """Token ids from little-endian uint32."""
    return struct.unpack(f"<{len(packed) // 4}I", packed)
