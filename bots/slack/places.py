"""Where on Slack something is said, in Pajama's words: Workspace, Conversation, and the ids of messages. Pure.

A team (in its enterprise, where it has one) is a Workspace. A thread is a Conversation, shared by all who speak there;
so is the top level of a DM. A message is known by its channel and its `ts`, which alone is no id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.values import Place

PLATFORM = "slack"


def workspace_of(body: Mapping[str, Any]) -> str:
    """The Workspace of an event or interaction."""
    team: Any = body.get("team") or {}
    team_id = body.get("team_id") or team.get("id") or ""
    enterprise: Any = body.get("enterprise") or {}
    enterprise_id = body.get("enterprise_id") or enterprise.get("id") or team.get("enterprise_id")
    return f"{enterprise_id}-{team_id}" if enterprise_id else str(team_id)


def team_of(workspace: str) -> str:
    """The team's own id."""
    return workspace.rpartition("-")[2]


def place_of(workspace: str, channel: str, thread: str | None) -> Place:
    """The Conversation of a thread, or without one of a DM's top level."""
    return Place(platform=PLATFORM, workspace=workspace, conversation=f"{channel}:{thread}" if thread else channel)


def channel_of(place: Place) -> str:
    """The Slack channel of a Conversation."""
    return place.conversation.partition(":")[0]


def message_id(channel: str, ts: str) -> str:
    """A message's id within its Workspace."""
    return f"{channel}:{ts}"


def ts_of(external_id: str) -> str:
    """The `ts` of a message's id."""
    return external_id.rpartition(":")[2]
