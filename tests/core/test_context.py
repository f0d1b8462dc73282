"""Messages that are read for context: stored once, shown under their speakers' names, edited, deleted and forgotten."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from core import conversations, intake, privacy, workspaces
from core.database import Database
from core.errors import NotFound, QuotaUsed
from core.history import conversation_view, load_history
from core.models import Conversation, Message, MessageRevision, Participant, Turn
from core.places import find_participant
from core.prompts import PromptRequest, Speech, render
from core.recipes import load
from core.service import Service, open_service
from core.settings import Settings
from core.values import ContextMessage, InboundMessage, Person
from tests.core.conftest import MANY, Chat

BO, CY = Person(id="bo", display_name="Bo"), Person(id="cy", display_name="Cy")


def beside(event_id: str, person: Person = BO, text: str | None = None) -> ContextMessage:
    return ContextMessage(event_id=event_id, person=person, text=text or f"words of {event_id}")


def asked(chat: Chat, event_id: str, *context: ContextMessage, person: str = "p", **more: object) -> InboundMessage:
    message = chat.message(event_id, person=person)
    named = Person(id=person, display_name=person.title())
    return message.model_copy(update={"person": named, "context": context, **more})


def say(chat: Chat, event_id: str, *context: ContextMessage, **more: object) -> intake.Received:
    message = asked(chat, event_id, *context, **more)
    chat.later(0.001)
    with chat.database.write() as session:
        return intake.receive(session, message, message.text, MANY, chat.now)


def seen(chat: Chat) -> list[str]:
    """The next Turn's Prompt, part by part."""
    claimed = chat.claimed()
    with chat.database.read() as session:
        history = load_history(session, claimed.conversation_id, claimed.cut_seq, claimed.seq, "r")
    newest = Speech(claimed.seq, claimed.message_id, claimed.revision, claimed.text, claimed.speaker)
    request = PromptRequest(recipe=load("chat"), newest=newest, budget=999, history=history, shared=claimed.shared)
    chat.finish(claimed)
    return [part.text for part in render(request).parts]


def stored(chat: Chat) -> dict[str, int]:
    with chat.database.read() as session:
        return dict(session.execute(select(Message.external_id, Message.seq).order_by(Message.seq)).all())


class TestStoring:
    """Before their Turn, in order, once."""

    def test_they_stand_before_their_turn_and_are_no_turns(self, chat: Chat) -> None:
        turn_id = say(chat, "q", beside("a"), beside("b", CY), shared=True).turn_id
        assert stored(chat) == {"a": 1, "b": 2, "q": 3}
        with chat.database.read() as session:
            assert session.scalars(select(Turn.id)).all() == [turn_id]
            assert [view.event_id for view in conversation_view(session, chat.message("q").place, 9)] == ["q"]
            assert session.scalars(select(Conversation.next_seq)).one() == 4

    def test_the_model_sees_them_under_their_speakers_names(self, chat: Chat) -> None:
        say(chat, "q", beside("a"), beside("b", CY), shared=True)
        assert seen(chat) == ["Bo: words of a\n\nCy: words of b\n\nP: words of q"]

    def test_other_speakers_make_a_conversation_shared_and_it_stays_so(self, chat: Chat) -> None:
        say(chat, "1")
        assert seen(chat) == ["words of 1"]
        say(chat, "2", beside("a"))
        say(chat, "3")
        assert seen(chat) == ["P: words of 1", "an answer", "Bo: words of a\n\nP: words of 2"]
        assert seen(chat)[-1] == "P: words of 3"

    def test_shared_is_taken_from_a_later_message_and_never_back(self, chat: Chat) -> None:
        for event_id, shared in (("1", False), ("2", True), ("3", False)):
            say(chat, event_id, shared=shared)
        with chat.database.read() as session:
            assert session.scalars(select(Conversation.shared)).one() is True

    def test_what_is_known_is_kept_once_and_where_it_was(self, chat: Chat) -> None:
        say(chat, "1", beside("a"), beside("a", text="again"), shared=True)
        say(chat, "2", beside("a", text="other words"), beside("1"), beside("b"), beside("2"), shared=True)
        say(chat, "2", beside("late"), shared=True)  # the same event again
        assert stored(chat) == {"a": 1, "1": 2, "b": 3, "2": 4}
        assert seen(chat) == ["Bo: again\n\nP: words of 1"]  # the newest wording that was given

    def test_the_same_event_in_another_conversation_is_another_message(self, chat: Chat) -> None:
        say(chat, "1", beside("a"))
        say(chat, "1", beside("a"), place=chat.message("1", conversation="d").place)
        with chat.database.read() as session:
            assert session.scalar(select(func.count()).select_from(Message)) == 4
            assert session.scalar(select(func.count()).select_from(Participant)) == 2

    def test_one_that_is_asked_about_later_becomes_the_newest(self, chat: Chat) -> None:
        say(chat, "1", beside("a"), shared=True)
        seen(chat)
        say(chat, "a", person="bo", shared=True)
        assert stored(chat) == {"1": 2, "a": 3}
        assert seen(chat) == ["P: words of 1", "an answer", "Bo: words of a"]
        again = say(chat, "a", person="bo", shared=True)
        assert again.duplicate

    def test_one_that_was_deleted_is_not_taken_up(self, chat: Chat) -> None:
        say(chat, "1", beside("a"))
        with chat.database.write() as session:
            conversations.delete(session, chat.message("a").place, "a", chat.now)
        with pytest.raises(NotFound):
            say(chat, "a", person="bo")

    def test_a_refused_message_leaves_no_context(self, chat: Chat) -> None:
        say(chat, "1")
        with chat.database.write() as session:
            workspaces.change(session, "web", "w", "turns_per_day", 1, now=chat.now)
        with pytest.raises(QuotaUsed):
            say(chat, "2", beside("a"))
        assert stored(chat) == {"1": 1}

    @pytest.mark.parametrize(
        "much", [{"context": tuple(beside(str(i)) for i in range(21))}, {"roles": tuple(map(str, range(251)))}]
    )
    def test_there_are_bounds(self, chat: Chat, much: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            InboundMessage.model_validate({**chat.message("m").model_dump(), **much})

    def test_messages_at_once_with_the_same_context_store_it_once(self, chat: Chat, database_url: str) -> None:
        context = [beside(f"a{i}", Person(id=f"p{i}")) for i in range(10)]
        say(chat, "first")

        def speak(number: int) -> None:
            database = Database(database_url)
            given = context if number % 2 else context[::-1]
            message = asked(chat, f"m{number}", *given, person=f"p{number}", shared=True)
            with database.write() as session:
                intake.receive(session, message, "x", MANY, chat.now)
            database.close()

        threads = [threading.Thread(target=speak, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(stored(chat)) == {"first", *(f"a{i}" for i in range(10)), *(f"m{i}" for i in range(6))}
        assert len(set(stored(chat).values())) == 17


class TestChanging:
    """Edits, deletes and forgetting reach them."""

    def test_an_edit_reaches_them_and_asks_nothing(self, chat: Chat) -> None:
        say(chat, "q", beside("a"), shared=True)
        with chat.database.write() as session:
            assert conversations.edit(session, chat.message("a").place, "a", "new words", chat.now) is None
        assert seen(chat) == ["Bo: new words\n\nP: words of q"]
        assert chat.claim() is None

    def test_a_delete_purges_them(self, chat: Chat) -> None:
        say(chat, "q", beside("a"), shared=True)
        with chat.database.write() as session:
            deleted = conversations.delete(session, chat.message("a").place, "a", chat.now)
        assert deleted is not None and deleted.turn is None and deleted.purged.conversation_ids
        say(chat, "q2", beside("a"), shared=True)  # shown again, it stays deleted
        with chat.database.read() as session:
            assert "words of a" not in session.scalars(select(MessageRevision.text)).all()
        assert seen(chat) == ["P: words of q"]

    def test_forgetting_who_only_stood_beside_purges_their_words_and_name(self, chat: Chat) -> None:
        conversation_id = say(chat, "q", beside("a"), shared=True).conversation_id
        with chat.database.write() as session:
            bo = find_participant(session, "web", BO.id)
            assert bo is not None
            forgotten = privacy.forget(session, bo.id, chat.now)
        assert (forgotten.purged.messages, forgotten.purged.conversation_ids) == (1, {conversation_id})
        with chat.database.read() as session:
            assert set(session.scalars(select(MessageRevision.text))) == {"", "words of q"}
            assert session.scalars(select(Participant.display_name)).all().count("Bo") == 0
        assert seen(chat) == ["P: words of q"]


class TestChannel:
    """The Conversation's channel, by which its settings are found."""

    def test_it_is_kept_and_followed(self, chat: Chat) -> None:
        for event_id, channel, kept in (("1", None, None), ("2", "x", "x"), ("3", None, "x"), ("4", "y", "y")):
            say(chat, event_id, channel=channel)
            with chat.database.read() as session:
                assert session.scalars(select(Conversation.channel)).one() == kept


@pytest.fixture
async def service(database_url: str, redis_url: str, redis_prefix: str) -> AsyncIterator[Service]:
    settings = Settings(database_url=database_url, redis_url=redis_url, redis_prefix=redis_prefix, max_message_chars=50)
    async with open_service(settings) as opened:
        yield opened


async def test_context_is_cleaned_cut_and_left_out_where_empty(service: Service, chat: Chat) -> None:
    context = (beside("a", text="\x1b[1mbold\x00"), beside("b", text="\x07"), beside("c", text="y" * 60))
    await service.receive(asked(chat, "q", *context))
    with chat.database.read() as session:
        texts = session.scalars(select(MessageRevision.text).order_by(MessageRevision.message_id)).all()
    assert texts == ["[1mbold", "y" * 50, "words of q"]


def test_nothing_is_stored_of_who_opted_out(chat: Chat) -> None:
    with chat.database.write() as session:
        privacy.opt(session, "web", "bo", out=True, now=chat.now)
    say(chat, "m", beside("b1"), beside("c1", CY))
    assert list(stored(chat)) == ["c1", "m"]
