"""Two hundred messages while worker processes and the Valkey server are killed: each is answered once and in order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from bots.replies import watch
from core.database import Database
from core.models import Conversation, Generation, Message, MessageRevision, Turn
from core.queue import WakeUps, make_celery
from core.reaper import Reaper
from core.redis import connect
from core.service import Service, open_service
from core.settings import Settings, variable
from core.values import InboundMessage, Person, Place, TurnState
from pajama.valkey import EmbeddedValkey
from tests.e2e.answering_worker import answer_to

CONVERSATIONS, MESSAGES_EACH, WORKSPACES = 20, 10, 4
EVERY_NTH_TWICE = 10
WORKER_KILLS, VALKEY_KILLS = 4, 2


@dataclass
class Workers:
    """Two worker processes, each started again when it is killed."""

    environment: dict[str, str]
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        with self.log.open("ab") as out:
            command = [sys.executable, "-m", "tests.e2e.answering_worker"]
            self.processes.append(subprocess.Popen(command, env=self.environment, stdout=out, stderr=out))

    def kill_one_at_work(self, database: Database) -> None:
        """Kill a process that holds a Turn, so that the kill falls into work; none where everything is answered."""
        while has_open_turns(database):
            for process in self.processes:
                process.send_signal(signal.SIGSTOP)  # what it holds now, it holds until it is killed
                if str(process.pid) in pids_at_work(database):
                    process.kill()
                    process.wait()
                    self.processes.remove(process)
                    self.start()
                    return
                process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def has_open_turns(database: Database) -> bool:
    with database.read() as session:
        open_turns = Turn.state.in_((TurnState.QUEUED, TurnState.RUNNING))
        return session.scalar(select(Turn.id).where(open_turns).limit(1)) is not None


def pids_at_work(database: Database) -> set[str]:
    """The processes that hold a Turn, by the name that each claims with: host, process, a random word."""
    with database.read() as session:
        owners = session.scalars(select(Turn.owner).where(Turn.state == TurnState.RUNNING)).all()
    return {owner.rsplit("-", 2)[1] for owner in owners if owner}


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
    names = ("data_dir", "database_url", "redis_url", "max_batch_size", "lease_s", "heartbeat_s", "log_format")
    environment = {**os.environ, **{variable(name): str(getattr(settings, name)) for name in names}}
    running = Workers(environment, tmp_path / "workers.log")
    running.start()
    running.start()
    yield running
    running.stop()


@contextmanager
def reaping(settings: Settings) -> Iterator[None]:
    stop, database = threading.Event(), Database(settings.database_url)
    wake_ups = WakeUps(make_celery(settings.redis_url, settings.redis_prefix))
    with connect(settings.redis_url) as client:
        thread = threading.Thread(target=Reaper(settings, database, client, wake_ups).run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
    wake_ups.close()
    database.close()


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
        await asyncio.to_thread(kill)


def kill_and_restart(valkey: EmbeddedValkey) -> None:
    os.kill(valkey.pid, signal.SIGKILL)
    valkey.start()


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
