"""Every FAQ query that a Turn or a refresh makes finds its rows by an index, on both databases, in tables of some size."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.database import Database
from core.faq import asked, collections, finding, matches, vectors
from core.faq.finding import Kept
from core.faq.matches import Decided, Found
from core.faq.models import FaqEntry
from tests.core.conftest import Chat
from tests.core.faq.conftest import Shelf, entry
from tests.core.test_hot_path_plans import explain, made

LARGE = ("faq_entry", "faq_version", "faq_vector", "faq_decision", "faq_match", "generation")
ENTRIES, DECISIONS = 3_000, 3_000

Query = Callable[[Session], object]


def record(session: Session) -> None:
    generation = session.execute(text("SELECT max(id), max(turn_id) FROM generation")).one()
    workspace_id = session.execute(text("SELECT id FROM workspace LIMIT 1")).scalar_one()
    found = Found(1, 1, 0, 1.0, 1.0, None, 1.0)
    decided = Decided("answer", "sure", {}, None, (found,))
    matches.record(session, generation[0], generation[1], workspace_id, decided, Shelf.now)


QUERIES: dict[str, Query] = {
    "changed_since": lambda session: collections.changed_since(session, 1, 2),
    "versions_of": lambda session: collections.versions_of(session, 1, "k7"),
    "version_of": lambda session: collections.version_of(session, 7, 1),
    "record": record,
    "of_generation": lambda session: matches.of_generation(session, 2_000),
    "findings": lambda session: finding.load(
        session, [Kept(each, "answer", "sure", "", {}) for each in (1_000, 2_000)]
    ),
    "unanswered": lambda session: asked.unanswered(session, 1, None, 20),
    "vectors": lambda session: vectors.load(session, "e", ["a", "b"]),
}


@pytest.fixture
def filled(shelf: Shelf) -> Database:
    """Thousands of entries and decisions, and statistics."""
    chat = Chat(shelf.database)
    for i in range(3):
        chat.say(f"m{i}")
        chat.finish(chat.claimed())
    shelf.create()
    shelf.upsert(*(entry(f"k{i}") for i in range(ENTRIES)))
    shelf.upsert(entry("k1", answer="Changed."))
    shelf.upsert(entry("k2", answer="Changed."))
    with shelf.database.write() as session:
        first = session.scalar(select(FaqEntry.id).limit(1))
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < :last) "
        last = {"last": 1000 + DECISIONS, "entry": first}
        generation = (
            "SELECT n.i, turn_id, n.i, {no}, '', 0, 0, 0, created_at FROM n, (SELECT * FROM generation LIMIT 1) g"
        )
        columns = "id, turn_id, number, selected, text, prompt_tokens, cached_tokens, completion_tokens, created_at"
        session.execute(text(f"INSERT INTO generation ({columns}) {numbers}{generation.format(no='false')}"), last)
        decision = (
            "SELECT n.i, 1, 1, CASE WHEN n.i % 50 = 0 THEN 'abstain' ELSE 'answer' END, 'x', '{}', '2026-01-01' FROM n"
        )
        columns = "generation_id, turn_id, workspace_id, outcome, reason, thresholds, created_at"
        session.execute(text(f"INSERT INTO faq_decision ({columns}) {numbers}{decision}"), last)
        match = "SELECT n.i, 0, :entry, 1, 0, 1, 1, 1, true FROM n"
        columns = "generation_id, rank, entry_id, version, phrasing, score, lexical, probability, cited"
        session.execute(text(f"INSERT INTO faq_match ({columns}) {numbers}{match}"), last)
        session.execute(text("ANALYZE"))
    return shelf.database


def test_no_large_table_is_read_from_end_to_end(filled: Database, subtests: pytest.Subtests) -> None:
    scan = r"SCAN {table}\b(?!.*USING)" if filled.sqlite else r"Seq Scan on {table}\b"
    for name, query in QUERIES.items():
        with subtests.test(name):
            statements = [each for each in made(filled, query) if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH)", each[0])]
            statements = [each for each in statements if "max(" not in each[0]]
            assert statements
            for statement, parameters in statements:
                plan = explain(filled, statement, parameters)
                scanned = [table for table in LARGE if re.search(scan.format(table=table), plan)]
                assert not scanned, f"{scanned} read whole:\n{statement}\n{plan}"
