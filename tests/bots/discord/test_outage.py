"""Redis is killed in mid-answer: what was written comes from SQL."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.database import Database
from pajama.valkey import EmbeddedValkey
from tests.bots.discord.looking import ask, until_delivered, written
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.people import User
from tests.bots.scripted_worker import Gate, ScriptedWorker


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    return valkey.url


async def test_redis_is_killed_in_mid_answer(
    valkey: EmbeddedValkey, asked: Channel, worker: ScriptedWorker, ann: User, bob: User, gate: Gate, database: Database
) -> None:
    worker.script["slow"] = ["alpha ", gate, "omega"]
    await ask(asked, ann, "slow")
    await asked.until("alpha")
    os.kill(valkey.pid, signal.SIGKILL)
    gate.set()
    await until_delivered(database)
    assert written(asked) == ["alpha omega"]
    await ask(asked, bob, "without Redis")
    await until_delivered(database, 2)
    valkey.start()
    await ask(asked, ann, "with Redis")
    await until_delivered(database, 3)
    assert written(asked) == ["alpha omega", "You said: without Redis", "You said: with Redis"]
