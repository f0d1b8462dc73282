"""Forgetting a Participant: no word of theirs is left anywhere, and nobody else's is touched."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import LargeBinary, inspect, select, text

from core import conversations, feedback, privacy
from core.conversations import find_participant
from core.database import Database
from core.errors import LeaseLost
from core.models import Base, Feedback, Generation, Participant, Turn
from core.redis import connect, reply_key
from core.service import open_service
from core.settings import Settings
from core.streams import ReplyPublisher
from core.turns import pack_token_ids
from core.values import Person, Rating, ReplyEvent, ReplyEventKind, TurnState
from tests.core.conftest import MANY, Chat

MARK = "xylophone"
IDS = (4242, 4243)


def say_marked(chat: Chat, event_id: str, person: str, mark: str) -> None:
    message = chat.message(event_id, person=person)

    named = message.model_copy(update={"person": Person(id=person, display_name=mark), "arguments": {"style": mark}})
    with chat.database.write() as session:
        conversations.receive(session, named, f"I said {mark}", MANY, chat.now)


def everything(database: Database) -> str:
    """Every value of every column of every table, as text."""
    found = []
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(text(f'SELECT * FROM "{table.name}"')):
                found += [value.hex() if isinstance(value, bytes | memoryview) else str(value) for value in row]
    return "\n".join(found)


@pytest.fixture
def spoken(chat: Chat) -> Chat:
    """A marked person and another one have each been answered and have rated; the marked one has more waiting."""
    for person, mark in (("p", MARK), ("someone", "kept")):
        say_marked(chat, f"m-{person}", person, mark)
        claimed = chat.claimed()
        prompt = {"arguments": {"style": mark}, "cut_seq": 1}
        chat.finish(claimed, f"You said {mark}", token_ids=IDS if mark == MARK else (7,), prompt=prompt)
        with chat.database.write() as session:
            place = chat.message("x").place
            feedback.rate(session, place, Person(id=person), claimed.turn_id, Rating.UP, f"about {mark}", chat.now)
    say_marked(chat, "waiting", "p", MARK)
    return chat


def forget(chat: Chat) -> privacy.Forgotten:
    with chat.database.write() as session:
        participant = find_participant(session, chat.message("x").place, Person(id="p"))
        assert participant is not None
        return privacy.forget(session, participant.id, chat.now)


def test_no_word_is_left_anywhere_and_the_counts_stay(spoken: Chat) -> None:
    assert MARK in everything(spoken.database)
    forgotten = forget(spoken)
    left = everything(spoken.database)
    assert MARK not in left
    assert pack_token_ids(IDS).hex() not in left
    assert (forgotten.messages, forgotten.answers, forgotten.comments) == (2, 1, 1)
    with spoken.database.read() as session:
        assert len(session.scalars(select(Turn)).all()) == 3
        assert len(session.scalars(select(Feedback)).all()) == 2


def test_others_keep_their_words(spoken: Chat) -> None:
    forget(spoken)
    left = everything(spoken.database)
    assert left.count("kept") >= 4  # name, message, answer, comment


def test_what_is_open_ends_at_once_and_a_worker_cannot_bring_words_back(spoken: Chat) -> None:
    working = spoken.claimed()
    forget(spoken)
    with pytest.raises(LeaseLost):
        spoken.finish(working, f"You said {MARK}")
    assert MARK not in everything(spoken.database)
    with spoken.database.read() as session:
        assert session.get_one(Turn, working.turn_id).state is TurnState.CANCELLED


def test_every_column_of_text_or_bytes_is_known_to_the_search() -> None:
    """The search above reads whole tables, so a new column cannot hide words from it."""
    tables = {table.name for table in Base.metadata.sorted_tables}
    assert {mapper.local_table.name for mapper in Base.registry.mappers} == tables  # type: ignore[attr-defined]
    assert isinstance(inspect(Generation).columns["token_ids"].type, LargeBinary)
    assert "display_name" in inspect(Participant).columns


async def test_streams_are_deleted_and_workers_are_told(
    spoken: Chat, database_url: str, redis_url: str, redis_prefix: str
) -> None:
    settings = Settings(database_url=database_url, redis_url=redis_url, redis_prefix=redis_prefix)
    with connect(redis_url) as client, client.pubsub(ignore_subscribe_messages=True) as control:
        control.subscribe(f"{redis_prefix}:control")
        control.get_message(timeout=5)
        publisher = ReplyPublisher(client, redis_prefix, 60)
        publisher.start()
        publisher.publish(ReplyEvent(turn_id=1, generation_id=1, fence=1, kind=ReplyEventKind.DELTA, text=MARK))
        publisher.close()
        assert client.exists(reply_key(redis_prefix, 1))
        async with open_service(settings) as service:
            forgotten = await service.forget(spoken.message("x").place, Person(id="p"))
        assert forgotten is not None
        assert not client.exists(reply_key(redis_prefix, 1))
        told = []
        while (message := control.get_message(timeout=1)) is not None:
            told.append(message["data"])
    assert any("forget" in each for each in told)
    assert datetime.now(UTC) > spoken.now
