"""Ledger: what a bot notes of what it has brought to its platform, from asyncio; `Service.ledger`.

Serves the work inside a bot process: by Turn and Generation, whatever their place. The rows are in `core/deliveries.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from core import deliveries
from core.database import AsyncDatabase
from core.deliveries import DeliveryView
from core.signals import Signals


class Ledger:
    """One per Service. Every method raises DatabaseUnavailable where SQL cannot be used."""

    def __init__(self, database: AsyncDatabase, signals: Signals) -> None:
        self._database, self._signals = database, signals

    async def of_generation(self, generation_id: int) -> list[DeliveryView]:
        """What it holds of a Generation."""
        return await self._database.read(deliveries.of_generation, generation_id)

    async def sending(self, generation_id: int, chunk: int) -> None:
        """Note that a chunk is about to be sent."""
        await self._database.write(deliveries.sending, generation_id, chunk, _now())

    async def sent(self, generation_id: int, chunk: int, external_id: str) -> None:
        """Note that a chunk stands on the platform. Raises NotFound where it was never begun."""
        await self._database.write(deliveries.sent, generation_id, chunk, external_id, _now())

    async def to_remove(self, turn_id: int) -> list[str]:
        """The platform's ids of the messages of a Turn that belong to no question any more, until it is delivered."""
        return await self._database.read(deliveries.to_remove, turn_id)

    async def delivered(self, turn_id: int, fence: int, removed: Collection[str] | None = ()) -> bool:
        """Note that the person has everything of the Turn, and nothing else of it.

        `removed` is what was taken away of `to_remove`; None: it is given up. False where the Turn was asked for again, or
        its question deleted, meanwhile.
        """
        purged = await self._database.write(deliveries.delivered, turn_id, fence, _now(), removed)
        if purged is not None:
            await self._signals.purged(purged)
        return purged is not None


def _now() -> datetime:
    return datetime.now(UTC)
