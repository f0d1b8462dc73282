"""A whole web page on real SQLite and Valkey, with a scripted worker behind it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import redis
from starlette.responses import Response

from bots.web.operator.badges import COOKIE, PATH, Badges
from bots.web.server import Server, listen, make_server, url_of
from core.database import Database, upgrade
from core.redis import connect, desk_open_key, rate_key
from core.service import open_service
from core.settings import Settings
from tests.bots.contract import HOURS, PARKING
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.core.faq.asking import People
from workers.faq import FaqDesk
from workers.operators_desk import OperatorsDesk


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

    def operator(self) -> AbstractContextManager[httpx.Client]:
        """Somebody who wears a badge."""
        return badged(self.url, self.settings)


@contextmanager
def badged(url: str, settings: Settings) -> Iterator[httpx.Client]:
    """An operator of the page at `url`."""
    pinned = Response()
    Badges(settings).pin_on(pinned)
    badge = pinned.headers["set-cookie"].partition("=")[2].partition(";")[0]
    with httpx.Client(base_url=url, timeout=30) as client:
        client.cookies.set(COOKIE, badge, path=PATH)
        yield client


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


@dataclass(frozen=True)
class Shop:
    """A page whose operators a worker's desk answers, by words alone, and people who ask."""

    url: str
    settings: Settings
    database: Database
    people: People

    def operator(self) -> AbstractContextManager[httpx.Client]:
        """Somebody who wears a badge."""
        return badged(self.url, self.settings)


@pytest.fixture(scope="session")
def bookshop(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One for all tests of the operators' side: each makes collections of its own."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("shop"), redis_url=redis_url, redis_prefix="test-shop", web_port=0
    )
    upgrade(settings.effective_database_url)
    database = Database(settings.effective_database_url)
    with connect(redis_url) as client:
        desk = OperatorsDesk(client, settings.redis_prefix, database, FaqDesk(database, lambda: None).fresh)
        desk.start()
        until_open(client, settings.redis_prefix)
        try:
            with served(settings) as url:
                yield Shop(url, settings, database, People(database, datetime.now(UTC) - timedelta(days=1)))
        finally:
            desk.close(10)
            database.close()


def until_open(client: redis.Redis, prefix: str) -> None:
    """Wait until a worker says that it takes operators' requests."""
    while not client.exists(desk_open_key(prefix)):
        time.sleep(0.01)


STOPS_WITHIN_S = 60


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The page of `settings`, served by an event loop in a thread of its own."""
    listener, servers, up = listen(settings), list[Server](), threading.Event()

    async def run() -> None:
        async with open_service(settings) as service:
            servers.append(make_server(service, settings))
            up.set()
            await servers[0].serve(sockets=[listener])

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    up.wait()
    try:
        yield url_of(listener)
    finally:
        servers[0].stop()
        thread.join(STOPS_WITHIN_S)
        if thread.is_alive():
            raise RuntimeError("The page does not stop.")


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


def forget_sign_ins(shop: Shop) -> None:
    """Let nobody have tried to sign in of late: that limit counts from one test to the next."""
    with connect(shop.settings.redis_url) as client:
        for key in client.scan_iter(match=rate_key(shop.settings.redis_prefix, "sign-in*")):
            client.delete(key)
