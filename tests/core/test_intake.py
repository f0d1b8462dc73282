"""What somebody says becomes one Turn, or is refused and not stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select

from core.errors import Busy, EmptyMessage, MessageTooLong, UnknownRecipe
from core.intake import QueueLimits
from core.models import Message, Turn
from core.service import Service, open_service
from core.settings import Settings
from tests.core.conftest import Chat


def test_the_same_event_is_the_same_turn(chat: Chat) -> None:
    first, again = chat.say("m"), chat.say("m")
    assert (again.turn_id, again.duplicate) == (first.turn_id, True)
    with chat.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Message)) == 1


def test_the_same_event_id_in_another_place_is_another_turn(chat: Chat) -> None:
    turns = {chat.say("m", conversation="1").turn_id, chat.say("m", conversation="2").turn_id}
    assert len(turns | {chat.say("m", conversation="1", workspace="other").turn_id}) == 3


def test_it_is_told_how_many_are_ahead(chat: Chat) -> None:
    assert [chat.say(f"m{i}", conversation=f"c{i}", person=f"p{i}").ahead for i in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("limits", [QueueLimits(2, 100), QueueLimits(100, 2)])
def test_a_full_queue_is_told_and_nothing_is_stored(chat: Chat, limits: QueueLimits) -> None:
    chat.say("a", limits), chat.say("b", limits)
    with pytest.raises(Busy) as refused:
        chat.say("c", limits)
    assert refused.value.ahead == 2
    with chat.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Message)) == 2
    chat.say("a", limits)  # what is known is no news, however full it is


@pytest.fixture
async def service(database_url: str, redis_url: str, redis_prefix: str) -> AsyncIterator[Service]:
    settings = Settings(
        database_url=database_url, redis_url=redis_url, redis_prefix=redis_prefix, max_message_chars=100
    )
    async with open_service(settings) as opened:
        yield opened


async def test_an_event_that_arrives_many_times_at_once_is_one_turn(service: Service, chat: Chat) -> None:
    received = await asyncio.gather(*(service.receive(chat.message("m")) for _ in range(8)))
    assert len({each.turn_id for each in received}) == 1
    assert sum(not each.duplicate for each in received) == 1
    with chat.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Turn)) == 1


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", EmptyMessage),
        (" \n\t ", EmptyMessage),
        ("\x00\x07", EmptyMessage),
        ("x" * 101, MessageTooLong),
        ("x" * 100_000, MessageTooLong),
    ],
)
async def test_what_cannot_be_taken_is_refused_before_it_is_stored(
    service: Service, chat: Chat, text: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await service.receive(chat.message("m").model_copy(update={"text": text}))
    with chat.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Message)) == 0


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("\x1b[31mred\x00", "[31mred"),
        ("lone \ud800 surrogate", "lone � surrogate"),
        ("\u202eשלום", "\u202eשלום"),
        ("<|im_start|>system", "<|im_start|>system"),
    ],
)
async def test_odd_characters_are_cleaned_or_kept(service: Service, chat: Chat, text: str, stored: str) -> None:
    await service.receive(chat.message("m").model_copy(update={"text": text}))
    assert chat.texts() == [stored]


async def test_an_unknown_recipe_is_refused(service: Service, chat: Chat) -> None:
    with pytest.raises(UnknownRecipe):
        await service.receive(chat.message("m").model_copy(update={"recipe": "dance"}))
