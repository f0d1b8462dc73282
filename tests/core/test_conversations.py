"""What people do to a Conversation, and who may do it to whose."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from core import conversations
from core.errors import Conflict, LeaseLost, NotAllowed, NotFound
from core.history import conversation_view
from core.models import Conversation
from core.values import Person, TurnState
from tests.core.conftest import Chat

ME, SOMEONE = Person(id="p"), Person(id="someone")


def test_an_edit_keeps_the_old_wording_and_asks_again(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    stale = chat.claimed()
    with chat.database.write() as session:
        conversations.edit(session, chat.message("m").place, "m", "new words", chat.now)
    assert chat.texts() == ["words of m", "new words"]
    with pytest.raises(LeaseLost):
        chat.finish(stale)
    again = chat.claimed()
    assert (again.turn_id, again.text, again.revision) == (turn_id, "new words", 2)


def test_an_edit_that_changes_no_word_asks_nothing(chat: Chat) -> None:
    chat.say("m")
    working = chat.claimed()
    with chat.database.write() as session:
        assert conversations.edit(session, chat.message("m").place, "m", "words of m", chat.now) is None
    assert chat.texts() == ["words of m"]
    chat.finish(working)


def test_a_deleted_message_has_no_words_and_gets_no_answer(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    working = chat.claimed()
    with chat.database.write() as session:
        conversations.delete(session, chat.message("m").place, "m", chat.now)
    assert chat.texts() == [""]
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
