"""The ledger: what has reached the platform, chunk by chunk, so that a crash resumes at chunk k and repeats nothing.

Knows rows. When a chunk is sent and with which nonce is the bots' affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import purging
from core.errors import NotFound
from core.models import Conversation, Delivery, Generation, Message, Turn, Workspace
from core.purging import Purged
from core.values import DeliveryState, Place


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One chunk of one Generation; `external_id` is the platform's message id once it is sent."""

    chunk: int
    state: DeliveryState
    external_id: str | None


def of_generation(session: Session, generation_id: int) -> list[DeliveryView]:
    """What the ledger holds of a Generation, in order."""
    rows = session.scalars(select(Delivery).where(Delivery.generation_id == generation_id).order_by(Delivery.chunk))
    return [DeliveryView(row.chunk, row.state, row.external_id) for row in rows]


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


def sending(session: Session, generation_id: int, chunk: int, now: datetime) -> DeliveryView:
    """Note that `chunk` is about to be sent; one that is sent stays sent."""
    row = _row(session, generation_id, chunk)
    if row is None:
        row = Delivery(generation_id=generation_id, chunk=chunk)
        session.add(row)
    if row.state is not DeliveryState.SENT:
        row.state, row.updated_at = DeliveryState.SENDING, now
    return DeliveryView(chunk, row.state, row.external_id)


def sent(session: Session, generation_id: int, chunk: int, external_id: str, now: datetime) -> None:
    """Note that `chunk` stands on the platform as `external_id`. Raises NotFound where it was not announced."""
    row = _row(session, generation_id, chunk)
    if row is None:
        raise NotFound(f"Chunk {chunk} of generation {generation_id} was never begun.")
    row.state, row.external_id, row.updated_at = DeliveryState.SENT, external_id, now


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


def _row(session: Session, generation_id: int, chunk: int) -> Delivery | None:
    return session.scalar(select(Delivery).where(Delivery.generation_id == generation_id, Delivery.chunk == chunk))
