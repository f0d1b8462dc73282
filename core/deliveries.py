"""The ledger: what has reached the platform, chunk by chunk, so that a crash resumes at chunk k and repeats nothing.

What belongs to another wording of a question, or to one that is deleted, stands in it until it is removed there.

Knows rows. When a chunk is sent and with which nonce is the bots' affair.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, delete, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core import purging
from core.errors import NotFound
from core.models import Delivery, Generation, Turn, tables
from core.purging import Purged
from core.values import DeliveryState


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One chunk of one Generation; `external_id` is the platform's message id once it is sent."""

    chunk: int
    state: DeliveryState
    external_id: str | None


# Built once: putting a statement together costs more than SQLite takes to run it.
_DELIVERY, _GENERATION = tables(Delivery, Generation)
_REMOVING = _DELIVERY.c.state == DeliveryState.REMOVING
_OF_GENERATION = (
    select(_DELIVERY.c.chunk, _DELIVERY.c.state, _DELIVERY.c.external_id)
    .where(_DELIVERY.c.generation_id == bindparam("of_generation"))
    .order_by(_DELIVERY.c.chunk)
)


def _send(dialect: Any) -> Any:
    """Adds a chunk that is about to be sent; one that is sent, or to be removed, stays that."""
    add = dialect.insert(_DELIVERY)
    again = {"state": add.excluded.state, "updated_at": add.excluded.updated_at}
    return add.on_conflict_do_update(
        index_elements=["generation_id", "chunk"],
        set_=again,
        where=_DELIVERY.c.state.not_in([DeliveryState.SENT, DeliveryState.REMOVING]),
    )


_SEND = {"sqlite": _send(sqlite), "postgresql": _send(postgresql)}
_SENT = (
    update(_DELIVERY)
    .where(_DELIVERY.c.generation_id == bindparam("of_generation"), _DELIVERY.c.chunk == bindparam("of_chunk"))
    .values(
        state=case((_REMOVING, _DELIVERY.c.state), else_=literal(DeliveryState.SENT, _DELIVERY.c.state.type)),
        external_id=bindparam("as_message"),
        updated_at=bindparam("now"),
    )
    .returning(_DELIVERY.c.id)
)
_OF_TURN = _DELIVERY.c.generation_id.in_(
    select(_GENERATION.c.id).where(_GENERATION.c.turn_id == bindparam("of_turn")).scalar_subquery()
)
_TO_REMOVE = (
    select(_DELIVERY.c.external_id)
    .where(_OF_TURN, _REMOVING, _DELIVERY.c.external_id.is_not(None))
    .order_by(_DELIVERY.c.id)
)
_REMOVED = delete(_DELIVERY).where(_OF_TURN, _REMOVING)
_TAKE_BACK = update(_DELIVERY).where(_OF_TURN).values(state=DeliveryState.REMOVING, updated_at=bindparam("now"))


def of_generation(session: Session, generation_id: int) -> list[DeliveryView]:
    """What the ledger holds of a Generation, in order."""
    return [DeliveryView(*row) for row in session.execute(_OF_GENERATION, {"of_generation": generation_id})]


def take_back(session: Session, turn_id: int, now: datetime) -> bool:
    """Note that every answer to the Turn so far is to be removed from the platform. Whether there may be any."""
    result: Any = session.execute(_TAKE_BACK, {"of_turn": turn_id, "now": now})
    return bool(result.rowcount)


def to_remove(session: Session, turn_id: int) -> list[str]:
    """The platform's ids of the messages of the Turn that are to be removed, the oldest first."""
    return list(session.scalars(_TO_REMOVE, {"of_turn": turn_id}))


def sending(session: Session, generation_id: int, chunk: int, now: datetime) -> None:
    """Note that `chunk` is about to be sent; one that is sent, or to be removed, stays that."""
    row = {"generation_id": generation_id, "chunk": chunk, "state": DeliveryState.SENDING, "updated_at": now}
    session.execute(_SEND[session.get_bind().dialect.name], row)


def sent(session: Session, generation_id: int, chunk: int, external_id: str, now: datetime) -> None:
    """Note that `chunk` stands on the platform as `external_id`, if only to be removed. Raises NotFound where it was not announced."""
    values = {"of_generation": generation_id, "of_chunk": chunk, "as_message": external_id, "now": now}
    if session.execute(_SENT, values).one_or_none() is None:
        raise NotFound(f"Chunk {chunk} of generation {generation_id} was never begun.")


def delivered(
    session: Session, turn_id: int, fence: int, now: datetime, removed: Collection[str] | None = ()
) -> Purged | None:
    """Note that the person has everything of the Turn, and nothing else of it, and purge it where they want nothing kept.

    `removed` are the messages that were taken away; None is whatever is to be. None is returned where it was asked for
    again meanwhile, or where more is to be taken away since.
    """
    unwanted = purging.lock_unwanted(session, turn_id)
    found = session.scalar(
        update(Turn)
        .where(Turn.id == turn_id, Turn.fence == fence, Turn.finished_at.is_not(None))
        .values(delivered_at=now)
        .returning(Turn.id),
        execution_options={"synchronize_session": False},
    )
    if found is None:
        return None
    if removed is not None and not set(to_remove(session, turn_id)) <= set(removed):
        session.execute(update(Turn).where(Turn.id == turn_id).values(delivered_at=None))
        return None
    session.execute(_REMOVED, {"of_turn": turn_id})
    return purging.purge(session, unwanted, now, keep_offers=True)
