"""Which Conversation a message or a press of a button belongs to, where Slack's ids alone do not tell."""

from __future__ import annotations

from bots.slack.places import PLATFORM, message_id, place_of
from core.service import Service
from core.values import Place


async def conversation_of(service: Service, workspace: str, channel: str, thread: str | None) -> Place:
    """The thread; of a DM its top level, to which a thread below a question there belongs too."""
    if thread is None or not channel.startswith("D"):
        return place_of(workspace, channel, thread)
    asked = await service.places_of_event(PLATFORM, workspace, message_id(channel, thread))
    return asked[0] if asked else place_of(workspace, channel, thread)
