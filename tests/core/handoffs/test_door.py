"""The door for asyncio: two bots hear of each other's hand-offs, and the reaper ends what nobody takes care of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from core.bell import Bell, ring
from core.database import Database
from core.errors import EmptyMessage, MessageTooLong
from core.handoffs.models import Handoff
from core.queue import WakeUps, make_celery
from core.reaper import Reaper
from core.redis import connect, connect_async
from core.service import Service, open_service
from core.settings import Settings
from core.values import HandoffRequest, HandoffState, InboundMessage, Person, Place, ReleaseCause, TurnState
from tests.core.handoffs.asking import staff

PLACE = Place(platform="discord", workspace="w", conversation="c")
NOWHERE = "redis://127.0.0.1:1/0"


def wish(event_id: str = "ask", text: str = "") -> HandoffRequest:
    return HandoffRequest(place=PLACE, person=Person(id="p"), event_id=event_id, text=text)


@pytest.fixture
def database_kind() -> str:
    """What differs between databases is tested with the states."""
    return "sqlite"


@pytest.fixture
def settings(database_url: str, redis_url: str, redis_prefix: str) -> Settings:
    return Settings(database_url=database_url, redis_url=redis_url, redis_prefix=redis_prefix, max_message_chars=100)


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[asyncio.Task[None]]:
    """Somebody who waits for the bell, and is known to hear it."""
    if service.handoffs.bell._listening is None:
        await service.handoffs.bell.after(service.handoffs.bell.rung, 60)  # rings once when it is heard
    task = asyncio.create_task(service.handoffs.bell.after(service.handoffs.bell.rung, 60))
    await asyncio.sleep(0)
    yield task
    await task


async def test_another_bot_is_told_at_once(settings: Settings) -> None:
    async with open_service(settings) as one, open_service(settings) as other:
        async with listening(other):
            requested = await one.handoffs.request(wish())
        assert [view.handoff_id for view in await other.handoffs.open_handoffs()] == [requested.handoff_id]
        async with listening(one):
            await other.handoffs.claim(PLACE, requested.handoff_id, staff("bo"))
        async with listening(one):
            await other.receive(InboundMessage(place=PLACE, person=Person(id="p"), event_id="m", text="hello"))


async def test_without_redis_everything_goes_on_and_is_found_by_looking(settings: Settings) -> None:
    async with open_service(settings.model_copy(update={"redis_url": NOWHERE})) as service:
        requested = await service.handoffs.request(wish())
        await service.handoffs.claim(PLACE, requested.handoff_id, staff("bo"))
        await service.handoffs.bell.after(service.handoffs.bell.rung, 0.05)
        assert (await service.handoffs.handoff(requested.handoff_id)).claimed


async def test_a_ring_between_a_look_and_the_wait_is_not_missed(redis_url: str, redis_prefix: str) -> None:
    client = connect_async(redis_url)
    bell = Bell(client, redis_prefix)
    before = bell.rung
    await bell.ring()
    await bell.after(before, 60)
    await bell.close()
    await client.aclose()


async def test_a_worker_rings_for_those_who_listen_elsewhere(redis_url: str, redis_prefix: str) -> None:
    listener, worker = connect_async(redis_url), connect(redis_url)
    bell = Bell(listener, redis_prefix)
    await bell.after(bell.rung, 60)  # it rings once as it begins to listen
    heard = bell.rung
    await asyncio.to_thread(ring, worker, redis_prefix)
    await bell.after(heard, 60)
    assert bell.rung == heard + 1
    await bell.close()
    await listener.aclose()
    worker.close()


async def test_what_runs_is_stopped_for_whoever_follows_it(settings: Settings) -> None:
    async with open_service(settings) as service:
        received = await service.receive(InboundMessage(place=PLACE, person=Person(id="p"), event_id="m", text="hello"))
        requested = await service.handoffs.request(wish())
        await service.handoffs.claim(PLACE, requested.handoff_id, staff("bo"))
        (turn,) = await service.history(PLACE)
        assert (turn.turn_id, turn.state) == (received.turn_id, TurnState.CANCELLED)
        assert [event.terminal async for event in service.follow(turn.turn_id)] == [True]


async def test_words_of_staff_are_checked_as_everybodys(settings: Settings) -> None:
    async with open_service(settings) as service:
        requested = await service.handoffs.request(wish())
        await service.handoffs.claim(PLACE, requested.handoff_id, staff("bo"))
        with pytest.raises(EmptyMessage):
            await service.handoffs.staff_says(PLACE, requested.handoff_id, staff("bo"), "r", "\x07")
        with pytest.raises(MessageTooLong):
            await service.handoffs.staff_says(PLACE, requested.handoff_id, staff("bo"), "r", "x" * 101)
        with pytest.raises(MessageTooLong):
            await service.handoffs.request(wish("again", "x" * 101))


async def test_a_reset_gives_it_back_to_the_bot(settings: Settings) -> None:
    async with open_service(settings) as service:
        requested = await service.handoffs.request(wish())
        await service.handoffs.claim(PLACE, requested.handoff_id, staff("bo"))
        await service.reset(PLACE)
        view = await service.handoffs.newest(PLACE)
        assert view is not None and (view.state, view.cause) == (HandoffState.RELEASED, ReleaseCause.RESET)
        assert await service.handoffs.said(PLACE) == []


async def test_the_reaper_ends_what_nobody_takes_care_of(settings: Settings) -> None:
    database, client = Database(settings.effective_database_url), connect(settings.redis_url)
    wake_ups = WakeUps(make_celery(settings.redis_url, settings.redis_prefix))
    reaper = Reaper(settings, database, client, wake_ups)
    async with open_service(settings) as service:
        requested = await service.handoffs.request(wish())
        with database.write() as session:
            long_ago = datetime.now(UTC) - timedelta(hours=settings.handoff_timeout_h + 1)
            session.execute(update(Handoff).values(touched_at=long_ago))
        reaper.end_handoffs()
        assert (await service.handoffs.handoff(requested.handoff_id)).cause is ReleaseCause.TIMEOUT
    wake_ups.close()
    client.close()
    database.close()


async def test_what_stands_is_open_or_over_with_nothing_asked_since(settings: Settings) -> None:
    async with open_service(settings) as service:
        assert await service.handoffs.standing(PLACE) is None
        requested = await service.handoffs.request(wish(text="my parcel is lost"))
        assert await standing(service) == (requested.handoff_id, HandoffState.REQUESTED)
        words = await service.handoffs.last_words([requested.handoff_id])
        assert words[requested.handoff_id].text == "my parcel is lost"
        await service.handoffs.claim(PLACE, requested.handoff_id, staff("bo"))
        await service.handoffs.staff_says(PLACE, requested.handoff_id, staff("bo"), "r", "I am Bo.")
        await service.handoffs.release(PLACE, requested.handoff_id, staff("bo"))
        assert await standing(service) == (requested.handoff_id, HandoffState.RELEASED)
        await service.receive(InboundMessage(place=PLACE, person=Person(id="p"), event_id="m", text="hello"))
        assert await service.handoffs.standing(PLACE) is None
        assert (await service.handoffs.last_words([requested.handoff_id]))[requested.handoff_id].text == "hello"
        again = await service.handoffs.request(wish("again"))
        await service.handoffs.release(PLACE, again.handoff_id, staff("bo"))
        await service.reset(PLACE)
        assert await service.handoffs.standing(PLACE) is None


async def standing(service: Service) -> tuple[int, HandoffState] | None:
    view = await service.handoffs.standing(PLACE)
    return (view.handoff_id, view.state) if view is not None else None
