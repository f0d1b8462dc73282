"""The desk: a page asks, a worker answers from its indexes, and what goes wrong is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
import redis
import redis.asyncio

from core.database import Database
from core.errors import ModelUnavailable, NotFound, NoWorker, PajamaError, WorkerBusy
from core.faq import collections
from core.faq.desk import PATIENCE_S, CalibrateRequest, DeskClient, Envelope, GapsRequest, TryRequest
from core.faq.search import FaqSearch
from core.redis import connect, connect_async, desk_key, desk_open_key
from tests.core.faq.asking import People
from tests.core.faq.conftest import entry
from tests.core.faq.embedders import Trigrams
from workers.faq import FaqDesk
from workers.operators_desk import OperatorsDesk


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def shop(database: Database) -> int:
    """A collection in which phrasings suffice to measure."""
    entries = [
        entry(f"k{i}", *(f"word{i} number {j} sign{i}" for j in range(8)), answer=f"Answer {i}") for i in range(20)
    ]
    with database.write() as session:
        collection = collections.create(session, "shop", None, datetime.now(UTC))
        collections.upsert(session, collection, entries, datetime.now(UTC))
        return collection.id


def until_open(client: redis.Redis, prefix: str) -> None:
    while not client.exists(desk_open_key(prefix)):
        time.sleep(0.01)


@pytest.fixture
def desk(client: redis.Redis, redis_prefix: str, database: Database) -> Iterator[OperatorsDesk]:
    desk = OperatorsDesk(client, redis_prefix, database, FaqDesk(database, Trigrams).fresh)
    desk.start()
    until_open(client, redis_prefix)
    yield desk
    desk.close(10)


@pytest.fixture
async def page(redis_url: str, redis_prefix: str) -> AsyncIterator[DeskClient]:
    client = connect_async(redis_url)
    yield DeskClient(client, redis_prefix)
    await client.aclose()


async def test_a_question_is_decided_as_a_worker_decides_it(desk: OperatorsDesk, page: DeskClient, shop: int) -> None:
    tried = (await page.ask(TryRequest(text="word3 number 5 sign3"))).tried
    assert tried is not None
    assert (tried.outcome, tried.reason, tried.collection, tried.embedder) == (
        "answer",
        "same_words",
        "shop",
        "trigrams@1",
    )
    assert (tried.matches[0].key, tried.matches[0].answer, tried.first) == ("k3", "Answer 3", 1.0)
    assert (await page.ask(TryRequest(text="Who painted the Mona Lisa?"))).tried.outcome == "abstain"  # type: ignore[union-attr]
    other = (await page.ask(TryRequest(text="word3 number 5 sign3", collection_id=shop + 1))).tried
    assert (tried.collection_id, other.reason) == (shop, "no_collection")  # type: ignore[union-attr]


async def test_a_collection_is_measured_and_that_is_kept(
    desk: OperatorsDesk, page: DeskClient, shop: int, database: Database
) -> None:
    made = (await page.ask(CalibrateRequest(collection_id=shop, target_risk=0.05, uncovered_share=0.2))).calibration
    assert made is not None and made.target_risk == 0.05 and made.modes["meaning-trained"].curve
    with database.read() as session:
        assert collections.get(session, shop).calibration == made.model_dump(mode="json")
    with pytest.raises(NotFound):
        await page.ask(CalibrateRequest(collection_id=shop + 1, target_risk=0.05, uncovered_share=0.2))


async def test_gaps_are_gathered_with_the_workers_embedder(
    desk: OperatorsDesk, page: DeskClient, database: Database
) -> None:
    People(database).ask("Do you deliver abroad?")
    report = (await page.ask(GapsRequest())).gaps
    assert report is not None
    assert ([gap.question for gap in report.gaps], report.embedder) == (["Do you deliver abroad?"], "trigrams@1")
    assert (await page.ask(GapsRequest(days=1))).gaps.gaps == ()  # type: ignore[union-attr]


async def test_where_no_worker_is_that_is_said_at_once(
    page: DeskClient, client: redis.Redis, redis_prefix: str
) -> None:
    with pytest.raises(NoWorker):
        await page.ask(TryRequest(text="x"))
    assert not client.exists(desk_key(redis_prefix))


async def test_a_busy_worker_is_waited_for_and_said_to_be_busy(
    page: DeskClient, client: redis.Redis, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PATIENCE_S, "try", 0.1)
    client.set(desk_open_key(redis_prefix), "1")
    with pytest.raises(WorkerBusy):
        await page.ask(TryRequest(text="x"))
    left_s = client.ttl(desk_key(redis_prefix))  # another request in the list may be waited for as long as any
    assert left_s > PATIENCE_S["calibrate"] - 10  # type: ignore[operator]


async def test_what_the_worker_cannot_do_is_said_and_the_next_one_is_answered(
    client: redis.Redis, redis_prefix: str, database: Database, page: DeskClient
) -> None:
    answers = iter([ModelUnavailable("No such model."), RuntimeError("boom")])

    def search() -> FaqSearch:
        error = next(answers, None)
        if error is not None:
            raise error
        return FaqSearch(database, None)

    desk = OperatorsDesk(client, redis_prefix, database, search)
    desk.start()
    await asyncio.to_thread(until_open, client, redis_prefix)
    with pytest.raises(PajamaError, match="No such model"):
        await page.ask(TryRequest(text="x"))
    with pytest.raises(PajamaError, match="its log"):
        await page.ask(TryRequest(text="x"))
    assert (await page.ask(TryRequest(text="x"))).tried.reason == "no_collection"  # type: ignore[union-attr]
    desk.close(10)


async def test_what_nobody_waits_for_or_cannot_be_read_is_passed_over(
    desk: OperatorsDesk, client: redis.Redis, redis_prefix: str, page: DeskClient, shop: int
) -> None:
    late = Envelope(request_id="late", until=time.time() - 1, request=TryRequest(text="x"))
    client.rpush(desk_key(redis_prefix), "{", late.model_dump_json())
    assert (await page.ask(TryRequest(text="word3 number 5 sign3"))).tried is not None
    assert not client.exists(f"{redis_prefix}:faq:told:late")
