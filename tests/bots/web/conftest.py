"""A whole web page on real SQLite and Valkey, with a scripted worker behind it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from bots.web.server import Server, listen, make_server, url_of
from core.database import Database, upgrade
from core.service import open_service
from core.settings import Settings
from tests.bots.contract import HOURS, PARKING
from tests.bots.scripted_worker import Gate, ScriptedWorker


@dataclass(frozen=True)
class Site:
    """A served page and what is behind it."""

    url: str
    settings: Settings
    worker: ScriptedWorker
    database: Database

    def visitor(self, **headers: str) -> httpx.Client:
        """Someone with a cookie jar of their own."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)


@pytest.fixture(scope="session")
def site(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all tests: visitors do not see each other."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("web"),
        redis_url=redis_url,
        redis_prefix="test-web",
        web_port=0,
        max_message_chars=5_000,
        max_queued_turns_per_person=2,
    )
    upgrade(settings.effective_database_url)
    worker, database = ScriptedWorker(settings).start(), Database(settings.effective_database_url)
    try:
        with served(settings) as url:
            yield Site(url, settings, worker, database)
    finally:
        worker.close()
        database.close()


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The page of `settings`, served by an event loop in a thread of its own."""
    listener, servers, up = listen(settings), list[Server](), threading.Event()

    async def run() -> None:
        async with open_service(settings) as service:
            servers.append(make_server(service, settings))
            up.set()
            await servers[0].serve(sockets=[listener])

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    up.wait()
    try:
        yield url_of(listener)
    finally:
        servers[0].stop()
        thread.join()


@pytest.fixture
def visitor(site: Site) -> Iterator[httpx.Client]:
    with site.visitor() as client:
        yield client


@pytest.fixture
def gate(site: Site) -> Iterator[Gate]:
    """A gate that is open at the end, whatever happens."""
    gate = Gate()
    yield gate
    gate.set()


@pytest.fixture
def shop(site: Site) -> Iterator[None]:
    """The worker knows the FAQ `shop`."""
    site.worker.know(HOURS, PARKING)
    yield
    site.worker.know_nothing()
