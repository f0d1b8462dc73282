"""Once: what is done and said once, whichever process hears of it and however often.

A Turn is once by its message's id in SQL; this is for what leaves no Turn: commands, and why something is refused.
"""

from __future__ import annotations

import structlog

from core.errors import QueueUnavailable
from core.service import Service

log = structlog.get_logger(__name__)

FOR_S = 86_400.0
"""For as long as a message may come again, from Slack or by a backfill."""


class Once:
    """One per bot process, all of one mind over Redis. Where that is away, twice is better than never."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def first(self, what: str) -> bool:
        """Whether nobody has done it before."""
        try:
            return await self._service.notes.claim(f"slack-{what}", FOR_S)
        except QueueUnavailable as error:
            log.warning("Something may be done twice.", action="once_unknown", reason=str(error))
            return True

    async def again(self, what: str) -> None:
        """It was not done after all: whoever hears of it next does it."""
        try:
            await self._service.notes.release(f"slack-{what}")
        except QueueUnavailable as error:
            log.warning("Something may be left undone.", action="once_unknown", reason=str(error))
