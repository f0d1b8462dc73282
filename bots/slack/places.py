"""Where on Slack something is said, in Pajama's words: Workspace, Conversation, and the ids of messages. Pure.

A team (in its enterprise, where it has one) is a Workspace. A thread is a Conversation, shared by all who speak there,
in a DM too, where each is a chat of its own. A message is known by its channel and its `ts`, which alone is no id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slack_bolt.request.internals import extract_enterprise_id, extract_team_id

from core.values import Place

PLATFORM = "slack"


def workspace_of(body: Mapping[str, Any]) -> str:
    """The Workspace of an event or interaction: the one that installed the app, also in a channel shared with others."""
    told = dict(body)
    return named(extract_enterprise_id(told), extract_team_id(told))


def named(enterprise: str | None, team: str | None) -> str:
    """The Workspace of a team."""
    return f"{enterprise}-{team or ''}" if enterprise else team or ""


def team_of(workspace: str) -> str:
    """The team's own id."""
    return workspace.rpartition("-")[2]


def enterprise_of(workspace: str) -> str | None:
    """The organisation's id, where the team is in one."""
    return workspace.rpartition("-")[0] or None


def place_of(workspace: str, channel: str, thread: str | None) -> Place:
    """The Conversation of a thread; without one, what a channel or DM itself stands for."""
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
