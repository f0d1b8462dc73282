"""Every query of the hot path finds its rows by an index, on both databases, in a table of some size."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from core import access, archive, backfill, deliveries, history, intake, open_turns, places, privacy, retention, turns
from core.database import Database
from core.turn_order import Others
from core.turns import count_queued
from core.values import ContextMessage, InboundMessage, Person, Place
from core.workspaces import WorkspaceSettings
from tests.core.conftest import MANY, Chat

LARGE = ("turn", "message", "message_revision", "generation", "delivery")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
PLACE = Place(platform="web", workspace="w1", conversation="c1")

BESIDE = Others(frozenset({"you", "them"}), 8, 0.05)

Query = Callable[[Session], object]


def receive(session: Session, **more: object) -> object:
    message = InboundMessage(place=PLACE, person=Person(id="p1"), event_id="new", text="x", **more)
    return intake.receive(session, message, "x", MANY, NOW)


def receive_with_context(session: Session) -> object:
    beside = [ContextMessage(event_id=f"b{i}", person=Person(id=f"p{i}"), text="y") for i in range(3)]
    return receive(session, shared=True, channel="ch", context=tuple(beside))


def check_quota(session: Session) -> None:
    for quotas in ({"turns_per_day": 9999}, {"turns_per_person_per_day": 9999}):
        access.check_quota(session, WorkspaceSettings.model_validate(quotas), 1, 1, NOW)
    both = WorkspaceSettings(turns_per_day=9999, turns_per_person_per_day=9999)
    access.check_quota(session, both, 1, 1, NOW)


def retention_step(session: Session) -> object:
    group = retention._Group(retention._CONVERSATION.c.id > 0, LATER)
    session.scalars(retention._with_old_words(group, 0)).all()
    return retention._purge_batch(session, {"of_conversation": 1, "since": NOW, "after": 0}, LATER, LATER)


QUERIES: dict[str, Query] = {
    "receive": receive,
    "receive_with_context": receive_with_context,
    "check_quota": check_quota,
    "claim": lambda session: turns.claim(session, "me", 10, NOW),
    "claim_beside_others": lambda session: turns.claim(session, "me", 10, NOW, BESIDE),
    "left_for": lambda session: turns.left_for(session, NOW, BESIDE),
    "places_of_event": lambda session: places.of_event(session, "web", "w1", "m1"),
    "asked_events": lambda session: places.asked_events(session, "web", "w1", ["m1", "m2"]),
    "heartbeat": lambda session: turns.heartbeat(session, "me", 10, NOW),
    "reap": lambda session: turns.reap(session, 3, NOW),
    "count_queued": count_queued,
    "count_open": open_turns.count_open,
    "queue_position": lambda session: open_turns.queue_position(session, 1),
    "load_history": lambda session: history.load_history(session, 1, 1, 100, "r"),
    "conversation_view": lambda session: history.conversation_view(session, PLACE, 20),
    "turn_view": lambda session: history.turn_view(session, 1),
    "waiting": lambda session: history.waiting(session, "web"),
    "undelivered_before": lambda session: history.undelivered_before(session, 1),
    "turn_views": lambda session: history.turn_views(session, [1, 2]),
    "deliveries": lambda session: deliveries.of_generation(session, 1),
    "turn_of_message": lambda session: history.turn_of_message(session, "web", "w1", "x5000"),
    "backfill_points": lambda session: backfill.backfill_points(session, "web", NOW),
    "take_back": lambda session: deliveries.take_back(session, 1, NOW),
    "to_remove": lambda session: deliveries.to_remove(session, 1),
    "delivered": lambda session: deliveries.delivered(session, 1, 1, NOW),
    "overdue": lambda session: privacy.overdue(session, NOW),
    "purge_overdue": lambda session: privacy.purge_overdue(session, LATER, LATER),
    "forget": lambda session: privacy.forget(session, 1, NOW),
    "export": lambda session: archive.export(session, "web", "p1", NOW),
    "retention": retention_step,
}


@pytest.fixture
def filled(chat: Chat) -> Database:
    """Some thousand ended Turns, a few open ones, and statistics."""
    for i in range(40):
        chat.say(f"m{i}", conversation=f"c{i % 20}", workspace=f"w{i % 4}", person=f"p{i % 10}")
    claimed = chat.claimed()
    chat.finish(claimed)
    with chat.database.write() as session:
        deliveries.sending(session, claimed.generation_id, 0, chat.now)
    with chat.database.write() as session:
        privacy.opt(session, "web", "p0", out=True, now=NOW)
        multiply(session)
        session.execute(text("ANALYZE"))
    return chat.database


def multiply(session: Session) -> None:
    """Copies of the first Turn's rows, all ended and delivered, in a Conversation of their own each."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 6000) "
    for table, key, changed in (
        ("conversation", "id", {"id": "n.i", "external_id": "'x' || n.i"}),
        ("message", "id", {"id": "n.i", "conversation_id": "n.i", "external_id": "'x' || n.i"}),
        ("message_revision", "message_id", {"message_id": "n.i"}),
        (
            "turn",
            "id",
            {"id": "n.i", "source_key": "'x' || n.i", "conversation_id": "n.i", "message_id": "n.i",
             "state": "'done'", "delivered_at": "t.queued_at"},
        ),
        ("generation", "id", {"id": "n.i", "turn_id": "n.i"}),
        ("delivery", "id", {"id": "n.i", "generation_id": "n.i", "external_id": "'x' || n.i"}),
    ):  # fmt: skip
        columns = [row[0] for row in session.execute(text(_columns_sql(session, table)))]
        values = ", ".join(changed.get(column, f't."{column}"') for column in columns)
        names = ", ".join(f'"{column}"' for column in columns)
        first = f'(SELECT * FROM "{table}" ORDER BY {key} LIMIT 1)'
        session.execute(text(f'INSERT INTO "{table}" ({names}) {numbers} SELECT {values} FROM n, {first} t'))


def _columns_sql(session: Session, table: str) -> str:
    if session.get_bind().dialect.name == "sqlite":
        return f"SELECT name FROM pragma_table_info('{table}')"
    return f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"


def test_no_large_table_is_read_from_end_to_end(filled: Database, subtests: pytest.Subtests) -> None:
    for name, query in QUERIES.items():
        with subtests.test(name):
            statements = [each for each in made(filled, query) if re.match(r"\s*(SELECT|UPDATE|WITH)", each[0])]
            assert statements
            for statement, parameters in statements:
                plan = explain(filled, statement, parameters)
                scanned = [table for table in LARGE if re.search(SCAN[filled.sqlite].format(table=table), plan)]
                assert not scanned, f"{scanned} read whole:\n{statement}\n{plan}"


def made(database: Database, query: Query) -> list[tuple[str, Any]]:
    """The statements that a query makes, with their parameters. What it changes is undone."""
    statements: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: object) -> None:
        statements.append((statement, parameters))

    with database.write() as session, session.begin_nested() as undone:
        engine = session.connection().engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            query(session)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        undone.rollback()
    return statements


# A scan of a partial index holds open Turns only, and is written `USING INDEX`.
SCAN = {
    True: r"SCAN (?:{table}|candidate|other)\b(?!.*USING)",
    False: r"Seq Scan on {table}\b",
}


def explain(database: Database, statement: str, parameters: Any) -> str:
    with database.read() as session:
        if not database.sqlite:  # on few rows the planner may rightly prefer to read them all
            session.execute(text("SET LOCAL enable_seqscan = off"))
        prefix = "EXPLAIN QUERY PLAN" if database.sqlite else "EXPLAIN"
        rows = session.connection().exec_driver_sql(f"{prefix} {statement}", parameters).all()
    return "\n".join(str(row[-1]) for row in rows)
