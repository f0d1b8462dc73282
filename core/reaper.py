"""Reaper: finds Turns whose worker fell silent, and makes up for lost wake-ups.

Any number of them may run. What it decides is in SQL; people who follow a Turn that it gave up are told over Redis.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import redis
import structlog
from redis.exceptions import RedisError

from core import turns
from core.database import Database
from core.errors import DatabaseUnavailable
from core.queue import WakeUps, queue_key
from core.redis import reaper_key
from core.settings import Settings
from core.streams import ReplyPublisher
from core.turns import EndedTurn
from core.values import FinishReason, ReplyEvent, ReplyEventKind, TurnState

log = structlog.get_logger(__name__)

_MOST_WAKE_UPS = 256
"""As many as the largest worker can use before the next look."""


class Reaper:
    """Looks for lost Turns every `reap_every_s`."""

    def __init__(self, settings: Settings, database: Database, client: redis.Redis, wake_ups: WakeUps) -> None:
        self._settings, self._database, self._client, self._wake_ups = settings, database, client, wake_ups
        self._publisher = ReplyPublisher(client, settings.redis_prefix, settings.stream_ttl_s)

    def run(self, stop: threading.Event) -> None:
        """Look again and again until `stop` is set. Outages are logged and waited for."""
        self._publisher.start()
        try:
            while not stop.is_set():
                try:
                    self.reap()
                except DatabaseUnavailable as error:
                    log.warning("Lost turns cannot be looked for.", action="reap_failed", reason=str(error))
                stop.wait(self._settings.reap_every_s)
        finally:
            self._publisher.close()

    def reap(self) -> turns.Reaped:
        """Look once. Raises DatabaseUnavailable."""
        with self._database.write() as session:
            reaped = turns.reap(session, self._settings.max_attempts, datetime.now(UTC))
        for turn_id in reaped.requeued:
            log.warning("A turn's worker fell silent.", action="turn_requeued", turn_id=turn_id)
        for ended in reaped.ended:
            log.warning("A turn was given up.", action="turn_given_up", turn_id=ended.turn_id, state=ended.state)
            self._publisher.publish(_event(ended))
        self._top_up(reaped.queued)
        return reaped

    def _top_up(self, queued: int) -> None:
        """Send as many wake-ups as are missing, and say that the reaper is alive."""
        try:
            self._client.set(reaper_key(self._settings.redis_prefix), "1", px=int(self._settings.reap_every_s * 5000))
            waiting = int(self._client.llen(queue_key(self._settings.redis_prefix)))
        except (RedisError, OSError) as error:
            log.warning("Wake-ups cannot be counted.", action="top_up_failed", reason=str(error))
            return
        for _ in range(min(queued - waiting, _MOST_WAKE_UPS)):
            if not self._wake_ups.send():
                return


def _event(ended: EndedTurn) -> ReplyEvent:
    cancelled = ended.state is TurnState.CANCELLED
    return ReplyEvent(
        turn_id=ended.turn_id,
        generation_id=ended.generation_id,
        fence=ended.fence,
        kind=ReplyEventKind.CANCELLED if cancelled else ReplyEventKind.FAILED,
        finish_reason=FinishReason.CANCELLED if cancelled else FinishReason.ERROR,
        failure=ended.failure,
    )
