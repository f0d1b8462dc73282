"""Signals: what a change in SQL tells workers and followers over Redis, so that they need not find it for themselves.

Knows the reply streams and the channel that workers listen to. What Redis does not take is found in SQL a little later,
and copies of purged words end by themselves: only forgetting insists.
"""

from __future__ import annotations

from collections.abc import Collection

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from core.copies import drop_copies
from core.models import Turn
from core.privacy import Forgotten
from core.purging import Purged
from core.redis import translated
from core.streams import Control, tell_end
from core.values import FinishReason, ReplyEvent, ReplyEventKind, TurnState

log = structlog.get_logger(__name__)


class Signals:
    """One per process. `ttl_s` is how long a reply stream stays."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str, ttl_s: int) -> None:
        self._client, self._prefix, self._ttl_s = client, prefix, ttl_s
        self._control = Control(prefix)

    async def stopped(self, turn: Turn) -> None:
        """A Turn was stopped: its worker is told, or where it has none, its followers."""
        if turn.state is TurnState.RUNNING:
            await self.cancel(turn.id, turn.fence)
        else:
            await self.ended(turn)

    async def cancel(self, turn_id: int, fence: int) -> None:
        """Its worker stops what it answers up to `fence`; where Redis is down, its next heartbeat sees the same in SQL."""
        try:
            await self._control.cancel(self._client, turn_id, fence)
        except (RedisError, OSError) as error:
            log.warning("A cancel waits for the heartbeat.", action="cancel_late", turn_id=turn_id, reason=str(error))

    async def ended(self, turn: Turn) -> None:
        """Followers of a Turn that was cancelled in SQL hear of it at once; where Redis is down, they find it there."""
        if turn.state is not TurnState.CANCELLED:
            return
        kind, reason = ReplyEventKind.CANCELLED, FinishReason.CANCELLED
        event = ReplyEvent(turn_id=turn.id, generation_id=None, fence=turn.fence, kind=kind, finish_reason=reason)
        try:
            await tell_end(self._client, self._prefix, event, self._ttl_s)
        except (RedisError, OSError) as error:
            log.warning("An end is found in SQL only.", action="end_untold", turn_id=turn.id, reason=str(error))

    async def purged(self, purged: Purged) -> None:
        """Drop the copies of purged words."""
        try:
            await self._drop_copies(purged)
        except (RedisError, OSError) as error:
            log.warning("Copies of purged words end by themselves.", action="copies_left", reason=str(error))

    async def forgotten(self, forgotten: Forgotten) -> None:
        """Empty streams and stop workers that speak of the words. Raises QueueUnavailable."""
        silenced = {turn.id: turn.fence for turn in forgotten.restarted}
        with translated():
            for turn in (*forgotten.withdrawn, *forgotten.restarted):
                await self._control.cancel(self._client, turn.id, turn.fence - 1)
            await self._drop_copies(forgotten.purged + Purged(silenced=silenced), running=silenced)
        for turn in forgotten.withdrawn:
            await self.ended(turn)

    async def _drop_copies(self, purged: Purged, running: Collection[int] = ()) -> None:
        """Raises RedisError."""
        async with self._client.pipeline() as pipeline:
            drop_copies(pipeline, self._prefix, self._ttl_s, purged, running)
            if len(pipeline):
                await pipeline.execute(raise_on_error=False)
