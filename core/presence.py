"""Presence: which workers are ready, by what each says of itself in Redis for as long as its heart beats.

Knows Redis only: no SQL and no Celery, so that a health check is cheap.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from core.redis import translated, worker_key
from core.values import Value


class WorkerStatus(Value):
    """A worker that takes Turns."""

    model: str
    revision: str
    pid: int
    ready_at: datetime


def ready_workers(client: Any, prefix: str) -> list[WorkerStatus]:
    """Every ready worker, the one that was ready first at the front. Raises QueueUnavailable."""
    with translated():
        keys = list(client.scan_iter(match=worker_key(prefix, "*"), count=1000))
        said = [value for value in client.mget(keys) if value] if keys else []
    return sorted(map(WorkerStatus.model_validate_json, said), key=lambda worker: worker.ready_at)


def ready_owners(client: Any, prefix: str) -> frozenset[str]:
    """The names under which ready workers claim. Raises QueueUnavailable."""
    with translated():
        keys = client.scan_iter(match=worker_key(prefix, "*"), count=1000)
        return frozenset(str(key).removeprefix(worker_key(prefix, "")) for key in keys)
