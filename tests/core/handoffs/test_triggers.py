"""When a human is called without being asked for."""

from __future__ import annotations

import pytest

from core.handoffs import triggers, views
from core.handoffs.views import HandoffView
from core.values import HandoffReason, Person, Rating, RelayKind, Side
from tests.core.conftest import Chat
from tests.core.handoffs.asking import Shop


def rate(shop: Shop, turn_id: int, rating: Rating | None = Rating.DOWN, person: str = "p") -> HandoffView | None:
    """Rate, and see whether a hand-off is open then."""
    with shop.chat.database.write() as session:
        triggers.rate(session, shop.place(), Person(id=person), turn_id, rating, "", shop.chat.now)
    with shop.chat.database.read() as session:
        return next(iter(views.open_views(session, "discord", shop.workspace)), None)


def answers(shop: Shop, *event_ids: str) -> list[int]:
    for event_id in event_ids:
        shop.say(event_id)
        shop.chat.finish(shop.chat.claimed())
    return [turn.id for turn in shop.turns()][-len(event_ids) :]


def test_two_bad_answers_in_a_row_call_a_human_and_the_person_is_told(shop: Shop) -> None:
    first, second = answers(shop, "a", "b")
    assert rate(shop, first) is None
    called = rate(shop, second)
    assert called is not None and (called.why, called.turn_id) == (HandoffReason.RATING, second)
    assert {(relay.side, relay.kind) for relay in shop.relays()} == {
        (Side.STAFF, RelayKind.NOTICE),
        (Side.PERSON, RelayKind.REQUESTED),
    }


def test_a_good_answer_or_an_unrated_one_between_calls_nobody(shop: Shop) -> None:
    a, b, c, d = answers(shop, "a", "b", "c", "d")
    rate(shop, a)
    rate(shop, b, Rating.UP)
    assert rate(shop, c) is None, "the newest is not rated"
    assert rate(shop, d) is not None


def test_what_others_think_does_not_count(shop: Shop) -> None:
    first, second = answers(shop, "a", "b")
    rate(shop, first, person="q")
    assert rate(shop, second, person="q") is None


@pytest.mark.parametrize(("most", "called_after"), [("1", 1), ("3", 3), ("0", None)])
def test_how_many_is_a_setting(shop: Shop, most: str, called_after: int | None) -> None:
    shop.set("handoff_after_downvotes", most)
    called = [rate(shop, turn_id) is not None for turn_id in (answers(shop, name)[0] for name in "abcd")]
    assert (called.index(True) + 1 if True in called else None) == called_after


def test_after_a_hand_off_it_counts_anew(shop: Shop) -> None:
    for turn_id in answers(shop, "a", "b"):
        called = rate(shop, turn_id)
    assert called is not None
    shop.release(called.handoff_id)
    assert rate(shop, answers(shop, "c")[0]) is None
    assert rate(shop, answers(shop, "d")[0]) is not None


def test_nobody_is_called_where_nobody_is_named(chat: Chat) -> None:
    shop = Shop(chat)
    first, second = answers(shop, "a", "b")
    rate(shop, first)
    assert rate(shop, second) is None
    with chat.database.write() as session:
        assert not triggers.after_abstention(session, second, chat.now)


@pytest.mark.parametrize(("setting", "called"), [("auto", True), ("offer", False), ("never", False), (None, False)])
def test_no_answer_calls_a_human_where_that_is_wanted(shop: Shop, setting: str | None, called: bool) -> None:
    shop.set("handoff_on_abstain", setting)
    (turn_id,) = answers(shop, "a")
    with shop.chat.database.write() as session:
        assert triggers.after_abstention(session, turn_id, shop.chat.now) is called
        assert not triggers.after_abstention(session, turn_id, shop.chat.now)
    with shop.chat.database.read() as session:
        found = views.open_views(session)
    assert [view.why for view in found] == [HandoffReason.ABSTENTION] * called
