"""A Service on real SQLite and Valkey with a scripted worker behind it, for what platforms share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from core.database import Database
from core.service import Service, open_service
from core.settings import Settings
from tests.bots.channel import Channel
from tests.bots.scripted_worker import Gate, ScriptedWorker


@pytest.fixture
def database_kind() -> str:
    """What differs between databases is tested in core and end to end."""
    return "sqlite"


@pytest.fixture
def settings(database_url: str, redis_url: str, redis_prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        redis_prefix=redis_prefix,
        max_message_chars=5_000,
        max_queued_turns_per_person=2,
        openai_workspace_models="small, large",
    )


@pytest.fixture
def worker(settings: Settings) -> Iterator[ScriptedWorker]:
    worker = ScriptedWorker(settings).start()
    yield worker
    worker.close()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The same database, to look at or to disturb."""
    database = Database(settings.effective_database_url)
    yield database
    database.close()


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with open_service(settings) as service:
        yield service


@pytest.fixture
def channel() -> Channel:
    """What a platform shows."""
    return Channel()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is open at the end, whatever happens."""
    gate = Gate()
    yield gate
    gate.set()
