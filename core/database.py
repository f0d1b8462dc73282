"""Connections and transactions, on SQLite (WAL) and PostgreSQL, from threads and from asyncio.

Knows drivers, pragmas and migrations; knows no table. Repository functions take a `Session`; workers call them inside
`Database.write()`, bots hand them to `AsyncDatabase.write(function, …)`: one copy of each query.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from core.errors import DatabaseUnavailable
from core.faq.models import FaqEntry
from core.handoffs.models import Handoff
from core.installations import SlackBot
from core.models import Base

_ELSEWHERE = (FaqEntry, Handoff, SlackBot)
METADATA = Base.metadata
"""Every table, also those of modules of their own, which are known once these are imported."""

P = ParamSpec("P")
T = TypeVar("T")

_BUSY_TIMEOUT_MS = 10_000
_THREADS = 8
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "wal_autocheckpoint=8000",  # pages of 4 KB; the reaper does it sooner, where nobody waits for it
    "journal_size_limit=4194304",  # what was in the log does not stay behind in a long one
    "foreign_keys=ON",
    "secure_delete=ON",  # words that are purged are overwritten in the file as well
    f"busy_timeout={_BUSY_TIMEOUT_MS}",
)


class Database:
    """Synchronous sessions, for workers and the command line."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, **_options(url))
        _prepare(self._engine)
        self._writer = self._engine.execution_options(pajama_begin="IMMEDIATE")
        # SQLite has one writer at a time, and waiting in line is faster than its busy handler's naps.
        self._line: AbstractContextManager[object] = threading.Lock() if self.sqlite else nullcontext()

    @property
    def sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One read-write transaction, committed at the end. Raises DatabaseUnavailable."""
        with _translated(), self._line, Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view; nothing is committed. Raises DatabaseUnavailable."""
        with _translated(), Session(self._engine) as session:
            yield session

    def checkpoint(self) -> None:
        """On SQLite, bring what was committed from its log into its file, waiting for nobody. Raises DatabaseUnavailable.

        Whose commit fills the log has to do it otherwise, and whoever waits for an answer waits for the disk.
        """
        if self.sqlite:
            with _translated(), self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


class AsyncDatabase:
    """The same repository functions, called from asyncio in threads of its own.

    A transaction costs one change of thread, where an asynchronous driver needs one a statement (docs/decisions/0004).
    One that has begun goes on to its end, also when the task that asked for it is cancelled.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sql")

    async def write(self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(session, …)` in one read-write transaction. Raises DatabaseUnavailable."""
        return await self._run(self._database.write, lambda session: function(session, *args, **kwargs))

    async def read(self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(session, …)` on one consistent view. Raises DatabaseUnavailable."""
        return await self._run(self._database.read, lambda session: function(session, *args, **kwargs))

    async def close(self) -> None:
        """Close every connection, once what runs has ended."""
        await asyncio.to_thread(self._threads.shutdown)
        self._database.close()

    async def _run(self, transaction: Callable[[], AbstractContextManager[Session]], work: Callable[[Session], T]) -> T:
        def run() -> T:
            with transaction() as session:
                return work(session)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)


def upgrade(url: str) -> None:
    """Migrate the database at `url` to the newest schema, creating the SQLite file, for its owner, where there is none."""
    database = make_url(url).database
    if make_url(url).get_backend_name() == "sqlite" and database:
        try:
            Path(database).parent.mkdir(parents=True, exist_ok=True)
            Path(database).touch(mode=0o600)  # it holds what people say, and tokens
        except OSError as error:
            raise DatabaseUnavailable(f"The database cannot be made: {error}") from error
    with _migrating(url) as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(url: str) -> list[str]:
    """What keeps the database from being at head and equal to the models, a sentence each; empty when all is well."""
    with _migrating(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        head = ScriptDirectory.from_config(_alembic()).get_current_head()
        current = context.get_current_revision()
        if current != head:
            return [f"The schema is at revision {current or 'none'}, not at {head}: run `pajama db upgrade`."]
        return [
            f"The schema differs from the models: {difference}." for difference in compare_metadata(context, METADATA)
        ]


def insert_new(
    session: Session, model: type[Base], key: tuple[str, ...], rows: dict[str, Any] | list[dict[str, Any]]
) -> None:
    """Insert each row unless one with the same unique `key` is there, also when another process adds it just now."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(dialect.insert(model.__table__).on_conflict_do_nothing(index_elements=list(key)), rows)


@contextmanager
def _migrating(url: str) -> Iterator[Connection]:
    engine = create_engine(url, **_options(url))
    _prepare(engine)
    try:
        with _translated(), engine.execution_options(pajama_begin="IMMEDIATE").begin() as connection:
            yield connection
    except CommandError as error:
        raise DatabaseUnavailable(f"The schema cannot be migrated: {error}") from error
    finally:
        engine.dispose()


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    config.set_main_option("path_separator", "os")
    return config


def _options(url: str) -> dict[str, Any]:
    quiet = {"hide_parameters": True}  # what people said must not stand in an error, which is logged
    if make_url(url).get_backend_name() == "sqlite":
        return {**quiet, "connect_args": {"timeout": _BUSY_TIMEOUT_MS / 1000}}
    return {**quiet, "pool_pre_ping": True, "pool_size": 10, "max_overflow": 20, "connect_args": {"connect_timeout": 5}}


def _prepare(engine: Engine) -> None:
    """On SQLite, take over BEGIN: a writer takes the lock at its start, since upgrading a read lock can deadlock."""
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get("pajama_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")


@contextmanager
def _translated() -> Iterator[None]:
    """Lost connections, locked, full or broken databases become DatabaseUnavailable; broken SQL stays what it is."""
    try:
        yield
    except (OperationalError, PoolTimeout, sqlite3.OperationalError) as error:
        raise DatabaseUnavailable(f"The database cannot be used: {_cause(error)}") from error
    except DBAPIError as error:
        if type(error) is DatabaseError:  # the bare class: a file that is no database, or a damaged one
            raise DatabaseUnavailable(f"The database cannot be used: {_cause(error)}") from error
        if not error.connection_invalidated:
            raise
        raise DatabaseUnavailable(f"The database connection was lost: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
