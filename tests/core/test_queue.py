"""Wake-ups and the reaper, on a real Valkey."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
import redis

from core.database import Database
from core.errors import FailureCode
from core.queue import ANSWER_TASK, QUEUE, WakeUps, broker_url, make_celery, queue_key
from core.reaper import Reaper
from core.redis import connect, reaper_key, reply_key
from core.settings import Settings
from core.values import ReplyEvent, ReplyEventKind
from pajama.valkey import EmbeddedValkey
from tests.core.conftest import Chat


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as opened:
        yield opened


@pytest.fixture
def wake_ups(redis_url: str, redis_prefix: str) -> Iterator[WakeUps]:
    opened = WakeUps(make_celery(redis_url, redis_prefix))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://host:1/2", "redis://host:1/2"),
        ("unix:///run/v.sock", "redis+socket:///run/v.sock"),
        ("unix:///run/v.sock?db=3", "redis+socket:///run/v.sock?virtual_host=3"),
        ("rediss://:pw@host/2", "rediss://:pw@host/2?ssl_cert_reqs=required"),
        ("rediss://host?ssl_ca_certs=/ca.pem", "rediss://host?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required"),
        ("rediss://host?ssl_cert_reqs=none", "rediss://host?ssl_cert_reqs=none"),
    ],
)
def test_a_redis_url_is_spelt_as_the_broker_wants_it(url: str, broker: str) -> None:
    assert broker_url(url) == broker


def test_a_wake_up_lies_under_the_prefix(client: redis.Redis, wake_ups: WakeUps, redis_prefix: str) -> None:
    assert wake_ups.send(7)
    assert client.llen(queue_key(redis_prefix)) == 1


def test_a_worker_gets_a_wake_up_of_its_own_prefix_only(redis_url: str, redis_prefix: str, wake_ups: WakeUps) -> None:
    assert wake_ups.send(7)
    for prefix, expected in ((f"{redis_prefix}-other", []), (redis_prefix, [(ANSWER_TASK, [7])])):
        with make_celery(redis_url, prefix) as app, app.connection_for_read() as connection:
            got = []
            with suppress(Empty):
                message = connection.SimpleQueue(QUEUE).get(timeout=0.2 if not expected else 10)
                got.append((message.headers["task"], message.payload[0]))
                message.ack()
            assert got == expected


def test_a_redis_that_hangs_is_given_up_like_one_that_is_gone(tmp_path: Path, redis_prefix: str) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        app = make_celery(valkey.url, redis_prefix)
        app.conf.broker_transport_options["socket_timeout"] /= 25  # sooner, so that the test is short
        wake_ups = WakeUps(app)
        assert wake_ups.send(1)
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            assert wake_ups.send(2) is False
            wake_ups.send_soon(3)
            wake_ups.close()
        finally:
            os.kill(valkey.pid, signal.SIGCONT)


def test_one_that_is_closed_leaves_no_connection_open(client: redis.Redis, redis_url: str, redis_prefix: str) -> None:
    def connections() -> int:
        return len(client.client_list())

    before = connections()
    sending = WakeUps(make_celery(redis_url, redis_prefix))
    assert sending.send(7) and connections() > before
    sending.close()
    assert connections() <= before


def test_without_redis_a_wake_up_is_given_up_at_once() -> None:
    lost = WakeUps(make_celery("unix:///nowhere/valkey.sock", "p"))
    assert lost.send(7) is False
    lost.close()


@pytest.fixture
def reaper(chat: Chat, database_url: str, redis_url: str, redis_prefix: str, wake_ups: WakeUps) -> Iterator[Reaper]:
    settings = Settings(database_url=database_url, redis_url=redis_url, redis_prefix=redis_prefix, max_attempts=1)
    database = Database(database_url)
    with connect(redis_url) as client:
        yield Reaper(settings, database, client, wake_ups)
    database.close()


def test_the_reaper_makes_up_for_lost_wake_ups_but_sends_no_more_than_wait(
    chat: Chat, reaper: Reaper, client: redis.Redis, redis_prefix: str
) -> None:
    for number in range(3):
        chat.say(f"m{number}", conversation=f"c{number}")
    reaper.reap()
    reaper.reap()
    assert client.llen(queue_key(redis_prefix)) == 3
    assert client.exists(reaper_key(redis_prefix))


def test_who_follows_a_turn_that_was_given_up_is_told(
    chat: Chat, reaper: Reaper, client: redis.Redis, redis_prefix: str
) -> None:
    turn_id = chat.say("m").turn_id
    chat.claimed()  # with the lease of a worker that fell silent long ago
    stop = threading.Event()
    thread = threading.Thread(target=reaper.run, args=(stop,))
    thread.start()
    answer: Any = client.xread({reply_key(redis_prefix, turn_id): "0-0"}, block=10_000)
    stop.set()
    thread.join()
    ((_, entries),) = answer
    event = ReplyEvent.model_validate_json(entries[0][1]["event"])
    assert (event.kind, event.failure, event.fence) == (ReplyEventKind.FAILED, FailureCode.ATTEMPTS, 2)
