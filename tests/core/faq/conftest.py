"""Entries, and a collection in SQL that tests change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from core.database import Database, insert_new
from core.faq import collections
from core.faq.changes import Changes
from core.faq.entry import Entry
from core.models import Workspace


def entry(key: str, *phrasings: str, answer: str = "", **more: object) -> Entry:
    return Entry(key, phrasings or (f"What about {key}?",), answer or f"The answer of {key}.", **more)  # type: ignore[arg-type]


@dataclass
class Shelf:
    """Collections of one database, and a clock that moves with every change."""

    database: Database
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def workspace(self, name: str) -> int:
        key = {"platform": "web", "external_id": name}
        with self.database.write() as session:
            insert_new(session, Workspace, tuple(key), {**key, "settings": {}, "created_at": self.now})
            return session.scalars(select(Workspace.id).filter_by(**key)).one()

    def create(self, name: str = "shop", workspace_id: int | None = None) -> int:
        with self.database.write() as session:
            return collections.create(session, name, workspace_id, self.now).id

    def upsert(
        self, *entries: Entry, name: str = "shop", workspace_id: int | None = None, replace: bool = False
    ) -> Changes:
        self.now += timedelta(days=1)
        with self.database.write() as session:
            collection = collections.find(session, name, workspace_id, lock=True)
            return collections.upsert(session, collection, entries, self.now, replace=replace)

    def current(self, collection_id: int) -> dict[str, Entry]:
        with self.database.read() as session:
            return collections.current(session, collection_id)


@pytest.fixture
def shelf(database_url: str) -> Iterator[Shelf]:
    database = Database(database_url)
    yield Shelf(database)
    database.close()
