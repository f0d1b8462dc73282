"""Reaper: finds Turns whose worker fell silent, makes up for lost wake-ups, ends hand-offs that nobody takes care of,
purges what may not be kept, and keeps SQLite's log short.

Any number of them may run. What it decides is in SQL; people who follow a Turn that it gave up are told over Redis.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import redis
import structlog
from redis.exceptions import RedisError

from core import privacy, purging, retention, turns
from core.copies import drop_copies
from core.database import Database
from core.errors import DatabaseUnavailable
from core.handoffs import states
from core.purging import Purged
from core.queue import WakeUps, queue_key
from core.redis import reaper_key
from core.settings import Settings
from core.streams import ReplyPublisher
from core.turns import EndedTurn
from core.values import FinishReason, ReplyEvent, ReplyEventKind, TurnState

log = structlog.get_logger(__name__)

_MOST_WAKE_UPS = 256
"""As many as the largest worker can use before the next look."""

_RETENTION_EVERY_S = 3600.0
"""Days are counted: an hour more or less is none."""

_HANDOFFS_EVERY_S = 60.0
"""Their hours are counted too."""

_CHECKPOINT_EVERY_S = 30.0
"""Seldom: the first to write afterwards waits for the disk once."""

_RETENTION_SHARE = 0.5
"""Of the time between two looks; the rest is for whoever else writes."""


class Reaper:
    """Looks for lost Turns every `reap_every_s`."""

    def __init__(self, settings: Settings, database: Database, client: redis.Redis, wake_ups: WakeUps) -> None:
        self._settings, self._database, self._client, self._wake_ups = settings, database, client, wake_ups
        self._publisher = ReplyPublisher(client, settings.redis_prefix, settings.stream_ttl_s)
        self._purging: Iterator[Purged] | None = None
        self._retention_due = self._handoffs_due = self._checkpoint_due = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Look again and again until `stop` is set. Outages are logged and waited for."""
        self._publisher.start()
        try:
            while not stop.is_set():
                try:
                    self.reap()
                    self.end_handoffs()
                    self._purge(stop)
                    self._checkpoint()
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

    def end_handoffs(self) -> None:
        """End hand-offs in which nobody has done anything for too long, once a minute. Raises DatabaseUnavailable."""
        if time.monotonic() < self._handoffs_due:
            return
        now = datetime.now(UTC)
        before = now - timedelta(hours=self._settings.handoff_timeout_h)
        with self._database.read() as session:
            any_stale = bool(states.stale(session, before, 1))
        if any_stale:
            with self._database.write() as session:
                ended = states.release_stale(session, before, now)
            log.warning("Hand-offs ended that nobody took care of.", action="handoffs_timed_out", handoffs=ended)
        self._handoffs_due = time.monotonic() + _HANDOFFS_EVERY_S

    def _purge(self, stop: threading.Event) -> None:
        try:
            self.purge_overdue()
            self.purge_old(stop)
        except DatabaseUnavailable:
            self._purging = None  # begins anew
            raise
        except Exception:  # the edge: what cannot be purged must not keep lost Turns from being found
            log.exception("Words could not be purged; trying again later.", action="purge_failed")
            self._purging, self._retention_due = None, time.monotonic() + _RETENTION_EVERY_S

    def purge_overdue(self) -> None:
        """Purge words of people who opted out and did not come for their answer while its stream lived."""
        now = datetime.now(UTC)
        before = now - timedelta(seconds=self._settings.stream_ttl_s)
        with self._database.read() as session:
            if not privacy.overdue(session, before):
                return
        with self._database.write() as session:
            purged = privacy.purge_overdue(session, before, now)
        log.info("Words that were not fetched were purged.", action="overdue_purged", messages=purged.messages)
        self._drop_copies(purged)

    def purge_old(self, stop: threading.Event) -> None:
        """Go on with purging what is too old, for a share of the time; begin once an hour."""
        now = time.monotonic()
        if self._purging is None:
            if now < self._retention_due:
                return
            before = datetime.now(UTC) - timedelta(seconds=self._settings.stream_ttl_s)
            with self._database.write() as session:
                purging.drop_offers(session, before)
            self._purging = retention.purge_old(self._database, self._settings.retention_days, datetime.now(UTC))
        until = now + self._settings.reap_every_s * _RETENTION_SHARE
        for purged in self._purging:
            self._note_old(purged)
            if time.monotonic() > until or stop.is_set():
                return
        self._purging, self._retention_due = None, now + _RETENTION_EVERY_S

    def _checkpoint(self) -> None:
        if time.monotonic() >= self._checkpoint_due:
            self._database.checkpoint()
            self._checkpoint_due = time.monotonic() + _CHECKPOINT_EVERY_S

    def _note_old(self, purged: Purged) -> None:
        counts = {"messages": purged.messages, "answers": purged.answers, "comments": purged.comments}
        if any(counts.values()):
            log.info("Words were purged for their age.", action="retention_purged", **counts)
            self._drop_copies(purged)

    def _drop_copies(self, purged: Purged) -> None:
        pipeline = self._client.pipeline()
        drop_copies(pipeline, self._settings.redis_prefix, self._settings.stream_ttl_s, purged)
        try:
            pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            log.warning("Copies of purged words end by themselves.", action="copies_left", reason=str(error))

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
