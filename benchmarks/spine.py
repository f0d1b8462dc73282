"""The spine around the engine: message received → first event at the adapter, and what a streamed token costs."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from celery import Celery

from benchmarks.figures import Figure, median, percentile
from benchmarks.processes import cpu_s, token_worker
from bots.replies import watch
from core.database import upgrade
from core.queue import broker_url
from core.service import Service, open_service
from core.settings import Settings
from core.values import InboundMessage, Person, Place
from pajama.valkey import EmbeddedValkey

STREAMS, STREAMED_TOKENS = 32, 60


def measure(
    folder: Path, database_url: str, name: str, targets: tuple[float, float | None], samples: int
) -> list[Figure]:
    """Latency at low load against the naive baseline, in turns, then the CPU of 32 streams."""
    upgrade(database_url)
    with EmbeddedValkey(folder / f"valkey-{name}") as valkey:
        settings = Settings(
            data_dir=folder,
            database_url=database_url,
            redis_url=valkey.url,
            log_level="WARNING",
            max_batch_size=STREAMS,
        )
        with token_worker(settings) as worker:
            return asyncio.run(_measured(settings, worker, name, targets, samples))


async def _measured(
    settings: Settings, worker: psutil.Process, name: str, targets: tuple[float, float | None], samples: int
) -> list[Figure]:
    async with open_service(settings) as service:
        with _naive(settings.redis_url) as naive:
            ours, theirs = [], []
            for i in range(samples + 20):
                ours.append(await _first_event_ms(service, f"c{i % 10}"))
                theirs.append(await asyncio.to_thread(_naive_ms, naive))
        ours, theirs = ours[20:], theirs[20:]
        bot, its_worker = await _stream_cost(service, worker)
    baseline = "Celery with a result backend"
    return [
        Figure(f"{name}: received → first event, p50", median(ours), "ms", targets[0], median(theirs), baseline),
        Figure(f"{name}: … p99", percentile(ours, 0.99), "ms", targets[1], percentile(theirs, 0.99), baseline),
        Figure(f"{name}: bot CPU a streamed token, {STREAMS} streams", bot, "µs"),
        Figure(f"{name}: worker CPU a streamed token, {STREAMS} streams", its_worker, "µs"),
    ]


async def _first_event_ms(service: Service, conversation: str) -> float:
    began = time.perf_counter()
    message = _message(conversation, 3)
    received = await service.receive(message)
    turn = await service.turn(message.place, received.turn_id)
    first = None
    async for update in watch(service, turn.turn_id, known=turn):
        first = first or (time.perf_counter() if update.text else None)
    assert first is not None
    return 1000 * (first - began)


def _message(conversation: str, tokens: int) -> InboundMessage:
    place = Place(platform="web", workspace="benchmark", conversation=conversation)
    return InboundMessage(
        place=place, person=Person(id=conversation), event_id=secrets.token_hex(8), text=f"token {tokens}"
    )


async def _stream_cost(service: Service, worker: psutil.Process) -> tuple[float, float]:
    """CPU of this process and of the worker, µs a token, with STREAMS answers at once."""
    me = psutil.Process()

    async def one(index: int) -> None:
        received = await service.receive(_message(f"s{index}", STREAMED_TOKENS))
        async for _ in watch(service, received.turn_id):
            pass

    before = cpu_s(me), cpu_s(worker)
    await asyncio.gather(*(one(i) for i in range(STREAMS)))
    tokens = STREAMS * STREAMED_TOKENS
    return 1e6 * (cpu_s(me) - before[0]) / tokens, 1e6 * (cpu_s(worker) - before[1]) / tokens


@contextmanager
def _naive(redis_url: str) -> Iterator[Celery]:
    """The baseline's worker on the same Valkey, and its client."""
    broker = f"{broker_url(redis_url)}?virtual_host=5"  # keys of its own
    environment = {**os.environ, "NAIVE_BROKER": broker, "NAIVE_BACKEND": broker}
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.naive", "worker", "-l", "ERROR", "--without-gossip",
               "--without-mingle"]  # fmt: skip
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    app = Celery("naive", broker=broker, backend=broker, set_as_current=False)
    try:
        app.send_task("naive.answer", args=("warm up",)).get(timeout=60)
        yield app
    finally:
        app.close()
        process.terminate()
        process.wait()


def _naive_ms(app: Celery) -> float:
    began = time.perf_counter()
    app.send_task("naive.answer", args=("hello",)).get(timeout=60)
    return 1000 * (time.perf_counter() - began)
