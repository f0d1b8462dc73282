"""A service goes away in mid-answer and comes back: the person gets the whole answer, once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from bots.replies import watch
from bots.texts import sentence_for
from core.database import Database
from core.errors import DatabaseUnavailable
from core.history import TurnView
from core.models import Generation
from core.service import Service, open_service
from core.settings import Settings, variable
from core.values import InboundMessage, Person, Place, TurnState
from tests.e2e.answering_worker import answer_to
from tests.e2e.cable import Cable

PLACE = Place(platform="web", workspace="w", conversation="c")


def message(event_id: str) -> InboundMessage:
    return InboundMessage(place=PLACE, person=Person(id="p"), event_id=event_id, text=event_id)


@contextmanager
def worker(settings: Settings, log: Path) -> Iterator[None]:
    names = ("data_dir", "database_url", "redis_url", "redis_prefix", "lease_s", "heartbeat_s", "log_format")
    environment = os.environ | {variable(name): str(getattr(settings, name)) for name in names}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.answering_worker"], env=environment, stdout=out, stderr=out
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def cable(database_url: str) -> Iterator[Cable]:
    url = make_url(database_url)
    cable = Cable((url.host or "127.0.0.1", url.port or 5432))
    yield cable
    cable.close()


@pytest.mark.timeout(90)
@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_postgresql_goes_away_in_mid_answer(
    tmp_path: Path, database_url: str, redis_url: str, redis_prefix: str, cable: Cable
) -> None:
    through_cable = make_url(database_url).set(host="127.0.0.1", port=cable.port).render_as_string(hide_password=False)
    settings = Settings(
        data_dir=tmp_path, database_url=through_cable, redis_url=redis_url, redis_prefix=redis_prefix,
        lease_s=60, heartbeat_s=0.5, log_format="json",
    )  # fmt: skip
    with worker(settings, tmp_path / "worker.log"):
        async with open_service(settings) as service:
            received = await service.receive(message("first"))
            turn = await service.turn(PLACE, received.turn_id)
            updates = watch(service, received.turn_id, known=turn)
            assert (await anext(updates)).text
            cable.pull()
            assert await asyncio.to_thread(cable.refused.wait, 30), "the worker tries to store its answer"
            with pytest.raises(DatabaseUnavailable) as refused:
                await service.receive(message("meanwhile"))
            cable.put_back()
            final = await ended(service, received.turn_id)
            await updates.aclose()
            again = await service.receive(message("meanwhile"))
            last = [update async for update in watch(service, again.turn_id)][-1]
    assert "try again" in sentence_for(refused.value, "en")
    assert final.state is TurnState.DONE
    assert last.text == answer_to("meanwhile")
    database = Database(database_url)
    with database.read() as session:
        answers = session.scalars(select(Generation.text).order_by(Generation.id)).all()
    database.close()
    assert answers == [answer_to("first"), answer_to("meanwhile")], "each once"
    assert '"turn_id": 1' in (tmp_path / "worker.log").read_text()


async def ended(service: Service, turn_id: int) -> TurnView:
    """Ask until the Turn has ended; while the pool finds its connections dead, ask again."""
    while True:
        try:
            turn = await service.turn_status(turn_id)
        except DatabaseUnavailable:
            continue
        if turn.state.ended:
            return turn
