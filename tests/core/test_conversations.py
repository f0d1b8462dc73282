"""What people do to a Conversation, and who may do it to whose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select

from core import conversations
from core.conversations import QueueLimits
from core.errors import Busy, Conflict, EmptyMessage, LeaseLost, MessageTooLong, NotAllowed, NotFound, UnknownRecipe
from core.history import conversation_view
from core.models import Conversation, Message, MessageRevision, Turn
from core.service import Service, open_service
from core.settings import Settings
from core.values import Person, TurnState
from tests.core.conftest import Chat

ME, SOMEONE = Person(id="p"), Person(id="someone")


def texts_of(chat: Chat) -> list[str]:
    with chat.database.read() as session:
        return list(session.scalars(select(MessageRevision.text).order_by(MessageRevision.number)))


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


def test_an_edit_keeps_the_old_wording_and_asks_again(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    stale = chat.claimed()
    with chat.database.write() as session:
        conversations.edit(session, chat.message("m").place, "m", "new words", chat.now)
    assert texts_of(chat) == ["words of m", "new words"]
    with pytest.raises(LeaseLost):
        chat.finish(stale)
    again = chat.claimed()
    assert (again.turn_id, again.text, again.revision) == (turn_id, "new words", 2)


def test_an_edit_that_changes_no_word_asks_nothing(chat: Chat) -> None:
    chat.say("m")
    working = chat.claimed()
    with chat.database.write() as session:
        assert conversations.edit(session, chat.message("m").place, "m", "words of m", chat.now) is None
    assert texts_of(chat) == ["words of m"]
    chat.finish(working)


def test_an_event_is_found_in_every_conversation_of_its_workspace(chat: Chat) -> None:
    for conversation, workspace in (("1", "w"), ("2", "w"), ("1", "other")):
        chat.say("m", conversation=conversation, workspace=workspace)
    with chat.database.read() as session:
        found = conversations.places_of_event(session, "web", "w", "m")
        assert [place.conversation for place in found] == ["1", "2"]
        assert conversations.places_of_event(session, "web", "w", "unknown") == []


def test_events_that_asked_something_are_told_from_others(chat: Chat) -> None:
    chat.say("m")
    chat.say("n", conversation="2")
    chat.say("o", workspace="other")
    with chat.database.read() as session:
        assert conversations.asked_events(session, "web", "w", ["m", "n", "o", "unknown"]) == {"m", "n"}


def test_a_deleted_message_has_no_words_and_gets_no_answer(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    working = chat.claimed()
    with chat.database.write() as session:
        conversations.delete(session, chat.message("m").place, "m", chat.now)
    assert texts_of(chat) == [""]
    with pytest.raises(LeaseLost):
        chat.finish(working, "about the deleted words")
    assert chat.claim() is None
    with chat.database.write() as session, pytest.raises(NotFound):
        conversations.regenerate(session, chat.message("m").place, ME, turn_id, chat.now)


def test_only_the_asker_may_cancel_or_regenerate(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    place = chat.message("m").place
    with chat.database.write() as session, pytest.raises(NotAllowed):
        conversations.cancel(session, place, SOMEONE, turn_id, chat.now)
    with chat.database.write() as session:
        assert conversations.cancel(session, place, ME, turn_id, chat.now).state is TurnState.CANCELLED
    with chat.database.write() as session, pytest.raises(NotAllowed):
        conversations.regenerate(session, place, SOMEONE, turn_id, chat.now)


def test_an_open_turn_cannot_be_regenerated(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    with chat.database.write() as session, pytest.raises(Conflict):
        conversations.regenerate(session, chat.message("m").place, ME, turn_id, chat.now)


@pytest.mark.parametrize("elsewhere", [{"conversation": "other"}, {"workspace": "other"}])
def test_nothing_is_found_from_another_place(chat: Chat, elsewhere: dict[str, str]) -> None:
    turn_id = chat.say("m").turn_id
    chat.say("n", **elsewhere)
    place = chat.message("m", **elsewhere).place
    for act in (conversations.cancel, conversations.regenerate):
        with chat.database.write() as session, pytest.raises(NotFound):
            act(session, place, ME, turn_id, chat.now)
    with chat.database.write() as session:
        assert conversations.edit(session, place, "m", "x", chat.now) is None
        assert conversations.delete(session, place, "m", chat.now) is None
        assert [view.event_id for view in conversation_view(session, place, 10)] == ["n"]


def test_after_a_reset_nothing_of_before_is_seen(chat: Chat) -> None:
    chat.say("before")
    chat.finish(chat.claimed())
    place = chat.message("before").place
    with chat.database.write() as session:
        conversations.reset(session, place)
    after = chat.say("after")
    with chat.database.read() as session:
        assert [view.turn_id for view in conversation_view(session, place, 10)] == [after.turn_id]
        assert session.scalars(select(Conversation.cut_seq)).one() == 2
    assert chat.claimed().cut_seq == 2


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
    assert texts_of(chat) == [stored]


async def test_an_unknown_recipe_is_refused(service: Service, chat: Chat) -> None:
    with pytest.raises(UnknownRecipe):
        await service.receive(chat.message("m").model_copy(update={"recipe": "dance"}))
