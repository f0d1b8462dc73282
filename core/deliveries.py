"""The ledger: what has reached the platform, chunk by chunk, so that a crash resumes at chunk k and repeats nothing.

Knows rows. When a chunk is sent and with which nonce is the bots' affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core import purging
from core.errors import NotFound
from core.models import Conversation, Delivery, Generation, Message, Turn, Workspace, tables
from core.purging import Purged
from core.values import DeliveryState, Place


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One chunk of one Generation; `external_id` is the platform's message id once it is sent."""

    chunk: int
    state: DeliveryState
    external_id: str | None


# Built once: putting a statement together costs more than SQLite takes to run it.
(_DELIVERY,) = tables(Delivery)
_OF_GENERATION = (
    select(_DELIVERY.c.chunk, _DELIVERY.c.state, _DELIVERY.c.external_id)
    .where(_DELIVERY.c.generation_id == bindparam("of_generation"))
    .order_by(_DELIVERY.c.chunk)
)


def _send(dialect: Any) -> Any:
    """Adds a chunk that is about to be sent; one that is sent stays sent."""
    add = dialect.insert(_DELIVERY)
    again = {"state": add.excluded.state, "updated_at": add.excluded.updated_at}
    return add.on_conflict_do_update(
        index_elements=["generation_id", "chunk"], set_=again, where=_DELIVERY.c.state != DeliveryState.SENT
    )


_SEND = {"sqlite": _send(sqlite), "postgresql": _send(postgresql)}
_SENT = (
    update(_DELIVERY)
    .where(_DELIVERY.c.generation_id == bindparam("of_generation"), _DELIVERY.c.chunk == bindparam("of_chunk"))
    .values(state=DeliveryState.SENT, external_id=bindparam("as_message"), updated_at=bindparam("now"))
    .returning(_DELIVERY.c.id)
)


def of_generation(session: Session, generation_id: int) -> list[DeliveryView]:
    """What the ledger holds of a Generation, in order."""
    return [DeliveryView(*row) for row in session.execute(_OF_GENERATION, {"of_generation": generation_id})]


def standing(session: Session, place: Place, event_id: str) -> list[str]:
    """The platform's ids of all messages that ever were an answer to this message, the oldest first."""
    return list(
        session.scalars(
            select(Delivery.external_id)
            .join(Generation, Generation.id == Delivery.generation_id)
            .join(Turn, Turn.id == Generation.turn_id)
            .join(Message, Message.id == Turn.message_id)
            .join(Conversation, Conversation.id == Message.conversation_id)
            .join(Workspace, Workspace.id == Conversation.workspace_id)
            .where(
                Workspace.platform == place.platform,
                Workspace.external_id == place.workspace,
                Conversation.external_id == place.conversation,
                Message.external_id == event_id,
                Delivery.external_id.is_not(None),
            )
            .order_by(Delivery.id)
        )
    )


def sending(session: Session, generation_id: int, chunk: int, now: datetime) -> None:
    """Note that `chunk` is about to be sent; one that is sent stays sent."""
    row = {"generation_id": generation_id, "chunk": chunk, "state": DeliveryState.SENDING, "updated_at": now}
    session.execute(_SEND[session.get_bind().dialect.name], row)


def sent(session: Session, generation_id: int, chunk: int, external_id: str, now: datetime) -> None:
    """Note that `chunk` stands on the platform as `external_id`. Raises NotFound where it was not announced."""
    values = {"of_generation": generation_id, "of_chunk": chunk, "as_message": external_id, "now": now}
    if session.execute(_SENT, values).one_or_none() is None:
        raise NotFound(f"Chunk {chunk} of generation {generation_id} was never begun.")


def delivered(session: Session, turn_id: int, fence: int, now: datetime) -> Purged | None:
    """Note that the person has everything of the Turn, and purge it where they want nothing kept.

    None where it was asked for again meanwhile.
    """
    unwanted = purging.lock_unwanted(session, turn_id)
    found = session.scalar(
        update(Turn)
        .where(Turn.id == turn_id, Turn.fence == fence, Turn.finished_at.is_not(None))
        .values(delivered_at=now)
        .returning(Turn.id),
        execution_options={"synchronize_session": False},
    )
    return purging.purge(session, unwanted, now, keep_offers=True) if found is not None else None
