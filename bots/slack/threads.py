"""Which Conversation a message or a press of a button belongs to, where Slack's ids alone do not tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bots.slack.places import PLATFORM, message_id, place_of
from core.service import Service
from core.values import Place


def root_of(event: Mapping[str, Any]) -> str:
    """The `ts` of the message that begins the thread which a message stands in, or begins."""
    return str(event.get("thread_ts") or event["ts"])


async def conversation_of(service: Service, workspace: str, channel: str, thread: str | None) -> Place:
    """The thread. What stands below a question that was asked when all of a DM was one Conversation goes on with that."""
    if thread is None or not channel.startswith("D"):
        return place_of(workspace, channel, thread)
    asked = await service.places_of_event(PLATFORM, workspace, message_id(channel, thread))
    return asked[0] if asked else place_of(workspace, channel, thread)
