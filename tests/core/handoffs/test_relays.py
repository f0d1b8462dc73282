"""What is brought to the person and to staff: in order, once, by one process, also after a crash."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, text

from core import conversations
from core.database import Database
from core.errors import LeaseLost
from core.handoffs import relays
from core.handoffs.relays import LEASE_S, Taken
from core.values import DeliveryState, RelayKind, Side
from tests.core.conftest import Chat
from tests.core.handoffs.asking import CHANNEL, Shop


def told(relays: list[Taken], side: Side) -> list[str]:
    """What a side is brought, words by their text."""
    return [taken.words or taken.kind.value for taken in relays if taken.side is side]


def test_each_side_is_told_in_order(shop: Shop) -> None:
    handoff_id = shop.claimed()
    shop.say("m")
    shop.reply(handoff_id, "one")
    shop.reply(handoff_id, "two")
    shop.release(handoff_id)
    brought = shop.bring_all()
    assert told(brought, Side.STAFF) == ["notice", "claimed", "words of m", "released"]
    assert told(brought, Side.PERSON) == ["claimed", "one", "two", "released"]
    assert shop.take() == []


def test_what_follows_waits_until_what_is_before_it_has_arrived(shop: Shop) -> None:
    handoff_id = shop.claimed()
    shop.reply(handoff_id, "one")
    shop.bring_all()
    shop.reply(handoff_id, "two")
    shop.reply(handoff_id, "three")
    (two,) = shop.take()
    assert two.words == "two" and shop.take() == []
    shop.bring(two, "m")
    (three,) = shop.take()
    assert three.words == "three"


def test_the_message_that_tells_staff_becomes_known(shop: Shop) -> None:
    handoff_id = shop.request().handoff_id
    (notice,) = shop.take()
    assert notice.kind is RelayKind.NOTICE and shop.view(handoff_id).notice_id is None
    shop.bring(notice, "1234")
    assert shop.view(handoff_id).notice_id == "1234" and shop.view(handoff_id).staff_channel == CHANNEL


def test_staffs_notice_is_changed_with_the_state(shop: Shop) -> None:
    handoff_id = shop.request().handoff_id
    shop.bring_all()
    shop.claim(handoff_id)
    assert [(taken.kind, bool(taken.external_ids)) for taken in shop.take() if taken.side is Side.STAFF] == [
        (RelayKind.NOTICE, True)
    ]


def test_a_crash_before_and_after_sending_is_taken_up_when_the_lease_ends(shop: Shop) -> None:
    shop.request()
    (first,) = shop.take()
    assert not first.again and shop.take() == []
    shop.chat.later(LEASE_S + 1)
    (second,) = shop.take()
    assert second.again and second.relay_id == first.relay_id
    shop.bring(second, "m")
    for late in (lambda session: relays.note(session, first, ["x"]), lambda session: relays.sent(session, first)):
        with pytest.raises(LeaseLost), shop.chat.database.write() as session:
            late(session)


def test_whoever_holds_on_loses_nothing(shop: Shop) -> None:
    shop.request()
    (taken,) = shop.take()
    for _ in range(3):
        shop.chat.later(LEASE_S - 1)
        with shop.chat.database.write() as session:
            relays.hold(session, [(taken.relay_id, taken.fence)], shop.chat.now)
        assert shop.take() == []
    shop.bring(taken, "m")


def test_of_several_processes_each_takes_something_else(shop: Shop) -> None:
    for number in range(6):
        shop.request(f"c{number}")
    together = threading.Barrier(3)

    def take(_: int) -> list[Taken]:
        together.wait()
        return shop.take(2)

    with ThreadPoolExecutor(3) as threads:
        taken = [each.relay_id for some in threads.map(take, range(3)) for each in some]
    taken += [each.relay_id for each in shop.take()]  # what was locked just then is left to the next look
    assert len(taken) == len(set(taken)) == 6


def test_an_edit_is_shown_where_the_words_stand_also_while_they_are_on_their_way(shop: Shop) -> None:
    shop.claimed()
    shop.bring_all()
    shop.say("m")
    (first,) = shop.take()
    with shop.chat.database.write() as session:
        conversations.edit(session, shop.place(), "m", "other words", shop.chat.now)
    assert shop.take() == []
    shop.bring(first, "100")
    (again,) = shop.take()
    assert (again.words, again.external_ids) == ("other words", ("100",))
    shop.bring(again, "100")
    assert shop.take() == []


def test_what_is_deleted_is_taken_away_on_both_sides(shop: Shop) -> None:
    handoff_id = shop.claimed()
    shop.say("m")
    shop.reply(handoff_id, "a mistake", "r")
    shop.bring_all()
    for event_id in ("m", "r"):
        with shop.chat.database.write() as session:
            conversations.delete(session, shop.place(), event_id, shop.chat.now)
    gone = [(taken.side, taken.words) for taken in shop.bring_all() if taken.kind is RelayKind.WORDS]
    assert sorted(gone) == [(Side.PERSON, ""), (Side.STAFF, "")]


def test_staff_that_answer_on_the_page_are_seen_in_their_channel(shop: Shop) -> None:
    handoff_id = shop.claimed()
    shop.bring_all()
    shop.reply(handoff_id, "from the page", platform="web")
    assert sorted((taken.side, taken.words, taken.staff) for taken in shop.take()) == [
        (Side.PERSON, "from the page", True),
        (Side.STAFF, "from the page", True),
    ]


def test_a_refused_notice_is_told_to_the_person_once(shop: Shop) -> None:
    handoff_id = shop.claimed()
    shop.say("m")
    for _ in range(4):
        for taken in shop.take():
            if taken.side is Side.STAFF:
                with shop.chat.database.write() as session:
                    relays.refused(session, taken, shop.chat.now)
            else:
                shop.bring(taken, "m")
    assert [relay.kind for relay in shop.relays() if relay.side is Side.PERSON] == [
        RelayKind.CLAIMED,
        RelayKind.UNREACHABLE,
    ]
    assert all(relay.state is DeliveryState.SENT for relay in shop.relays())
    assert shop.view(handoff_id).claimed


def test_staff_are_told_of_each_word_that_did_not_reach_the_person(shop: Shop) -> None:
    handoff_id = shop.claimed()
    shop.bring_all()
    for words in ("one", "two"):
        shop.reply(handoff_id, words)
        (taken,) = shop.take()
        with shop.chat.database.write() as session:
            relays.refused(session, taken, shop.chat.now)
        assert [(each.side, each.kind) for each in shop.bring_all()] == [(Side.STAFF, RelayKind.UNDELIVERED)]


def test_nothing_waits_for_staff_where_there_is_no_channel(chat: Chat) -> None:
    shop = Shop(chat)
    handoff_id = shop.claimed()
    shop.say("m")
    shop.release(handoff_id)
    assert told(shop.bring_all(), Side.STAFF) == []
    assert told(shop.take(), Side.PERSON) == []


def test_a_page_shows_what_is_said_and_needs_nothing_brought(chat: Chat) -> None:
    shop = Shop(chat, platform="web")
    shop.set("handoff_channel", "page")
    handoff_id = shop.claimed()
    shop.say("m")
    shop.reply(handoff_id, "hello")
    assert shop.relays() == []


def test_what_is_due_is_found_by_an_index(shop: Shop, database_kind: str) -> None:
    """However many have been brought before."""
    shop.request()
    shop.bring_all()
    with shop.chat.database.write() as session:
        session.execute(text(MANY_BROUGHT))
        session.execute(text("ANALYZE"))
    plan = explained(shop.chat.database, shop)
    assert "ix_relay_unsent" in plan and "Seq Scan on relay" not in plan


MANY_BROUGHT = """
WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
INSERT INTO relay (id, handoff_id, side, kind, state, external_ids, wanted, fence, begun, created_at)
SELECT n.i, r.handoff_id, 'person', 'words', 'sent', r.external_ids, 1, 1, r.begun, r.created_at
FROM n, (SELECT * FROM relay LIMIT 1) r
"""


def explained(database: Database, shop: Shop) -> str:
    """How the database looks for what is due."""
    found: list[tuple[str, object]] = []

    def note(connection: object, cursor: object, statement: str, parameters: object, *rest: object) -> None:
        found.append((statement, parameters))

    with database.write() as session:
        engine = session.connection().engine
        event.listen(engine, "before_cursor_execute", note)
        relays.take(session, "discord", 10, shop.chat.now)
        event.remove(engine, "before_cursor_execute", note)
        statement, parameters = found[0]
        explain = "EXPLAIN QUERY PLAN " if database.sqlite else "EXPLAIN "
        rows = session.connection().exec_driver_sql(explain + statement, parameters)  # type: ignore[arg-type]
        return "\n".join(str(row[-1]) for row in rows)
