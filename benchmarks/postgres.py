"""A database for a measurement, on the PostgreSQL that is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import make_url

POSTGRES_VARIABLE = "PAJAMA_TEST_POSTGRES_URL"


@contextmanager
def own_database() -> Iterator[str | None]:
    """A database of our own on the PostgreSQL that is given; None, said aloud, where none is."""
    given = os.environ.get(POSTGRES_VARIABLE)
    if not given:
        sys.stderr.write(f"PostgreSQL is left out: {POSTGRES_VARIABLE} names none.\n")
        yield None
        return
    server, name = make_url(given), f"pajama_benchmark_{os.getpid()}"
    dsn = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield server.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
