"""The set-up of production: a given Redis, PostgreSQL, and each process on its own with the shipped model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bots.replies import watch
from core.service import open_service
from core.settings import Settings, variable
from core.values import InboundMessage, Person, Place, TurnState


@contextmanager
def worker(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`pajama worker` as it is run in production, stopped by SIGTERM."""
    command = [sys.executable, "-m", "pajama", "worker"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_worker_of_its_own_answers_over_the_given_redis_and_postgresql(
    tmp_path: Path, database_url: str, given_redis_url: str, redis_prefix: str
) -> None:
    settings = Settings(
        data_dir=tmp_path, database_url=database_url, redis_url=given_redis_url, redis_prefix=redis_prefix
    )
    names = ("data_dir", "database_url", "redis_url", "redis_prefix")
    environment = {variable(name): str(getattr(settings, name)) for name in names}
    more = {variable("max_new_tokens"): "16", variable("threads"): "1"}
    place = Place(platform="web", workspace="w", conversation="c")
    message = InboundMessage(place=place, person=Person(id="p"), event_id="e", text="hello")
    with worker(environment | more, tmp_path / "worker.log") as process:
        async with open_service(settings) as service:
            received = await service.receive(message)
            seen = [update async for update in watch(service, received.turn_id)]
            explanation = await service.why(place, received.turn_id)
    turn = seen[-1].turn
    assert turn is not None
    assert turn.state is TurnState.DONE, (tmp_path / "worker.log").read_text()
    assert turn.answer is not None
    assert 0 < turn.answer.usage.completion_tokens <= 16
    assert turn.answer.model == "slimpajama"
    assert explanation.exact
    assert explanation.messages[-1].text == "hello"
    assert process.returncode == 0
