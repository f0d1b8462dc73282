"""Connections and transactions, on SQLite (WAL) and PostgreSQL, synchronous and asynchronous.

Knows drivers, pragmas and migrations; knows no table. Repository functions take a `Session`; workers call them inside
`Database.write()`, bots hand them to `AsyncDatabase.write(function, …)`: one copy of each query.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
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
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from core.errors import DatabaseUnavailable
from core.models import Base

P = ParamSpec("P")
T = TypeVar("T")

_BUSY_TIMEOUT_MS = 10_000


class Database:
    """Synchronous sessions, for workers and the command line."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, **_options(url))
        _prepare(self._engine)
        self._writer = self._engine.execution_options(pajama_begin="IMMEDIATE")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One read-write transaction, committed at the end. Raises DatabaseUnavailable."""
        with _translated(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view; nothing is committed. Raises DatabaseUnavailable."""
        with _translated(), Session(self._engine) as session:
            yield session

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


class AsyncDatabase:
    """The same repository functions, called from asyncio."""

    def __init__(self, url: str) -> None:
        asynchronous = make_url(url)
        if asynchronous.get_backend_name() == "sqlite":
            asynchronous = asynchronous.set(drivername="sqlite+aiosqlite")
        self._engine = create_async_engine(asynchronous, **_options(url))
        _prepare(self._engine.sync_engine)
        self._writer: AsyncEngine = self._engine.execution_options(pajama_begin="IMMEDIATE")

    async def write(self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(session, …)` in one read-write transaction. Raises DatabaseUnavailable."""
        async with self._session(self._writer) as session, session.begin():
            return await session.run_sync(function, *args, **kwargs)

    async def read(self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(session, …)` on one consistent view. Raises DatabaseUnavailable."""
        async with self._session(self._engine) as session:
            return await session.run_sync(function, *args, **kwargs)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _session(self, engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        with _translated():
            async with AsyncSession(engine, expire_on_commit=False) as session:
                yield session


def upgrade(url: str) -> None:
    """Migrate the database at `url` to the newest schema, creating the SQLite file where there is none."""
    database = make_url(url).database
    if make_url(url).get_backend_name() == "sqlite" and database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
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
            f"The schema differs from the models: {difference}."
            for difference in compare_metadata(context, Base.metadata)
        ]


def insert_new(session: Session, model: type[Base], key: tuple[str, ...], row: dict[str, Any]) -> None:
    """Insert `row` unless one with the same unique `key` is there, also when another process adds it just now."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(dialect.insert(model.__table__).on_conflict_do_nothing(index_elements=list(key)), row)


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
    if make_url(url).get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _BUSY_TIMEOUT_MS / 1000}}
    return {"pool_pre_ping": True, "pool_size": 10, "max_overflow": 20, "connect_args": {"connect_timeout": 5}}


def _prepare(engine: Engine) -> None:
    """On SQLite, take over BEGIN: a writer takes the lock at its start, since upgrading a read lock can deadlock."""
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", f"busy_timeout={_BUSY_TIMEOUT_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get("pajama_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")


@contextmanager
def _translated() -> Iterator[None]:
    """Lost connections, locked or full databases become DatabaseUnavailable; broken SQL stays what it is."""
    try:
        yield
    except (OperationalError, sqlite3.OperationalError) as error:
        raise DatabaseUnavailable(f"The database cannot be used: {_cause(error)}") from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise DatabaseUnavailable(f"The database connection was lost: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
