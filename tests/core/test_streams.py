"""Reply streams on a real Valkey: coalescing, replay, fences, outages."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from core.copies import drop_copies
from core.errors import QueueUnavailable
from core.purging import Purged
from core.redis import connect, connect_async, reply_key
from core.streams import Control, ReplyFollower, ReplyPublisher
from core.values import FinishReason, ReplyEvent, ReplyEventKind
from pajama.valkey import EmbeddedValkey

TTL_S = 60


def delta(text: str, offset: int, fence: int = 1, turn_id: int = 1) -> ReplyEvent:
    kind = ReplyEventKind.DELTA
    return ReplyEvent(turn_id=turn_id, generation_id=1, fence=fence, kind=kind, text=text, offset=offset)


def done(fence: int = 1, turn_id: int = 1) -> ReplyEvent:
    kind, reason = ReplyEventKind.DONE, FinishReason.STOP
    return ReplyEvent(turn_id=turn_id, generation_id=1, fence=fence, kind=kind, finish_reason=reason)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as opened:
        yield opened


@pytest.fixture
def publisher(client: redis.Redis, redis_prefix: str) -> Iterator[ReplyPublisher]:
    opened = ReplyPublisher(client, redis_prefix, TTL_S)
    opened.start()
    yield opened
    opened.close()


@pytest.fixture
async def follower(redis_url: str, redis_prefix: str) -> AsyncIterator[ReplyFollower]:
    async with connect_async(redis_url) as opened:
        follower = ReplyFollower(opened, redis_prefix)
        await follower.start()
        yield follower
        await follower.close()


def said(events: list[ReplyEvent]) -> str:
    return "".join(event.text for event in events)


def test_the_first_text_is_sent_alone_and_later_text_is_joined(client: redis.Redis, redis_prefix: str) -> None:
    publisher = ReplyPublisher(client, redis_prefix, TTL_S)
    publisher.start()
    for offset, letter in enumerate("abcdefgh"):
        publisher.publish(delta(letter, offset))
    publisher.publish(done())
    publisher.close()
    stored: Any = client.xrange(reply_key(redis_prefix, 1))
    entries = [ReplyEvent.model_validate_json(fields["event"]) for _, fields in stored]
    assert said(entries) == "abcdefgh"
    assert len(entries) <= 4, "eight letters, at most three texts and the end"
    assert entries[-1].kind is ReplyEventKind.DONE
    assert 0 < client.ttl(reply_key(redis_prefix, 1)) <= TTL_S


async def test_early_and_late_followers_get_the_same(publisher: ReplyPublisher, follower: ReplyFollower) -> None:
    async def follow() -> list[ReplyEvent]:
        return [event async for event in follower.follow(1)]

    early = asyncio.create_task(follow())
    publisher.publish(delta("one ", 0))
    stream = follower.follow(1)
    assert (await anext(stream)).text == "one "
    late = asyncio.create_task(follow())
    publisher.publish(delta("two", 4))
    publisher.publish(done())
    assert said(await early) == said(await late) == "one two"
    assert said([event async for event in stream]) == "two"
    assert said(await follow()) == "one two", "and after the end it is replayed"


async def test_who_comes_back_in_mid_answer_gets_it_from_the_start(
    client: redis.Redis, follower: ReplyFollower, redis_prefix: str
) -> None:
    """Also where more is said just as they come, while the reader still waits for what follows their last visit."""

    def say(event: ReplyEvent) -> None:
        client.xadd(reply_key(redis_prefix, 1), {"event": event.model_dump_json(exclude_defaults=True)})

    say(delta("one ", 0))
    first_visit = follower.follow(1)
    assert (await anext(first_visit)).text == "one "
    say(delta("two ", 4))
    assert (await anext(first_visit)).text == "two "
    await first_visit.aclose()

    async def follow() -> list[ReplyEvent]:
        return [event async for event in follower.follow(1)]

    second_visit = asyncio.create_task(follow())
    say(delta("three", 8))  # before the loop runs: the reader hears of it before it hears of the second visit
    say(done())
    assert said(await second_visit) == "one two three"


async def test_an_event_of_an_unknown_version_is_passed_over(
    client: redis.Redis, publisher: ReplyPublisher, follower: ReplyFollower, redis_prefix: str
) -> None:
    client.xadd(reply_key(redis_prefix, 1), {"event": '{"version": 99}'}, id="1-*")
    publisher.publish(delta("known", 0))
    publisher.publish(done())
    assert said([event async for event in follower.follow(1)]) == "known"
    assert said([event async for event in follower.follow(1)]) == "known", "and the reader still lives"


async def test_events_of_an_earlier_fence_are_not_told(publisher: ReplyPublisher, follower: ReplyFollower) -> None:
    publisher.publish(delta("old", 0, fence=1))
    publisher.publish(done(fence=1))
    publisher.publish(delta("new", 0, fence=3))
    publisher.publish(done(fence=3))
    events = [event async for event in follower.follow(1, after_fence=1)]
    assert [(event.fence, event.text) for event in events if event.text] == [(3, "new")]


@pytest.mark.parametrize("redis_kind", ["redis_url", "given_redis_url"])
def test_redis_refuses_what_an_older_fence_says(
    redis_kind: str, redis_prefix: str, request: pytest.FixtureRequest
) -> None:
    with connect(request.getfixturevalue(redis_kind)) as client:
        publisher = ReplyPublisher(client, redis_prefix, TTL_S)
        publisher.start()
        for fence, text in ((2, "new "), (1, "late"), (2, "and on"), (1, "later"), (3, " anew")):
            publisher.publish(delta(text, 0, fence=fence))
        publisher.close()
        stored: Any = client.xrange(reply_key(redis_prefix, 1))
        entries = [ReplyEvent.model_validate_json(fields["event"]) for _, fields in stored]
        client.delete(reply_key(redis_prefix, 1))
    assert said(entries) == "new and on anew"


async def test_a_follower_outlives_a_purge_of_its_stream(
    client: redis.Redis, publisher: ReplyPublisher, follower: ReplyFollower, redis_prefix: str
) -> None:
    publisher.publish(delta("to be purged", 0))
    stream = follower.follow(1)
    assert (await anext(stream)).text == "to be purged"
    for fence, running in ((2, ()), (3, (1,))):
        with client.pipeline() as pipeline:
            drop_copies(pipeline, redis_prefix, TTL_S, Purged(silenced={1: fence}), running)
            pipeline.execute()
        publisher.publish(delta("late", 12, fence=fence - 1))
        publisher.publish(delta("anew", 0, fence=fence))
        assert (await anext(stream)).text == "anew"
    await stream.aclose()


async def test_many_turns_are_followed_at_once(publisher: ReplyPublisher, follower: ReplyFollower) -> None:
    async def follow(turn_id: int) -> str:
        return said([event async for event in follower.follow(turn_id)])

    tasks = [asyncio.create_task(follow(turn_id)) for turn_id in range(1, 41)]
    for piece in range(5):
        for turn_id in range(1, 41):
            publisher.publish(
                delta(f"{turn_id}.{piece} ", sum(len(f"{turn_id}.{p} ") for p in range(piece)), 1, turn_id)
            )
    for turn_id in range(1, 41):
        publisher.publish(done(turn_id=turn_id))
    answers = await asyncio.gather(*tasks)
    assert answers == ["".join(f"{turn_id}.{piece} " for piece in range(5)) for turn_id in range(1, 41)]


async def test_more_turns_than_connections_are_followed_from_one_moment_on(
    publisher: ReplyPublisher, follower: ReplyFollower
) -> None:
    """As a bot does that comes back to many open Turns."""
    turns = range(1, 301)
    streams = [follower.follow(turn_id) for turn_id in turns]
    firsts = [asyncio.create_task(anext(stream)) for stream in streams]
    await asyncio.wait(firsts, timeout=0.1)
    for turn_id in turns:
        publisher.publish(delta(f"of {turn_id}", 0, turn_id=turn_id))
    assert [(await first).text for first in firsts] == [f"of {turn_id}" for turn_id in turns]
    for stream in streams:
        await stream.aclose()


async def test_followers_hear_of_an_outage_and_later_ones_work_again(tmp_path: Path, redis_prefix: str) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        async with connect_async(valkey.url) as client:
            follower = ReplyFollower(client, redis_prefix)
            await follower.start()
            with connect(valkey.url) as sync:
                publisher = ReplyPublisher(sync, redis_prefix, TTL_S)
                publisher.start()
                publisher.publish(delta("before", 0))
                stream = follower.follow(1)
                assert (await anext(stream)).text == "before"
                os.kill(valkey.pid, signal.SIGKILL)
                with pytest.raises(QueueUnavailable):
                    await anext(stream)
                publisher.publish(delta("lost", 6))  # neither waits nor raises
                valkey.start()
                publisher.publish(done(turn_id=2))
                events = await _followed_again(follower, publisher)
                publisher.close()
            await follower.close()
    assert events[-1].kind is ReplyEventKind.DONE


async def _followed_again(follower: ReplyFollower, publisher: ReplyPublisher) -> list[ReplyEvent]:
    """Connections of before the kill may fail once each."""
    while True:
        publisher.publish(done(turn_id=2))
        try:
            return [event async for event in follower.follow(2)]
        except QueueUnavailable:
            continue


def test_workers_are_told_to_cancel_and_forget(client: redis.Redis, redis_url: str, redis_prefix: str) -> None:
    control, stop = Control(redis_prefix), threading.Event()
    told: list[object] = []

    def note(*what: object) -> None:
        told.append(what)
        if len(told) == 2:
            stop.set()

    thread = threading.Thread(target=control.listen, args=(client, note, note, stop))
    thread.start()

    while client.pubsub_numsub(f"{redis_prefix}:control")[0][1] == 0:
        continue

    async def tell() -> None:
        async with connect_async(redis_url) as sender:
            await control.cancel(sender, 7, 3)
            async with sender.pipeline() as pipeline:
                drop_copies(pipeline, redis_prefix, TTL_S, Purged(conversation_ids=frozenset({2, 1})))
                await pipeline.execute()

    asyncio.run(tell())
    thread.join()
    assert told == [(7, 3), ([1, 2],)]


def test_after_a_break_workers_forget_what_they_may_have_missed(tmp_path: Path, redis_prefix: str) -> None:
    control, stop, told = Control(redis_prefix), threading.Event(), list[object]()

    def note(*what: object) -> None:
        told.append(what)
        stop.set()

    with EmbeddedValkey(tmp_path) as valkey, connect(valkey.url) as client:
        thread = threading.Thread(target=control.listen, args=(connect(valkey.url), note, note, stop))
        thread.start()
        while client.pubsub_numsub(f"{redis_prefix}:control")[0][1] == 0:
            continue
        os.kill(valkey.pid, signal.SIGKILL)
        valkey.start()
        thread.join()
    assert told == [([],)]
