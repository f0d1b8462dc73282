"""Listening: until when the bot has heard everything, noted where it outlives the process.

What was said before is known, answered or left alone; what was said after may have been missed. Knows the connections of
the shards; reads no channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import discord
import structlog

from core.errors import QueueUnavailable
from core.service import Service

log = structlog.get_logger(__name__)


class Listening:
    """One per client."""

    def __init__(self, client: discord.Client, service: Service) -> None:
        self._client, self._service = client, service
        self._deaf: set[int] = set()
        self._behind, self._runs = True, 0

    def connected(self, shard: int) -> None:
        """A new session, which tells nothing of before."""
        self._deaf.discard(shard)
        self._behind = True

    def lost(self, shard: int) -> None:
        """The shard hears nothing, until it is connected anew or told what it missed."""
        self._deaf.add(shard)

    def resumed(self, shard: int) -> None:
        """The shard was told what it missed."""
        self._deaf.discard(shard)

    @contextmanager
    def catching_up(self) -> Iterator[None]:
        """Inside the block everything that was missed until now is read."""
        self._behind, self._runs = False, self._runs + 1
        try:
            yield
        except BaseException:
            self._behind = True
            raise
        finally:
            self._runs -= 1

    async def since(self) -> datetime | None:
        """When the bot had last heard everything; None where nobody knows."""
        try:
            noted = await self._service.notes.recall(self._note_name)
        except QueueUnavailable as error:
            log.warning("Since when something was missed is not known.", action="heard_unread", reason=str(error))
            return None
        return datetime.fromisoformat(noted) if noted is not None else None

    async def note(self) -> None:
        """Note that everything is heard until now, if it is."""
        if self._deaf or self._behind or self._runs:
            return
        try:
            await self._service.notes.remember(self._note_name, datetime.now(UTC).isoformat())
        except QueueUnavailable as error:
            log.warning("What is heard cannot be noted.", action="heard_unnoted", reason=str(error))

    @property
    def _note_name(self) -> str:
        return f"discord:heard:{self._client.application_id}"
