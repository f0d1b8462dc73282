"""Neighbours: what pgvector finds is what an exact search finds, whoever else changes the collection meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from typing import Any

import pytest
import structlog
from sqlalchemy import URL, event, make_url, text

from core.database import Database, upgrade
from core.errors import DatabaseUnavailable
from core.faq import collections, neighbours
from core.faq.calibration import calibrate
from core.faq.classifier import InMemory
from core.faq.embedding import Vectors
from core.faq.entry import Entry
from core.faq.evaluation import Labelled
from core.faq.index import CollectionIndex, Hit
from core.faq.neighbours import Neighbours
from core.faq.search import FaqSearch
from tests.copied_database import CopiedDatabase, connected
from tests.core.faq.conftest import Shelf, entry
from tests.core.faq.embedders import Trigrams

DAY = date(2026, 1, 1)
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'pajama_faq' ORDER BY 1"
OWN, SHARED, SIGNS = "bcdfghklmnprstvwz", ("how", "can", "i", "my", "please", "the", "to"), "退货订单密码价格怎么流程"
PASSWORD = entry("password", "How do I reset my password?", "I forgot my password")
ORDER = entry("order", "Where is my order?", "Track an order")


@pytest.fixture
def shelf(vector_database_url: str) -> Iterator[Shelf]:
    database = Database(vector_database_url)
    yield Shelf(database)
    database.close()


def index_of(collection_id: int, embedder: Trigrams | None = None, *, pgvector_from: int = 1, **more: int) -> Any:
    return CollectionIndex(collection_id, embedder or Trigrams(), pgvector_from=pgvector_from, **more)


def refreshed(shelf: Shelf, collection_id: int, **how: Any) -> CollectionIndex:
    index: CollectionIndex = index_of(collection_id, **how)
    index.refresh(shelf.database)
    return index


def found(index: CollectionIndex, asked: str, limit: int = 5, **how: Any) -> list[Hit]:
    return index.snapshot.search(index.question(asked), limit, **how)


def keys(hits: Sequence[Hit]) -> list[str]:
    return [hit.stored.entry.key for hit in hits]


def kept(shelf: Shelf, table: str | None = None) -> list[Any]:
    """The tables of vectors; of one of them the numbers."""
    with shelf.database.read() as session:
        return list(session.scalars(text(f"SELECT number FROM pajama_faq.{table} ORDER BY 1" if table else TABLES)))


def sentence(chance: random.Random) -> str:
    if chance.random() < 0.15:  # the embedder does not read it
        return "".join(chance.choices(SIGNS, k=6))
    own = ("".join(chance.choices(OWN, k=5)) for _ in range(2))
    return " ".join([*chance.sample(SHARED, 3), *own])


def some_entry(chance: random.Random, key: int) -> Entry:
    valid = {"valid_until": date(2025, 1, 1)} if chance.random() < 0.2 else {}
    texts = dict.fromkeys(sentence(chance) for _ in range(chance.randint(1, 5)))
    return entry(f"k{key}", *texts, **valid)


def assert_alike(some: Sequence[Hit], others: Sequence[Hit]) -> None:
    """The same entries with the same scores, in the same order but where two are as good as equal."""
    assert [hit.score for hit in some] == pytest.approx([hit.score for hit in others], abs=2e-3)
    for hit, other in zip(some, others, strict=True):
        if hit.stored != other.stored:
            same = next((each for each in some if each.stored == other.stored), hit)
            assert abs(same.score - other.score) < 2e-3
        else:
            assert (hit.dense is None) == (other.dense is None)


@pytest.mark.parametrize("most_trained", [1, 120, 10_000])  # none is learned from, some are, all are
def test_it_finds_what_an_exact_search_in_memory_finds(shelf: Shelf, most_trained: int) -> None:
    chance, collection_id = random.Random(most_trained), shelf.create()
    by_pgvector, in_memory = (index_of(collection_id, pgvector_from=n, most_trained=most_trained) for n in (1, 0))
    entries = {i: some_entry(chance, i) for i in range(90)}
    for _ in range(3):
        shelf.upsert(*entries.values(), replace=True)
        for index in (by_pgvector, in_memory):
            assert index.refresh(shelf.database)
        assert isinstance(by_pgvector.snapshot.kernel.meaning, Neighbours)
        assert isinstance(in_memory.snapshot.kernel.meaning, InMemory)
        texts = [text for each in entries.values() for text in each.phrasings]
        for asked in [*(sentence(chance) for _ in range(20)), *chance.sample(texts, 10)]:
            for day in (None, DAY):
                assert_alike(found(by_pgvector, asked, day=day), found(in_memory, asked, day=day))
        for i in chance.sample(sorted(entries), 20):
            entries.pop(i)
        entries |= {i: some_entry(chance, i) for i in chance.sample(range(100), 30)}


def test_by_an_index_of_near_ones_alone_it_finds_nearly_the_same(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    collection_id = shelf.create()
    shelf.upsert(*(entry(f"k{i}", *{sentence(chance) for _ in range(4)}) for i in range(700)))
    index, in_memory = (refreshed(shelf, collection_id, pgvector_from=n, most_trained=700) for n in (1, 0))
    monkeypatch.setattr(neighbours, "NEAREST", 40)
    statements: list[tuple[str, Any]] = []
    event.listen(
        shelf.database._engine, "before_cursor_execute", lambda _, __, *made: statements.append((made[0], made[1]))
    )
    asked = [sentence(chance) for _ in range(60)]
    same = [keys(found(index, each))[0] == keys(found(in_memory, each))[0] for each in asked]
    assert sum(same) >= 54
    with shelf.database.read() as session:
        plan = "\n".join(
            session.connection().exec_driver_sql(f"EXPLAIN {statements[1][0]}", statements[1][1]).scalars()
        )
    assert "_near on" in plan and "Seq Scan" not in plan, plan


def test_what_no_search_brings_counts_by_words(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    collection_id = shelf.create()
    shelf.upsert(PASSWORD, entry("order", "Where is my order?"), entry("late", "My parcel is late"))
    index = refreshed(shelf, collection_id)
    monkeypatch.setattr(neighbours, "NEAREST", 1)
    hits = {hit.stored.entry.key: hit for hit in found(index, "my order")}
    assert hits["order"].dense is not None
    assert hits["password"].dense is None and 0 < hits["password"].score < 0.2


def test_in_memory_are_only_the_vectors_that_are_learned_from(shelf: Shelf) -> None:
    collection_id = shelf.create()
    shelf.upsert(*(entry(f"k{i}", *(f"word{i} number {j} sign{i}" for j in range(8))) for i in range(20)))
    index = refreshed(shelf, collection_id, most_trained=40)
    meaning = index.snapshot.kernel.meaning
    assert isinstance(meaning, Neighbours)
    assert (len(meaning.vectors), index._vectors) == (40, {})
    assert keys(found(index, "word7 number 99"))[0] == "k7"


def test_it_is_calibrated_and_evaluated_as_in_memory(shelf: Shelf) -> None:
    collection_id = shelf.create()
    chance = random.Random(2)
    own = ["".join(chance.choices(OWN, k=6)) for _ in range(60)]
    entries = [
        entry(f"k{i}", *(" ".join([*chance.sample(SHARED, 3), *chance.sample(own[3 * i : 3 * i + 3], 2), str(j)])
                         for j in range(8)))
        for i in range(20)
    ]  # fmt: skip
    shelf.upsert(*entries)
    made = [calibrate(refreshed(shelf, collection_id, most_trained=40, pgvector_from=n)) for n in (1, 0)]
    for some, other in zip(*(each.modes.values() for each in made), strict=True):
        assert (some.source, some.covered) == (other.source, other.covered)
        assert some.sureness.first == pytest.approx(other.sureness.first, abs=0.05)
    assert made[0].modes["meaning-trained"].source == "held_out"
    asked = [Labelled(f"please {own[3 * i]} my {own[3 * i + 1]}", f"k{i}") for i in range(20)]
    reports = []
    for n in (1, 0):
        search = FaqSearch(shelf.database, Trigrams(), pgvector_from=n)
        search.refresh()
        reports.append(search.evaluate(collection_id, asked))
    assert reports[0].top_1 == reports[1].top_1 > 0.9
    assert reports[0].outcomes == reports[1].outcomes


def test_a_collection_is_left_to_pgvector_while_it_is_large(shelf: Shelf) -> None:
    index = index_of(shelf.create(), pgvector_from=5)
    late = entry("late", "My parcel is late")
    for entries, kind in (((PASSWORD, ORDER), InMemory), ((PASSWORD, ORDER, late), Neighbours), ((ORDER,), InMemory)):
        shelf.upsert(*entries, replace=True)
        assert index.refresh(shelf.database)
        assert isinstance(index.snapshot.kernel.meaning, kind)
        for each in entries:
            (hit,) = found(index, each.phrasings[-1], 1)
            assert (hit.stored.entry.key, hit.dense) == (each.key, pytest.approx(1, abs=1e-3))


def test_only_new_phrasings_are_embedded_and_those_that_are_gone_are_dropped(shelf: Shelf) -> None:
    embedder = Trigrams()
    index = index_of(shelf.create(), embedder)
    shelf.upsert(PASSWORD, ORDER)
    index.refresh(shelf.database)
    (table,) = kept(shelf)
    embedder.embedded.clear()
    shelf.upsert(PASSWORD, entry("late", "My parcel is late"), replace=True)
    index.refresh(shelf.database)
    assert embedder.embedded == ["My parcel is late"]
    wanted = [*PASSWORD.phrasings, "My parcel is late"]
    assert kept(shelf, table) == sorted(neighbours.numbers_of(wanted).tolist())


class Interrupted(Trigrams):
    """Something happens when it is first asked for vectors."""

    happens: Callable[[], None] | None = None

    def embed(self, texts: Sequence[str]) -> Vectors:
        if self.happens is not None:
            happens, self.happens = self.happens, None
            happens()
        return super().embed(texts)


def test_what_another_worker_brought_for_a_newer_collection_stays(shelf: Shelf) -> None:
    embedder = Interrupted()
    collection_id = shelf.create()
    shelf.upsert(PASSWORD)
    slow, quick = refreshed(shelf, collection_id, embedder=embedder), refreshed(shelf, collection_id)

    def change() -> None:
        shelf.upsert(entry("late", "My parcel is late"))
        quick.refresh(shelf.database)

    embedder.happens = change
    shelf.upsert(entry("early", "My parcel is early"))
    slow.refresh(shelf.database)
    assert embedder.happens is None
    for index in (quick, slow):
        assert found(index, "a parcel that is early", 1)[0].dense == pytest.approx(0.8, abs=0.15)
    assert found(quick, "my parcel is late", 1)[0].dense == pytest.approx(1, abs=1e-3)


def test_vectors_of_a_newer_collection_change_nothing_for_who_has_not_seen_it(shelf: Shelf) -> None:
    chance, collection_id = random.Random(4), shelf.create()
    shelf.upsert(*(some_entry(chance, i) for i in range(30)))
    old = refreshed(shelf, collection_id, most_trained=1)
    asked = ["".join(chance.choices(OWN, k=15)) for _ in range(10)]  # words have next to nothing to say
    before = [found(old, each) for each in asked]
    shelf.upsert(*(some_entry(chance, i) for i in range(30, 90)))
    refreshed(shelf, collection_id)
    assert [found(old, each) for each in asked] == before


@contextmanager
def refreshing(shelf: Shelf, indexes: Sequence[CollectionIndex]) -> Iterator[None]:
    """All of them refresh at once, to the end of the block; none fails."""

    def refresh(index: CollectionIndex) -> None:
        together.wait()
        try:
            index.refresh(shelf.database)
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    together, failed = threading.Barrier(len(indexes)), []
    threads = [threading.Thread(target=refresh, args=[index]) for index in indexes]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()
    assert failed == []


def test_workers_that_begin_at_once_find_the_same(shelf: Shelf) -> None:
    chance, collection_id = random.Random(3), shelf.create()
    shelf.upsert(*(some_entry(chance, i) for i in range(300)))
    indexes: list[CollectionIndex] = [index_of(collection_id, most_trained=1) for _ in range(4)]
    with refreshing(shelf, indexes):
        pass
    for asked in (sentence(chance) for _ in range(10)):
        first, *others = (keys(found(index, asked)) for index in indexes)
        assert all(isinstance(index.snapshot.kernel.meaning, Neighbours) for index in indexes)
        assert others == [first] * 3


def test_one_of_several_workers_makes_the_index(shelf: Shelf) -> None:
    collection_id = shelf.create()
    shelf.upsert(PASSWORD, ORDER)
    refreshed(shelf, collection_id)
    (table,) = kept(shelf)
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with shelf.database.write() as session:
        session.execute(text(f"DROP INDEX pajama_faq.{table}_near"))
    with ExitStack() as refreshes, shelf.database.write() as session:
        session.execute(text(f"LOCK TABLE pajama_faq.{table} IN ROW EXCLUSIVE MODE"))  # as who adds a vector does
        refreshes.enter_context(refreshing(shelf, [index_of(collection_id) for _ in range(2)]))
        while session.scalar(waiting) != 2:
            session.execute(text("SELECT pg_stat_clear_snapshot()"))
    with shelf.database.read() as session:
        assert session.scalar(text(f"SELECT count(*) FROM pg_indexes WHERE tablename = '{table}'")) == 2


def test_a_collections_neighbours_are_its_own(shelf: Shelf) -> None:
    shop, house = shelf.create("shop"), shelf.create("house")
    shelf.upsert(PASSWORD, ORDER, name="shop")
    shelf.upsert(*(entry(f"k{i}", f"I forgot my password {i}") for i in range(500)), name="house")
    indexes = [refreshed(shelf, each) for each in (shop, house)]
    assert keys(found(indexes[0], "forgot a password")) == ["password", "order"]
    assert len(kept(shelf)) == 2


def test_a_removed_collection_leaves_no_vectors(shelf: Shelf) -> None:
    shelf.create("shop")
    shelf.upsert(PASSWORD, name="shop")
    house = shelf.create("house")
    shelf.upsert(ORDER, name="house")
    search = FaqSearch(shelf.database, Trigrams(), pgvector_from=1)
    search.refresh()
    with shelf.database.write() as session:
        collections.delete(session, collections.find(session, "shop", None, lock=True), shelf.now)
    search.refresh()
    (table,) = kept(shelf)
    assert table.startswith(f"c{house}_")
    assert search.search(None, "where is an order", day=DAY).collection == "house"


def test_another_embedder_has_vectors_of_its_own_and_who_lost_them_has_words(shelf: Shelf) -> None:
    collection_id = shelf.create()
    shelf.upsert(PASSWORD, entry("order", "Where is my order?"), entry("late", "My parcel is late"))
    old, new = (refreshed(shelf, collection_id, embedder=Trigrams(f"trigrams@{size}", size)) for size in (32, 48))
    assert len(kept(shelf)) == 2
    for index in (old, new):
        assert found(index, "forgot a password", 1)[0].dense is not None
    neighbours.forget(shelf.database, "trigrams@48")
    assert len(kept(shelf)) == 1
    assert found(new, "forgot a password", 1)[0].dense is not None
    with structlog.testing.capture_logs() as logs:
        hit = found(old, "forgot a password", 1)[0]
    assert (hit.stored.entry.key, hit.dense) == ("password", None)
    assert [each["action"] for each in logs] == ["neighbours_failed"]
    shelf.upsert(ORDER)
    old.refresh(shelf.database)
    assert found(old, "forgot a password", 1)[0].dense is not None


def test_a_database_that_is_away_is_told_and_found_again(shelf: Shelf, vector_postgres: URL) -> None:
    shelf.create()
    shelf.upsert(PASSWORD, ORDER)
    search = FaqSearch(shelf.database, Trigrams(), pgvector_from=1)
    search.refresh()
    name = make_url(str(shelf.database._engine.url)).database
    with connected(vector_postgres) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')  # type: ignore[arg-type]
        connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name])
        with pytest.raises(DatabaseUnavailable):
            search.search(None, "forgot a password", day=DAY)
        assert search.search(None, "i forgot my password", day=DAY).decision.reason == "same_words"
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')  # type: ignore[arg-type]
    assert search.search(None, "forgot a password", day=DAY).decision.matches[0].hit.stored.entry == PASSWORD


@pytest.fixture
def plain_shelf(vector_postgres: URL) -> Iterator[Shelf]:
    """On a database whose owner may not make extensions."""
    database = CopiedDatabase(vector_postgres, "template0")
    name = make_url(database.url).database
    role = f"plain_{name}"
    with connected(vector_postgres) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'plain'")  # type: ignore[arg-type]
        connection.execute(f'ALTER DATABASE "{name}" OWNER TO {role}')  # type: ignore[arg-type]
    url = make_url(database.url).set(username=role, password="plain").render_as_string(hide_password=False)
    upgrade(url)
    made = Database(url)
    yield Shelf(made)
    made.close()
    database.drop()
    with connected(vector_postgres) as connection:
        connection.execute(f"DROP ROLE {role}")  # type: ignore[arg-type]


def test_where_the_extension_may_not_be_made_memory_does_until_a_superuser_makes_it(
    plain_shelf: Shelf, vector_postgres: URL
) -> None:
    index = index_of(plain_shelf.create())
    plain_shelf.upsert(PASSWORD)
    with structlog.testing.capture_logs() as logs:
        index.refresh(plain_shelf.database)
    (told,) = [each for each in logs if each["log_level"] == "warning"]
    assert told["action"] == "pgvector_refused"
    assert "CREATE EXTENSION vector" in told["event"] and "permission denied" in told["reason"]
    assert found(index, "forgot a password", 1)[0].dense is not None
    name = plain_shelf.database._engine.url.database
    with connected(vector_postgres.set(database=name)) as connection:
        connection.execute("CREATE EXTENSION vector")
    plain_shelf.upsert(ORDER)
    index.refresh(plain_shelf.database)
    assert isinstance(index.snapshot.kernel.meaning, Neighbours)
    assert keys(found(index, "track orders", 1)) == ["order"]


def test_on_sqlite_memory_does(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'pajama.db'}"
    upgrade(url)
    shelf = Shelf(Database(url))
    collection_id = shelf.create()
    shelf.upsert(PASSWORD)
    with structlog.testing.capture_logs() as logs:
        index = refreshed(shelf, collection_id)
    assert [each["reason"] for each in logs] == ["SQLite has no pgvector."]
    assert found(index, "forgot a password", 1)[0].dense is not None
    neighbours.forget(shelf.database, "trigrams@1")
    shelf.database.close()
