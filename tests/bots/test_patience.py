"""Whoever waits is told how many are ahead where they are many, and why nothing has begun after a while."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest

from bots import patience
from bots.courier import Courier
from bots.patience import tell_wait
from bots.texts import text
from core.history import TurnView
from core.presence import WorkerStatus
from core.redis import worker_key
from core.service import Service
from core.settings import Settings
from tests.bots.asking import ask
from tests.bots.channel import Channel, ChannelSink
from tests.bots.scripted_worker import Gate, ScriptedWorker


class Told:
    """What was told, in order."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.nonces: list[str] = []

    async def __call__(self, turn: TurnView, sentence: str, nonce: str) -> None:
        self.sentences.append(sentence)
        self.nonces.append(nonce)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_queued_turns_per_person": 10})


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONG_WAIT_S", 0.0)
    monkeypatch.setattr(patience, "NO_START_S", 0.0)


async def ready(service: Service, settings: Settings) -> None:
    """A worker says that it is ready, and is busy with others."""
    status = WorkerStatus(model="m", revision="r", pid=1, ready_at=datetime.now(UTC))
    await service._client.set(worker_key(settings.redis_prefix, "busy"), status.model_dump_json())


@pytest.mark.parametrize("others", [0, 2, patience.LONG_QUEUE])
async def test_where_no_worker_is_ready_they_are_told_so_and_of_many_ahead_before(
    service: Service, told: Told, others: int
) -> None:
    for number in range(others):
        await ask(service, f"other-{number}", f"c{number}")
    await tell_wait(service, await ask(service, "mine"), told)
    many = [text("ahead", count=others)] if others >= patience.LONG_QUEUE else []
    assert told.sentences == [*many, text("status_no_worker")]
    assert len(set(told.nonces)) == len(told.nonces) and all(len(nonce) <= 25 for nonce in told.nonces)


@pytest.mark.parametrize("others", [0, 2, patience.LONG_QUEUE])
async def test_where_workers_are_busy_they_are_told_once_how_many_are_ahead(
    service: Service, settings: Settings, told: Told, others: int
) -> None:
    await ready(service, settings)
    for number in range(others):
        await ask(service, f"other-{number}", f"c{number}")
    await tell_wait(service, await ask(service, "mine"), told)
    assert told.sentences == [text("ahead", count=others) if others else text("ahead_none")]


async def test_of_what_has_begun_nothing_is_told(
    service: Service, worker: ScriptedWorker, told: Told, gate: Gate
) -> None:
    worker.script["slow"] = ["alpha", gate]
    turn, channel = await ask(service, "slow"), Channel()
    courier = Courier(service, lambda turn: nullcontext(ChannelSink(channel)))
    courier.deliver(turn)
    await channel.until("alpha")
    await tell_wait(service, turn, told)
    gate.set()
    await courier.settled()
    assert told.sentences == []


async def test_whoever_is_answered_in_time_is_told_nothing(
    service: Service, settings: Settings, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LONG_WAIT_S", 3600.0)
    channel = Channel()
    courier = Courier(service, lambda turn: nullcontext(ChannelSink(channel)), telling=told)
    courier.deliver(await ask(service, "hello"))
    (waiting,) = patient()
    worker = ScriptedWorker(settings).start()  # not before: it would be answered by now
    try:
        await courier.settled()
    finally:
        worker.close()
    await asyncio.wait({waiting})
    assert waiting.cancelled() and told.sentences == []


def patient() -> set[asyncio.Task[object]]:
    """The tasks that would tell."""
    return {task for task in asyncio.all_tasks() if task.get_name().startswith("wait-")}
