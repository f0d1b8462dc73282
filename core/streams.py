"""ReplyEvents over Redis: one stream a Turn, and the channel that tells workers to cancel or forget.

Knows keys, order and coalescing. A stream is a copy for the moment: SQL holds the same text once a Turn has ended, so
an event that Redis loses costs smoothness, never the answer. An entry's id begins with its fence, so that Redis itself
refuses what a worker says under an older one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import redis
import redis.asyncio
import structlog
from pydantic import ValidationError
from redis.exceptions import RedisError

from core.errors import QueueUnavailable
from core.redis import control_channel, reply_key
from core.tasks import end
from core.values import ReplyEvent, ReplyEventKind

COALESCE_S = 0.05
"""Deltas of a Turn after its first are joined for this long: 5 µs a token instead of 25."""

READ_REST_S = 100e-6
"""A read names every stream that is followed; after it the reader rests so long for each, and the next brings more."""

_BLOCK_MS = 5_000
_RECONNECT_S = 0.25
_FIELD = "event"
_TOO_LATE = "equal or smaller than the target stream top item"
"""How Redis refuses an entry whose fence is older than one that has spoken."""

log = structlog.get_logger(__name__)


class ReplyPublisher:
    """The worker's side: takes events from any thread, writes them from one."""

    def __init__(self, client: redis.Redis, prefix: str, ttl_s: int) -> None:
        self._client, self._prefix, self._ttl_s = client, prefix, ttl_s
        self._condition = threading.Condition()
        self._pending: dict[int, list[ReplyEvent]] = {}
        self._urgent: set[int] = set()
        self._streaming: dict[int, int] = {}  # turn id: the fence whose first text has been sent
        self._closing = False
        self._lost = False
        self._next_tick = 0.0
        self._thread = threading.Thread(target=self._run, name="reply-publisher", daemon=True)

    def start(self) -> None:
        """Start the emitter thread."""
        self._thread.start()

    def close(self) -> None:
        """Write what is pending, then stop."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()

    def publish(self, event: ReplyEvent) -> None:
        """Hand over an event. Never waits for Redis and never raises."""
        with self._condition:
            if not self._pending:  # what is not urgent waits this long for more
                self._next_tick = max(self._next_tick, time.monotonic() + COALESCE_S)
            _append(self._pending.setdefault(event.turn_id, []), event)
            if event.terminal or (event.kind is ReplyEventKind.DELTA and self._first(event)):
                self._urgent.add(event.turn_id)
            if event.kind is ReplyEventKind.DELTA:
                self._streaming[event.turn_id] = event.fence
            elif event.terminal:
                self._streaming.pop(event.turn_id, None)
            self._condition.notify()

    def _first(self, delta: ReplyEvent) -> bool:
        """Whether this is the first text of its fence, which someone waits for."""
        return self._streaming.get(delta.turn_id) != delta.fence

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            self._write(batch)

    def _next_batch(self) -> list[ReplyEvent] | None:
        """What is to be written now: urgent Turns at once, the others at each tick. None: closed."""
        with self._condition:
            while True:
                now = time.monotonic()
                if self._closing or (self._pending and now >= self._next_tick):
                    due = list(self._pending)
                    self._next_tick = now + COALESCE_S
                else:
                    due = list(self._urgent)
                self._urgent.clear()
                if due:
                    return [event for turn_id in due for event in self._pending.pop(turn_id)]
                if self._closing:
                    return None
                self._condition.wait(self._next_tick - now if self._pending else None)

    def _write(self, events: Iterable[ReplyEvent]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for event in events:
            key = reply_key(self._prefix, event.turn_id)
            pipeline.xadd(key, _entry(event), id=_id_of(event), maxlen=20_000)
            if event.kind is not ReplyEventKind.DELTA:
                pipeline.expire(key, self._ttl_s)
        try:
            _check(pipeline.execute(raise_on_error=False))
        except (RedisError, OSError) as error:
            if not self._lost:
                log.warning("Reply events are lost: Redis is down.", action="reply_events_lost", reason=str(error))
            self._lost = True
        else:
            self._lost = False


def _entry(event: ReplyEvent) -> dict[Any, Any]:
    return {_FIELD: event.model_dump_json(exclude_defaults=True)}


def _id_of(event: ReplyEvent) -> str:
    return f"{event.fence}-*"


def _check(results: list[Any]) -> None:
    """Raise what went wrong, other than that an event came too late."""
    for result in results:
        if isinstance(result, RedisError) and _TOO_LATE not in str(result):
            raise result


async def tell_end(client: redis.asyncio.Redis, prefix: str, event: ReplyEvent, ttl_s: int) -> None:
    """Tell followers of an end that no worker tells: that of a Turn which was never claimed. Raises RedisError."""
    key = reply_key(prefix, event.turn_id)
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.xadd(key, _entry(event), id=_id_of(event))
        pipeline.expire(key, ttl_s)
        _check(await pipeline.execute(raise_on_error=False))


def _append(events: list[ReplyEvent], event: ReplyEvent) -> None:
    """Add `event`, joined to the last one where both are text of the same fence."""
    last = events[-1] if events else None
    if last and last.kind is event.kind is ReplyEventKind.DELTA and last.fence == event.fence:
        events[-1] = last.model_copy(update={"text": last.text + event.text})
    else:
        events.append(event)


@dataclass(eq=False, slots=True)
class _Subscription:
    turn_id: int
    queue: asyncio.Queue[tuple[str, ReplyEvent] | None] = field(default_factory=asyncio.Queue)


class ReplyFollower:
    """A bot process's side: one reader multiplexes the streams of all Turns that are followed."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._client, self._prefix = client, prefix
        self._subscriptions: dict[int, list[_Subscription]] = {}
        self._positions: dict[int, str] = {}
        self._wake_key, self._wake_position = f"{prefix}:follower:{secrets.token_hex(8)}", "0-0"
        self._joined, self._woken_for, self._waking = 0, 0, asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the reader; Redis need not be there yet."""
        self._task = asyncio.create_task(self._read_forever(), name="reply-follower")

    async def close(self) -> None:
        """Stop the reader; whoever still follows gets QueueUnavailable."""
        await end(self._task)
        self._drop_all()
        with contextlib.suppress(RedisError, OSError):
            await self._client.delete(self._wake_key)

    async def follow(self, turn_id: int, after_fence: int = 0) -> AsyncGenerator[ReplyEvent]:
        """Events of fences above `after_fence`: those that are there, then live ones, to the first that ends a fence.

        Raises QueueUnavailable when Redis goes away; SQL then knows more.
        """
        subscription = _Subscription(turn_id)
        try:
            async for event in self._events(subscription):
                if event.fence > after_fence:
                    yield event
                    if event.terminal:
                        return
        finally:
            self._leave(subscription)

    async def _events(self, subscription: _Subscription) -> AsyncGenerator[ReplyEvent]:
        seen = "0-0"
        replay = await self._join(subscription)
        for position, event in replay:
            seen = position
            yield event
        while (item := await subscription.queue.get()) is not None:
            position, event = item
            if _order(position) > _order(seen):
                seen = position
                yield event
        raise QueueUnavailable("Redis went away while a reply was followed.")

    async def _join(self, subscription: _Subscription) -> list[tuple[str, ReplyEvent]]:
        """Register; a second follower of a Turn first gets what the reader has passed already."""
        turn_id = subscription.turn_id
        others = self._subscriptions.setdefault(turn_id, [])
        others.append(subscription)
        try:
            if len(others) > 1:
                entries: Any = await self._client.xrange(reply_key(self._prefix, turn_id))
                return list(_decoded(entries))
            self._positions[turn_id] = "0-0"
            await self._wake()
        except (RedisError, OSError) as error:
            raise QueueUnavailable(f"Redis cannot be used: {error}") from error
        return []

    def _leave(self, subscription: _Subscription) -> None:
        others = self._subscriptions.get(subscription.turn_id, [])
        if subscription in others:
            others.remove(subscription)
        if not others:
            self._subscriptions.pop(subscription.turn_id, None)
            self._positions.pop(subscription.turn_id, None)

    async def _wake(self) -> None:
        """End the reader's blocking read, so that it starts again with the streams that are wanted now.

        Those who come while one wake-up is on its way share the next: a hundred would be more connections than there are.
        """
        self._joined += 1
        own = self._joined
        async with self._waking:
            if self._woken_for >= own:
                return
            joined = self._joined
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.xadd(self._wake_key, {"wake": "1"}, maxlen=1, approximate=False)
                pipeline.expire(self._wake_key, 60)
                await pipeline.execute()
            self._woken_for = joined

    async def _read_forever(self) -> None:
        while True:
            try:
                await self._read()
            except (RedisError, OSError) as error:
                if self._subscriptions:
                    log.warning("Replies cannot be followed.", action="reply_follower_lost", reason=str(error))
                self._drop_all()
                await asyncio.sleep(_RECONNECT_S)

    async def _read(self) -> None:
        turns = {reply_key(self._prefix, turn_id): turn_id for turn_id in self._positions}
        wanted: dict[Any, Any] = {key: self._positions[turn_id] for key, turn_id in turns.items()}
        answer: Any = await self._client.xread({self._wake_key: self._wake_position, **wanted}, block=_BLOCK_MS)
        for key, entries in answer or ():
            if key == self._wake_key:
                self._wake_position = entries[-1][0]
            elif self._positions.get(turns[key]) == wanted[key]:  # else someone came meanwhile who needs it from 0-0
                self._hand_out(turns[key], entries)
        await asyncio.sleep(READ_REST_S * len(wanted))

    def _hand_out(self, turn_id: int, entries: list[tuple[str, dict[str, str]]]) -> None:
        if not entries:  # they were purged as they came
            return
        self._positions[turn_id] = entries[-1][0]
        for position, event in _decoded(entries):
            for subscription in self._subscriptions.get(turn_id, ()):
                subscription.queue.put_nowait((position, event))

    def _drop_all(self) -> None:
        for subscription in [s for group in self._subscriptions.values() for s in group]:
            subscription.queue.put_nowait(None)
        self._subscriptions.clear()
        self._positions.clear()


class Control:
    """Tells every worker to cancel a Turn, at once; SQL tells the same, a heartbeat later. Hears of forgetting too."""

    def __init__(self, prefix: str) -> None:
        self._channel = control_channel(prefix)

    async def cancel(self, client: redis.asyncio.Redis, turn_id: int, fence: int) -> None:
        """Ask for the end of a Turn's answers up to `fence`; one that is begun later goes on. Raises RedisError."""
        await client.publish(self._channel, json.dumps({"cancel": turn_id, "fence": fence}))

    def listen(
        self,
        client: redis.Redis,
        on_cancel: Callable[[int, int], None],
        on_forget: Callable[[list[int]], None],
        stop: threading.Event,
    ) -> None:
        """Call back for each message until `stop` is set; reconnects by itself. Blocks.

        After a break `on_forget` is called without a Conversation: what was to be forgotten meanwhile is not known.
        """
        lost = False
        while not stop.is_set():
            try:
                with client.pubsub(ignore_subscribe_messages=True) as subscriber:
                    subscriber.subscribe(self._channel)
                    if lost:
                        on_forget([])
                    lost = False
                    while not stop.is_set():
                        message = subscriber.get_message(timeout=0.5)
                        if message is not None:
                            _dispatch(json.loads(message["data"]), on_cancel, on_forget)
            except (RedisError, OSError) as error:
                log.warning("The control channel is down.", action="control_lost", reason=str(error))
                lost = True
                stop.wait(_RECONNECT_S)


def _dispatch(
    message: dict[str, Any], on_cancel: Callable[[int, int], None], on_forget: Callable[[list[int]], None]
) -> None:
    if "cancel" in message:
        on_cancel(message["cancel"], message["fence"])
    if "forget" in message:
        on_forget(message["forget"])


def _decoded(entries: Iterable[tuple[str, dict[str, str]]]) -> Iterator[tuple[str, ReplyEvent]]:
    """Position and event of each entry; one of a version that is not known here is left to SQL."""
    for position, fields in entries:
        try:
            event = ReplyEvent.model_validate_json(fields.get(_FIELD, ""))
        except ValidationError as error:
            log.warning("A reply event cannot be read.", action="reply_event_unknown", problems=error.error_count())
        else:
            yield position, event


def _order(position: str) -> tuple[int, int]:
    milliseconds, _, number = position.partition("-")
    return int(milliseconds), int(number)
