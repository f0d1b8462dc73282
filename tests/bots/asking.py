"""Somebody who says something, and a look at what becomes of it, without a platform."""

from __future__ import annotations

from datetime import UTC, datetime

from bots.replies import watch
from core import turns
from core.database import Database
from core.history import TurnView
from core.service import Service
from core.values import InboundMessage, Person, Place
from tests.bots.scripted_worker import OWNER

PERSON = Person(id="ada")


def place(conversation: str = "c") -> Place:
    return Place(platform="discord", workspace="w", conversation=conversation)


async def ask(service: Service, text: str, conversation: str = "c", event_id: str | None = None) -> TurnView:
    message = InboundMessage(place=place(conversation), person=PERSON, event_id=event_id or text, text=text)
    return await service.turn_status((await service.receive(message)).turn_id)


async def ended(service: Service, turn: TurnView) -> TurnView:
    """The Turn, once it has ended."""
    async for _ in watch(service, turn.turn_id):
        pass
    return await service.turn_status(turn.turn_id)


def lose_the_worker(database: Database) -> None:
    """Give what runs back to the queue, as if its worker had been stopped."""
    with database.write() as session:
        assert turns.release(session, OWNER, datetime.now(UTC))
