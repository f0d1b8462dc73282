"""Rooms: what the bot knows of the places where it speaks, so that not every message costs a look into SQL.

The settings of Workspaces, for a few seconds; and in which threads the bot takes part. Knows no platform's objects.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from time import monotonic
from typing import TypeVar

from core.service import Service
from core.values import Place
from core.workspaces import ChannelSettings, WorkspaceSettings

K = TypeVar("K")
V = TypeVar("V")

SETTINGS_FOR_S = 5.0
"""A change made by another process is seen after so long; one made here at once."""

_MOST = 4096


class Rooms:
    """One per bot process."""

    def __init__(self, service: Service, platform: str) -> None:
        self._service, self._platform = service, platform
        self._settings: OrderedDict[str, tuple[float, WorkspaceSettings]] = OrderedDict()
        self._threads: OrderedDict[Place, float] = OrderedDict()
        """Until when it is known whether the bot takes part; without end where it does."""

    async def settings(self, workspace: str, channel: str) -> ChannelSettings:
        """What is set for this channel. Raises DatabaseUnavailable."""
        return (await self._of_workspace(workspace)).for_channel(channel)

    async def staff_channel(self, workspace: str) -> str | None:
        """The channel whose people are asked for help. Raises DatabaseUnavailable."""
        return (await self._of_workspace(workspace)).staff_channel

    def forget_settings(self, workspace: str) -> None:
        """Read the settings again at the next message."""
        self._settings.pop(workspace, None)

    async def takes_part(self, thread: Place) -> bool:
        """Whether somebody has talked to the bot in this thread, or asked for a human. Raises DatabaseUnavailable."""
        known_until = self._threads.get(thread, 0.0)
        if known_until == math.inf:
            return True
        if monotonic() < known_until:
            return False
        takes_part = await self._service.latest_turn(thread) is not None or await self._has_asked(thread)
        self._threads[thread] = math.inf if takes_part else monotonic() + SETTINGS_FOR_S
        _trim(self._threads)
        return takes_part

    async def _has_asked(self, thread: Place) -> bool:
        return await self._service.handoffs.newest(thread) is not None

    def note_part(self, thread: Place) -> None:
        """The bot takes part in this thread from now on."""
        self._threads[thread] = math.inf
        _trim(self._threads)

    async def _of_workspace(self, workspace: str) -> WorkspaceSettings:
        read_at, settings = self._settings.get(workspace, (0.0, None))
        if settings is None or monotonic() - read_at > SETTINGS_FOR_S:
            place = Place.model_validate({"platform": self._platform, "workspace": workspace, "conversation": "any"})
            settings = await self._service.workspace_settings(place)
            self._settings[workspace] = (monotonic(), settings)
            _trim(self._settings)
        return settings


def _trim(kept: OrderedDict[K, V]) -> None:
    while len(kept) > _MOST:
        kept.popitem(last=False)
