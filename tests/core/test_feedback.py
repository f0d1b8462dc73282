"""Ratings and the delivery ledger."""

from __future__ import annotations

import pytest

from core import deliveries, feedback
from core.deliveries import DeliveryView
from core.errors import NotFound
from core.values import DeliveryState, Person, Rating
from tests.core.conftest import Chat

ME = Person(id="p")


def test_one_rating_each_that_can_be_changed_and_taken_back(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    chat.finish(chat.claimed())
    place = chat.message("m").place
    for rating, comment in ((Rating.UP, ""), (Rating.DOWN, "=wrong")):
        with chat.database.write() as session:
            feedback.rate(session, place, ME, turn_id, rating, comment, chat.now)
    with chat.database.read() as session:
        (row,) = feedback.export(session)
    assert (row["rating"], row["comment"], row["question"], row["answer"]) == (
        "down",
        "=wrong",
        "words of m",
        "an answer",
    )
    assert tuple(row) == feedback.COLUMNS
    with chat.database.write() as session:
        feedback.rate(session, place, ME, turn_id, None, "", chat.now)
        assert list(feedback.export(session)) == []


def test_someone_who_only_reads_along_may_rate(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    chat.finish(chat.claimed())
    for _ in range(2):
        with chat.database.write() as session:
            reader = Person(id="reader", display_name="Rae")
            feedback.rate(session, chat.message("m").place, reader, turn_id, Rating.UP, "", chat.now)
    with chat.database.read() as session:
        assert len(list(feedback.export(session))) == 1


def test_what_has_no_answer_cannot_be_rated(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    with chat.database.write() as session, pytest.raises(NotFound):
        feedback.rate(session, chat.message("m").place, ME, turn_id, Rating.UP, "", chat.now)


def test_the_ledger_goes_from_sending_to_sent_and_not_back(chat: Chat) -> None:
    chat.say("m")
    generation_id = chat.claimed().generation_id
    with chat.database.write() as session:
        for _ in range(2):
            deliveries.sending(session, generation_id, 0, chat.now)
            assert deliveries.of_generation(session, generation_id) == [DeliveryView(0, DeliveryState.SENDING, None)]
        deliveries.sent(session, generation_id, 0, "platform-id", chat.now)
        deliveries.sending(session, generation_id, 0, chat.now)
        (row,) = deliveries.of_generation(session, generation_id)
        assert row == DeliveryView(0, DeliveryState.SENT, "platform-id")
        with pytest.raises(NotFound):
            deliveries.sent(session, generation_id, 1, "never begun", chat.now)
        assert deliveries.of_generation(session, generation_id) == [row]
