"""Connections to Redis or Valkey, and the names of everything that Pajama keeps there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
import redis.asyncio
from redis.exceptions import RedisError

from core.errors import QueueUnavailable

_CONNECT_TIMEOUT_S = 3.0
# Longer than any blocking read, so that a dead peer is noticed and a quiet one is not.
_SOCKET_TIMEOUT_S = 15.0


def connect(url: str) -> redis.Redis:
    """A lazily connecting synchronous client; strings come back as text."""
    return redis.Redis.from_url(
        url, decode_responses=True, socket_timeout=_SOCKET_TIMEOUT_S, socket_connect_timeout=_CONNECT_TIMEOUT_S
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """A lazily connecting asyncio client; strings come back as text."""
    return redis.asyncio.Redis.from_url(
        url, decode_responses=True, socket_timeout=_SOCKET_TIMEOUT_S, socket_connect_timeout=_CONNECT_TIMEOUT_S
    )


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the client become QueueUnavailable."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise QueueUnavailable(f"Redis cannot be used: {error}") from error


def reply_key(prefix: str, turn_id: int) -> str:
    """The stream of one Turn's ReplyEvents."""
    return f"{prefix}:reply:{turn_id}"


def control_channel(prefix: str) -> str:
    """The channel on which workers are told to cancel or forget."""
    return f"{prefix}:control"


def bell_channel(prefix: str) -> str:
    """The channel on which bots are told that something is to be relayed."""
    return f"{prefix}:bell"


def worker_key(prefix: str, owner: str) -> str:
    """Where a worker that is ready says so, for as long as its heartbeat goes on."""
    return f"{prefix}:worker:{owner}"


def reaper_key(prefix: str) -> str:
    """Where the reaper says that it is alive."""
    return f"{prefix}:reaper"


def adapter_key(prefix: str, platform: str) -> str:
    """Where a platform's bot says that it is connected."""
    return f"{prefix}:adapter:{platform}"


def note_key(prefix: str, name: str) -> str:
    """Where an adapter keeps a note for its next start."""
    return f"{prefix}:note:{name}"


def desk_key(prefix: str) -> str:
    """The list of what operators ask of a worker about FAQs."""
    return f"{prefix}:faq:asked"


def desk_open_key(prefix: str) -> str:
    """Where a worker says that it takes such questions."""
    return f"{prefix}:faq:open"


def desk_reply_key(prefix: str, request_id: str) -> str:
    """Where the reply to one of them is fetched, once."""
    return f"{prefix}:faq:told:{request_id}"


def rate_key(prefix: str, name: str) -> str:
    """Where it is kept how often something was done of late."""
    return f"{prefix}:rate:{name}"


def lease_key(prefix: str, name: str) -> str:
    """Which process does something."""
    return f"{prefix}:lease:{name}"


def celery_prefix(prefix: str) -> str:
    """Prefix of Celery's own keys."""
    return f"{prefix}:celery:"
