"""Neighbours: the vectors of a very large collection in PostgreSQL, where pgvector finds the nearest ones.

Each collection has a table for each embedder, with an HNSW index of its own, so that another's vectors hide none of
these; all in a schema that no migration knows, since most servers lack the extension. A vector is found by a number
that is made of its text. Alone knows pgvector's SQL; knows no entry and no score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    any_,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable, DropTable
from sqlalchemy.types import UserDefinedType

from core.database import Database
from core.faq.classifier import Matrix, product
from core.faq.vectors import digest_of

log = structlog.get_logger(__name__)

Numbers = npt.NDArray[np.int64]
Load = Callable[[Sequence[str]], Matrix]

NEAREST = 400
"""Phrasings whose cosines a search brings: so many of the nearest ones, and so many of those most alike in words.

More than an entry may have, so that the next entry is among them. With 200 a search of 100,000 takes 4 of 14 ms less.
"""

_SCHEMA = "pajama_faq"
_AT_ONCE = 512
_REFUSALS = ("0A", "22", "42", "54", "58")
"""Classes of SQLSTATE that say no for good: no such extension, table, right or library, or too many numbers."""
_MORE_MEMORY = """
    SELECT set_config(name, '1GB', true) FROM pg_settings
    WHERE name = 'maintenance_work_mem' AND setting::bigint < 1048576
"""
"""What does not fit is added one by one: with the usual 64 MB, to bring in 100,000 vectors took 86 s instead of 51."""
_UNNEEDED = """
    SELECT tablename FROM pg_tables
    WHERE schemaname = :schema AND tablename ~ '^c[0-9]+_[0-9a-f]{16}$' AND (right(tablename, 16) <> :mark OR EXISTS (
        SELECT FROM faq_collection WHERE removed_at IS NOT NULL AND starts_with(tablename, 'c' || id || '_')))
    ORDER BY tablename
"""


class _Refused(Exception):
    """PostgreSQL does not do what is asked of it here, and would not the next time."""


class _HalfVector(UserDefinedType[Any]):
    """pgvector's vector of numbers of two bytes."""

    cache_ok = True

    def __init__(self, size: int | None = None) -> None:
        self.size = size

    def get_col_spec(self, **_: Any) -> str:
        return f"halfvec({self.size})"

    def bind_processor(self, dialect: Any) -> Any:
        return lambda vector: "[" + ",".join(f"{number:.5g}" for number in vector.tolist()) + "]"


class Store:
    """The vectors of one collection, made by one embedder, by number."""

    def __init__(self, database: Database, collection_id: int, embedder: str) -> None:
        self.collection_id = collection_id
        self._database = database
        self._name = f"c{collection_id}_{_mark(embedder)}"
        self._table = self._described()

    def fill(self, texts: Sequence[str], numbers: Numbers, load: Load) -> Numbers:
        """Bring in the vectors that are missing, and see to the index. Returns the numbers that are no text's.

        Raises _Refused, DatabaseUnavailable, and what `load` raises.
        """
        if self._database.sqlite:
            raise _Refused("SQLite has no pgvector.")
        table = self._described(load(texts[:1]).shape[1])
        with _asking(self._database.write()) as session:
            _prepare(session, table)
            there = np.array(session.scalars(select(self._table.c.number)).all(), dtype=np.int64)
        missing = np.flatnonzero(~np.isin(numbers, there))
        missing = missing[np.argsort(numbers[missing])]  # two who bring in the same do so in one order
        for i in range(0, len(missing), _AT_ONCE):
            batch = missing[i : i + _AT_ONCE]
            vectors = load([texts[j] for j in batch])
            rows = [{"number": int(numbers[j]), "embedding": row} for j, row in zip(batch, vectors, strict=True)]
            with _asking(self._database.write()) as session:
                session.execute(insert(self._table).on_conflict_do_nothing(), rows)
        with _asking(self._database.write()) as session:
            self._make_index(session)
        return np.setdiff1d(there, numbers)

    def nearest(self, vector: Matrix, wanted: Numbers) -> tuple[Numbers, Matrix]:
        """The cosines of the nearest vectors and, as far as they are there, of the `wanted` ones, by number.

        None at all, and said in the log, where the table or pgvector is gone. Raises DatabaseUnavailable.
        """
        number, embedding = self._table.c
        distance = embedding.op("<=>", return_type=Float())(bindparam("vector", vector, _HalfVector()))
        few = literal_column(str(NEAREST), Integer())  # no parameter: the planner has to know it
        near = select(number, distance.label("distance")).order_by(distance).limit(few)
        named = select(number, distance).where(number == _any_of(wanted))
        try:
            with _asking(self._database.read()) as session:
                session.execute(select(func.set_config("hnsw.ef_search", str(NEAREST), True)))
                rows = session.execute(union_all(near, named)).all()
        except _Refused as refused:
            where = {"collection_id": self.collection_id, "reason": str(refused)}
            log.warning("No neighbours can be looked up; words have to do.", action="neighbours_failed", **where)
            rows = []
        numbers = np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))
        return numbers, np.array([1 - row[1] for row in rows], dtype=np.float32)

    def drop(self, session: Session, numbers: Numbers) -> None:
        """Drop these vectors."""
        session.execute(delete(self._table).where(self._table.c.number == _any_of(numbers)))

    def _described(self, size: int | None = None) -> Table:
        return Table(
            self._name,
            MetaData(schema=_SCHEMA),
            Column("number", BigInteger, primary_key=True, autoincrement=False),
            Column("embedding", _HalfVector(size), nullable=False),
        )

    def _make_index(self, session: Session) -> None:
        """The index, once the table was filled: to add vectors to it one by one takes three times as long.

        By one process of the server: several would need shared memory, of which a container has little.
        """
        _lock(session, self._name)
        session.execute(text(_MORE_MEMORY))
        session.execute(select(func.set_config("max_parallel_maintenance_workers", "0", True)))
        index = Index(
            f"{self._name}_near",
            self._described().c.embedding,
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "halfvec_cosine_ops"},
        )
        session.execute(CreateIndex(index, if_not_exists=True))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The vectors of a snapshot's phrasings: in a Store, and those that a classifier learns from in memory as well.

    A phrasing whose cosine a search does not bring counts by its words alone.
    """

    store: Store
    texts: Sequence[str]
    numbers: Numbers  # of all texts, in order, each once
    places: npt.NDArray[np.intp]  # of each text among them
    rows: npt.NDArray[np.int64]  # the phrasings to learn from, in order
    vectors: Matrix  # (rows, dimensions)
    load: Load
    strange: Numbers  # those that the store has of no text

    def cosines(self, vector: Matrix, likeness: Matrix) -> Matrix:
        """Those of a question with every phrasing, as far as they are known. Raises DatabaseUnavailable."""
        best = np.argpartition(-likeness, min(NEAREST, len(likeness) - 1))[:NEAREST]
        numbers, cosines = self.store.nearest(vector, self.numbers[self.places[best[likeness[best] > 0]]])
        at = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        ours = self.numbers[at] == numbers
        known = np.full(len(self.numbers), np.nan, dtype=np.float32)
        known[at[ours]] = cosines[ours]
        found: Matrix = known[self.places]
        if len(self.rows):
            found[self.rows] = product(self.vectors, vector)
        return found

    def of(self, rows: npt.NDArray[np.int64]) -> Matrix:
        """The vectors of these phrasings. Raises DatabaseUnavailable, ModelUnavailable."""
        if np.isin(rows, self.rows).all():
            return self.vectors[np.searchsorted(self.rows, rows)]
        return self.load([self.texts[i] for i in rows])


def neighbours_of(
    store: Store,
    texts: Sequence[str],
    read: npt.NDArray[np.bool_],
    learned: npt.NDArray[np.int64] | None,
    load: Load,
) -> Neighbours | None:
    """The vectors of those of `texts` that are `read`, brought into the store; None where it cannot have any.

    `load` gives vectors. Raises DatabaseUnavailable, and what `load` raises.
    """
    names = numbers_of(texts)
    numbers, first, places = np.unique(names, return_index=True, return_inverse=True)
    wanted = first[read[first]]
    try:
        strange = store.fill([texts[i] for i in wanted], names[wanted], load)
    except _Refused as refused:
        log.warning(
            "A large collection is searched in memory. For pgvector, install it beside PostgreSQL, and let a superuser say "
            "CREATE EXTENSION vector in this database.",
            action="pgvector_refused",
            collection_id=store.collection_id,
            reason=str(refused),
        )
        return None
    rows = np.zeros(0, dtype=np.int64) if learned is None else learned[read[learned]]
    vectors = load([texts[i] for i in rows]) if len(rows) else np.zeros((0, 0), dtype=np.float32)
    return Neighbours(store, texts, numbers, places, rows, vectors, load, strange)


def numbers_of(texts: Sequence[str]) -> Numbers:
    """The first 8 bytes of each text's digest. That two of a million are the same has a chance of 1 in 37 million."""
    digests = b"".join(bytes.fromhex(digest_of(each)[:16]) for each in texts)
    return np.frombuffer(digests, dtype=">i8").astype(np.int64)


def forget(database: Database, embedder: str | None = None) -> None:
    """Drop the vectors of collections that were removed and, where one is given, of every other embedder.

    Raises DatabaseUnavailable.
    """
    if database.sqlite:
        return
    try:
        with _asking(database.write()) as session:
            chosen = {"schema": _SCHEMA, "mark": None if embedder is None else _mark(embedder)}
            for name in session.scalars(text(_UNNEEDED), chosen).all():
                session.execute(DropTable(Table(name, MetaData(schema=_SCHEMA)), if_exists=True))
    except _Refused as refused:
        log.warning("Vectors that nobody needs cannot be dropped.", action="neighbours_kept", reason=str(refused))


def _mark(embedder: str) -> str:
    return digest_of(embedder)[:16]


def _any_of(numbers: Numbers) -> Any:
    return any_(bindparam("numbers", numbers.tolist(), ARRAY(BigInteger)))


def _prepare(session: Session, table: Table) -> None:
    """The extension, the schema and a table, made where they are not there."""
    _lock(session, _SCHEMA)
    if session.scalar(select(func.to_regtype("halfvec"))) is None:
        session.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    if session.scalar(select(func.to_regnamespace(_SCHEMA))) is None:  # who may not make it may have been given it
        session.execute(CreateSchema(_SCHEMA))
    session.execute(CreateTable(table, if_not_exists=True))


def _lock(session: Session, name: str) -> None:
    """Be alone with it until the transaction ends: `IF NOT EXISTS` fails where two make the same at once."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{_SCHEMA}.{name}", 0))))


@contextmanager
def _asking(transaction: AbstractContextManager[Session]) -> Iterator[Session]:
    """A transaction in which PostgreSQL may refuse for good what is asked. Raises _Refused, DatabaseUnavailable."""
    with transaction as session:
        try:
            yield session
        except DBAPIError as error:
            if not str(getattr(error.orig, "sqlstate", None) or "").startswith(_REFUSALS):
                raise
            raise _Refused(str(error.orig).splitlines()[0]) from error
