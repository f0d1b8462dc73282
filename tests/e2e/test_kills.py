"""Two hundred messages while worker processes and the Valkey server are killed: each is answered once and in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from bots.replies import watch
from core.database import Database
from core.models import Conversation, Generation, Message, MessageRevision, Turn
from core.service import Service, open_service
from core.settings import Settings
from core.values import InboundMessage, Person, Place, TurnState
from pajama.valkey import EmbeddedValkey
from tests.e2e.answering_worker import answer_to
from tests.e2e.processes import Workers, environment, reaping

CONVERSATIONS, MESSAGES_EACH, WORKSPACES = 20, 10, 4
EVERY_NTH_TWICE = 10
WORKER_KILLS, VALKEY_KILLS = 4, 2


@dataclass
class Seen:
    """What the people saw, by event id."""

    texts: dict[str, str] = field(default_factory=dict)
    partial: dict[str, list[tuple[int, str]]] = field(default_factory=dict)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, database_url: str, valkey: EmbeddedValkey) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database_url=database_url,
        redis_url=valkey.url,
        max_batch_size=8,
        lease_s=3,
        heartbeat_s=0.5,
        reap_every_s=0.25,
        max_attempts=10,
        log_format="json",
        _env_file=None,
    )


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Workers]:
    running = Workers(environment(settings), tmp_path / "workers.log")
    running.start()
    running.start()
    yield running
    running.stop()


def message(conversation: int, number: int) -> InboundMessage:
    place = Place(platform="web", workspace=f"w{conversation % WORKSPACES}", conversation=f"c{conversation}")
    event_id = f"c{conversation}-m{number}"
    return InboundMessage(place=place, person=Person(id=f"p{conversation}"), event_id=event_id, text=event_id)


async def converse(service: Service, conversation: int, seen: Seen, progress: asyncio.Semaphore) -> None:
    """Say everything, some of it twice, without waiting for answers; then follow each answer to its end."""
    turns = {}
    for number in range(MESSAGES_EACH):
        said = message(conversation, number)
        received = await service.receive(said)
        if number % EVERY_NTH_TWICE == conversation % EVERY_NTH_TWICE:
            again = await service.receive(said)
            assert again.duplicate
            assert again.turn_id == received.turn_id
        turns[said.event_id] = received.turn_id
    for event_id, turn_id in turns.items():
        async for update in watch(service, turn_id):
            seen.partial.setdefault(event_id, []).append((update.fence, update.text))
            if update.final:
                seen.texts[event_id] = update.text
        progress.release()


async def kill_now_and_then(
    database: Database, workers: Workers, valkey: EmbeddedValkey, progress: asyncio.Semaphore
) -> None:
    """A kill each time that some more answers have arrived."""
    kills = [lambda: workers.kill_one_at_work(database)] * WORKER_KILLS
    for position in range(VALKEY_KILLS):
        kills.insert(1 + 2 * position, lambda: kill_and_restart(valkey))
    each = CONVERSATIONS * MESSAGES_EACH // (len(kills) + 2)
    for kill in kills:
        for _ in range(each):
            await progress.acquire()
        while not await asyncio.to_thread(kill):  # no worker is at work just now
            await progress.acquire()


def kill_and_restart(valkey: EmbeddedValkey) -> bool:
    os.kill(valkey.pid, signal.SIGKILL)
    valkey.start()
    return True


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[Service]:
    with reaping(settings):
        async with open_service(settings) as service:
            yield service


@pytest.mark.timeout(240)
async def test_every_message_is_answered_once_and_in_order_whatever_is_killed(
    settings: Settings, workers: Workers, valkey: EmbeddedValkey
) -> None:
    seen, progress, database = Seen(), asyncio.Semaphore(0), Database(settings.database_url)
    async with served(settings) as service:
        people = [converse(service, number, seen, progress) for number in range(CONVERSATIONS)]
        await asyncio.gather(kill_now_and_then(database, workers, valkey, progress), *people)
    database.close()

    everything = {message(c, m).event_id for c in range(CONVERSATIONS) for m in range(MESSAGES_EACH)}
    assert {event_id: answer_to(event_id) for event_id in everything} == seen.texts
    assert_texts_only_grow(seen)
    assert_answered_once_and_in_order(settings.database_url, everything)


def assert_texts_only_grow(seen: Seen) -> None:
    """Within one attempt nobody saw a character twice, or one taken back."""
    for event_id, updates in seen.partial.items():
        whole = answer_to(event_id)
        fences = [fence for fence, _ in updates]
        assert fences == sorted(fences)
        assert all(whole.startswith(text) for _, text in updates), event_id
        for fence in set(fences):
            lengths = [len(text) for seen_fence, text in updates if seen_fence == fence]
            assert lengths == sorted(lengths), event_id


def assert_answered_once_and_in_order(database_url: str, everything: set[str]) -> None:
    database = Database(database_url)
    with database.read() as session:
        rows = session.execute(
            select(Message.external_id, MessageRevision.text, Turn, Conversation.external_id)
            .join(MessageRevision, MessageRevision.message_id == Message.id)
            .join(Turn, Turn.message_id == Message.id)
            .join(Conversation, Conversation.id == Turn.conversation_id)
            .order_by(Turn.conversation_id, Turn.seq)
        ).all()
        answers = session.scalars(select(Generation)).all()
    database.close()
    assert sorted(event_id for event_id, *_ in rows) == sorted(everything)
    assert len(answers) == len(everything), "a lost attempt must reuse its Generation"
    by_turn = {answer.turn_id: answer for answer in answers if answer.selected}
    assert any(turn.attempt > 1 for _, _, turn, _ in rows), "no kill fell into work"
    finished: dict[str, list[datetime]] = {}
    for _, text, turn, conversation in rows:
        assert turn.state is TurnState.DONE
        assert by_turn[turn.id].text == answer_to(text)
        assert turn.finished_at is not None
        finished.setdefault(conversation, []).append(turn.finished_at)
    assert all(times == sorted(times) for times in finished.values()), "within a conversation answers come in order"
