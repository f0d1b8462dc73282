"""Refusals: whether somebody is told that they are not answered who did not speak to the bot by name.

In a channel where every message is answered, and in threads, people talk with one another too: what the Workspace's
settings refuse is not said again below each message. Knows no platform.
"""

from __future__ import annotations

import structlog

from core.errors import AccessDenied, PajamaError, QueueUnavailable, QuotaUsed
from core.service import Service
from core.values import Person, Place

log = structlog.get_logger(__name__)

AGAIN_AFTER_S = 86_400.0


async def is_told(service: Service, error: PajamaError, place: Place, channel: str, person: Person) -> bool:
    """Whether this refusal is said to somebody who named nobody: once a day to each in a channel, whatever process
    hears them; once to all of a channel that is left alone. Where Redis is away, not at all.
    """
    if not isinstance(error, AccessDenied | QuotaUsed):
        return True
    of_channel = isinstance(error, AccessDenied) and error.reason == "channel"
    whom = "all" if of_channel else person.id
    try:
        return await service.notes.claim(
            f"refused-{place.platform}-{place.workspace}-{channel}-{error.code}-{whom}", AGAIN_AFTER_S
        )
    except QueueUnavailable as lost:
        log.warning("A refusal is left out.", action="refusal_unknown", reason=str(lost))
        return False
