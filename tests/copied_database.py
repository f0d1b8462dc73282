"""A database on PostgreSQL that tests have one after another: emptied in between, which takes a tenth of making one."""

from __future__ import annotations

import secrets

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy import URL

Connection = psycopg.Connection[tuple[object, ...]]

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
_COUNTERS = "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false) FROM pg_sequences"
_OTHERS = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
# What emptying would leave: another schema, and the room and the statistics of very many rows.
_SHAPE = """
    SELECT md5(string_agg(oid || relname, ',' ORDER BY oid)), pg_database_size(current_database()) / 16000000
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""


def connected(server: URL) -> Connection:
    """A connection on which each statement is a transaction of its own."""
    dsn = server.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(dsn, autocommit=True, connect_timeout=5)


class CopiedDatabase:
    """A copy of the database `template`, on `server`."""

    def __init__(self, server: URL, template: str) -> None:
        self._server, self._template = server, template
        self._name = f"pajama_test_{secrets.token_hex(6)}"
        self._make()

    @property
    def url(self) -> str:
        """Where it is."""
        return self._address.render_as_string(hide_password=False)

    def restore(self) -> None:
        """Make it as the template is again, whatever was done to it and whoever is connected."""
        with connected(self._address) as connection:
            connection.execute(_OTHERS, [self._name])
            same = connection.execute(_SHAPE).fetchone() == self._shape
            if same:
                _empty(connection)
        if not same:
            self.drop()
            self._make()

    def drop(self) -> None:
        """Take it away."""
        self._run("DROP DATABASE {} WITH (FORCE)", self._name)

    @property
    def _address(self) -> URL:
        return self._server.set(database=self._name)

    def _make(self) -> None:
        self._run("CREATE DATABASE {} TEMPLATE {}", self._name, self._template)
        with connected(self._address) as connection:
            self._shape = connection.execute(_SHAPE).fetchone()

    def _run(self, statement: str, *names: str) -> None:
        with connected(self._server) as connection:
            connection.execute(SQL(statement).format(*map(Identifier, names)))  # type: ignore[arg-type]


def _empty(connection: Connection) -> None:
    """Delete every row, in one statement: foreign keys are looked at when it ends, so that no order is needed."""
    tables = [Identifier(str(name)) for (name,) in connection.execute(_TABLES)]
    deletions = [SQL("{} AS (DELETE FROM {})").format(Identifier(f"d{n}"), table) for n, table in enumerate(tables)]
    connection.execute(Composed([SQL("WITH "), SQL(", ").join(deletions), SQL(" SELECT")]))
    connection.execute(_COUNTERS)
