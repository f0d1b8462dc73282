"""Asking the bot something, and looking at what became of it: in the channel and in SQL."""

from __future__ import annotations

from sqlalchemy import select

from core.database import Database
from core.models import Generation, MessageRevision, Turn
from tests.bots.discord.conftest import eventually
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.message import Message
from tests.bots.discord.standin.people import User

__all__ = ["eventually"]


async def ask(channel: Channel, person: User, words: str) -> Message:
    """Say it to the bot."""
    return await channel.say(person, words, mentions=[channel.discord.bot])


def written(channel: Channel) -> list[str]:
    """What the bot wrote, message by message."""
    return [answer.content for answer in channel.answers]


def words_kept(database: Database) -> set[str]:
    """Every word of a person or an answer that SQL has."""
    with database.read() as session:
        return {*session.scalars(select(MessageRevision.text)), *session.scalars(select(Generation.text))} - {""}


def turns_of(database: Database) -> list[Turn]:
    """Every Turn, in order."""
    with database.read() as session:
        return list(session.scalars(select(Turn).order_by(Turn.id)))


async def until_delivered(database: Database, count: int = 1) -> None:
    """Wait for so many Turns, all of them delivered."""

    def delivered() -> bool:
        turns = turns_of(database)
        return len(turns) >= count and all(turn.delivered_at is not None for turn in turns)

    await eventually(delivered)
