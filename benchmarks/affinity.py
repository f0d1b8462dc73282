"""Two workers: how often the next turn of a conversation goes to the one that has its KV, and what that costs.

With affinity and without, in turns, each time with new workers on the same database and Valkey.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from sqlalchemy import select

from benchmarks.figures import Figure, median
from benchmarks.processes import token_worker
from bots.replies import watch
from core.database import Database, upgrade
from core.models import Conversation, Turn
from core.presence import ready_workers
from core.redis import connect
from core.service import Service, open_service
from core.settings import Settings
from core.values import InboundMessage, Person, Place
from pajama.valkey import EmbeddedValkey

_WORKERS, _RUNS, _TURNS, _TOKENS = 2, 3, 6, 10
_HEARTBEAT_S = 0.2


def measure(folder: Path, database_url: str, name: str, conversations: tuple[int, ...]) -> Iterator[Figure]:
    """The share of next turns that went where their KV is, and received → first event, at some loads."""
    upgrade(database_url)
    for count in conversations:
        stayed: dict[bool, list[float]] = {True: [], False: []}
        first_ms: dict[bool, list[float]] = {True: [], False: []}
        with EmbeddedValkey(folder / f"valkey-{name}-{count}") as valkey:
            for run in range(2 * _RUNS):
                kept = run % 2 == 0
                settings = Settings(
                    data_dir=folder,
                    database_url=database_url,
                    redis_url=valkey.url,
                    log_level="WARNING",
                    max_batch_size=16,
                    heartbeat_s=_HEARTBEAT_S,
                    affinity_s=0.05 if kept else 0.0,
                )
                share, times_ms = _run(settings, count)
                stayed[kept].append(share)
                first_ms[kept].extend(times_ms)
        what = f"{name}: {_WORKERS} workers, {count} conversations at once"
        baseline = "without affinity"
        yield Figure(
            f"{what}: next turns where their KV is",
            100 * median(stayed[True]),
            "%",
            None,
            100 * median(stayed[False]),
            baseline,
            spread=(100 * min(stayed[True]), 100 * max(stayed[True])),
        )
        first, without = median(first_ms[True]), median(first_ms[False])
        yield Figure(f"{what}: next turn received → first event, p50", first, "ms", None, without, baseline)


def _run(settings: Settings, conversations: int) -> tuple[float, list[float]]:
    with ExitStack() as stack:
        for _ in range(_WORKERS):
            stack.enter_context(token_worker(settings, TOKENS_PER_S="200"))
        client = stack.enter_context(connect(settings.redis_url))
        while len(ready_workers(client, settings.redis_prefix)) < _WORKERS:
            time.sleep(0.02)
        time.sleep(2 * _HEARTBEAT_S)  # each has seen the other
        return asyncio.run(_talk(settings, conversations))


async def _talk(settings: Settings, conversations: int) -> tuple[float, list[float]]:
    database = Database(settings.effective_database_url)
    async with open_service(settings) as service:
        said = await asyncio.gather(*(_converse(service, database) for _ in range(conversations)))
    database.close()
    pairs = [pair for workers, _ in said for pair in pairwise(workers)]
    return sum(before == after for before, after in pairs) / len(pairs), [ms for _, times in said for ms in times[1:]]


async def _converse(service: Service, database: Database) -> tuple[list[str | None], list[float]]:
    """Who answered each turn of a conversation, and when its first word came, in ms."""
    conversation, workers, first_ms = secrets.token_hex(8), list[str | None](), list[float]()
    for _ in range(_TURNS):
        place = Place(platform="web", workspace="affinity", conversation=conversation)
        began, first = time.perf_counter(), 0.0
        received = await service.receive(
            InboundMessage(
                place=place, person=Person(id=conversation), event_id=secrets.token_hex(8), text=f"token {_TOKENS}"
            )
        )
        async for update in watch(service, received.turn_id):
            first = first or (time.perf_counter() if update.text else 0.0)
        first_ms.append(1000 * (first - began))
        workers.append(await asyncio.to_thread(_kv_worker, database, received.turn_id))
    return workers, first_ms


def _kv_worker(database: Database, turn_id: int) -> str | None:
    query = select(Conversation.kv_worker).join(Turn, Turn.conversation_id == Conversation.id)
    with database.read() as session:
        return session.scalar(query.where(Turn.id == turn_id))
