"""Heard: when each kind of event last came, noted in Redis for the doctor: of the app's subscriptions Slack tells no bot."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic
from typing import Any

from core.errors import QueueUnavailable
from core.redis import note_key, translated
from core.service import Service

Json = dict[str, Any]

NOTE_EVERY_S = 600.0
_KINDS = {"channel": "message.channels", "group": "message.groups", "im": "message.im", "mpim": "message.mpim"}


class Heard:
    """One per bot process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._noted: dict[str, float] = {}

    def is_news(self, event: Json) -> bool:
        """Whether this kind of event was not noted lately."""
        return monotonic() - self._noted.get(subscription(event), -NOTE_EVERY_S) >= NOTE_EVERY_S

    async def note(self, event: Json) -> None:
        """Note it, where Redis is there."""
        kind = subscription(event)
        self._noted[kind] = monotonic()
        try:
            await self._service.notes.remember(f"slack-heard-{kind}", datetime.now(UTC).isoformat(timespec="seconds"))
        except QueueUnavailable:
            self._noted.pop(kind, None)


def subscription(event: Json) -> str:
    """By which subscription an event came."""
    kind = str(event.get("type"))
    return _KINDS.get(str(event.get("channel_type")), kind) if kind == "message" else kind


def heard(client: Any, prefix: str) -> dict[str, str]:
    """When each kind of event last came, to ten minutes. Raises QueueUnavailable."""
    before = note_key(prefix, "slack-heard-")
    with translated():
        keys = list(client.scan_iter(match=f"{before}*", count=1000))
        values = client.mget(keys) if keys else []
    return {key.removeprefix(before): value for key, value in zip(keys, values, strict=True) if value}
