"""Heartbeat: keeps this worker's leases, hears of cancelled and lost Turns, says in Redis that it is alive, and sees who
else is.

Knows SQL and Redis, each of which may be away: it then says so once, goes on, and says when it is back.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime

import redis
import structlog
from redis.exceptions import RedisError

from core import turns
from core.database import Database
from core.errors import DatabaseUnavailable
from core.redis import worker_key
from core.settings import Settings
from workers.claiming import Claiming
from workers.generator import ModelInfo
from workers.running import RunningTurns

log = structlog.get_logger(__name__)

_BEATS_TO_DEATH = 3


class Heartbeat:
    """Beats every `heartbeat_s` in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        owner: str,
        database: Database,
        client: redis.Redis,
        running: RunningTurns,
        info: ModelInfo,
        claiming: Claiming,
    ) -> None:
        self._settings, self._owner = settings, owner
        self._database, self._client, self._running = database, client, running
        self._key = worker_key(settings.redis_prefix, owner)
        self._ready_at: datetime | None = None
        self._info, self._claiming = info, claiming
        self._down: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start beating. Nobody is told that this worker is ready before `announce`."""
        self._thread.start()

    def announce(self) -> None:
        """Say that this worker takes Turns, from now on at every beat."""
        self._ready_at = self._ready_at or datetime.now(UTC)
        self._say_ready()

    def withdraw(self) -> None:
        """Say that this worker takes no more Turns; leases are kept on."""
        self._ready_at = None
        try:
            self._client.delete(self._key)
        except (RedisError, OSError) as error:
            log.debug("Readiness could not be withdrawn; it expires.", action="withdraw_failed", reason=str(error))

    def close(self) -> None:
        """Stop beating."""
        self._stop.set()
        self._thread.join()

    def beat(self) -> None:
        """Renew the leases once, cancel what is to be cancelled, and give up what was lost."""
        before = self._running.held()  # what is claimed from here on cannot be missing below
        try:
            with self._database.write() as session:
                held, cancelled = turns.heartbeat(session, self._owner, self._settings.lease_s, datetime.now(UTC))
        except DatabaseUnavailable as error:
            self._is_down("database", str(error))
            return
        self._is_up("database")
        for turn_id in cancelled:
            self._running.cancel(turn_id, held[turn_id])
        for turn_id, fence in before.items():
            if held.get(turn_id) != fence:
                self._running.lose(turn_id, fence)

    def _run(self) -> None:
        while not self._stop.wait(self._settings.heartbeat_s):
            try:
                self.beat()
            except Exception:  # the edge: without a heartbeat every Turn of this worker would be lost
                log.exception("A heartbeat failed.", action="heartbeat_failed")
            self._say_ready()

    def _say_ready(self) -> None:
        """Renew the key by which others see that this worker is ready, for three beats."""
        if self._ready_at is None:
            return
        value = {
            "model": self._info.name,
            "revision": self._info.revision,
            "pid": os.getpid(),
            "ready_at": self._ready_at.isoformat(),
        }
        try:
            self._client.set(self._key, json.dumps(value), px=int(_BEATS_TO_DEATH * 1000 * self._settings.heartbeat_s))
        except (RedisError, OSError) as error:
            self._is_down("redis", str(error))
        else:
            self._is_up("redis")
            self._claiming.look(self._client)

    def _is_down(self, service: str, reason: str) -> None:
        if service not in self._down:
            self._down.add(service)
            log.warning("A service is down; trying again.", action="service_down", service=service, reason=reason)

    def _is_up(self, service: str) -> None:
        if service in self._down:
            self._down.discard(service)
            log.info("A service is back.", action="service_up", service=service)
