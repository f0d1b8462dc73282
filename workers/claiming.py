"""Claiming: gets this worker its next Turn, and leaves to others for a moment what they have the KV of.

Knows which other workers are ready, as the heartbeat saw it last; the claim in SQL knows the rest. A wake-up whose Turn is
left to another is sent on: Redis hands it to whoever has waited longest, so that it goes round.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from core import turns
from core.database import Database
from core.errors import DatabaseUnavailable, QueueUnavailable
from core.presence import ready_owners
from core.queue import WakeUps
from core.settings import Settings
from core.turn_order import NOBODY, Others
from core.turns import ClaimedTurn
from workers.generator import Generator

log = structlog.get_logger(__name__)


class Claiming:
    """Claims for `owner`. Many threads may call at once."""

    def __init__(
        self, settings: Settings, owner: str, database: Database, wake_ups: WakeUps, generator: Generator
    ) -> None:
        self._settings, self._owner, self._database, self._wake_ups = settings, owner, database, wake_ups
        keeps = settings.kv_reuse != "off" and generator.stats().kv_limit > 0
        self.kv_worker = owner if keeps else None
        """Who keeps the KV of what is answered here; nobody, where nothing is kept."""
        self._others = NOBODY

    def look(self, client: Any) -> None:
        """See who else is ready. Where that cannot be seen, nothing is left to anybody."""
        if self.kv_worker is None or not self._settings.affinity_s:
            return
        try:
            owners = ready_owners(client, self._settings.redis_prefix) - {self._owner}
        except QueueUnavailable as error:
            log.debug("Other workers cannot be seen.", action="look_failed", reason=str(error))
            owners = frozenset()
        if owners != self._others.owners:
            log.info("The other ready workers are others now.", action="workers_seen", others=len(owners))
        self._others = Others(owners, self._settings.max_batch_size, self._settings.affinity_s)

    def next(self, turn_id: int | None = None, passed_on: int = 0) -> ClaimedTurn | None:
        """Claim the next Turn, if there is one for this worker. The arguments are the wake-up's.

        Where one is left to another, the wake-up is sent on, and waits here once it has been with all of them.
        """
        others = self._others
        try:
            while (claimed := self._claim(others)) is None and (left := self._left_for(others)) is not None:
                if passed_on < len(others.owners):
                    self._wake_ups.send_soon(turn_id, passed_on + 1)
                    return None
                time.sleep(max(0.0, left.total_seconds()))
        except DatabaseUnavailable as error:
            log.warning("No turn can be claimed.", action="claim_failed", reason=str(error))
            return None
        return claimed

    def _claim(self, others: Others) -> ClaimedTurn | None:
        return turns.claim_next(self._database, self._owner, self._settings.lease_s, _now(), others)

    def _left_for(self, others: Others) -> timedelta | None:
        if not others.owners:
            return None
        with self._database.read() as session:
            return turns.left_for(session, _now(), others)


def _now() -> datetime:
    return datetime.now(UTC)
