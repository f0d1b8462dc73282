"""Roots: messages that show what was asked where no message asked it, so that the answer has a thread to stand in.

Posted as answers are: in the workspace's line, once, with a nonce by which one is found again. Knows no command.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.bodies import bodies
from bots.slack.budget import SendBudget
from bots.slack.places import team_of
from bots.slack.targets import Target
from bots.slack.thread import Thread
from bots.slack.wire import OUTSIDE, Refused
from bots.slack.writer import Writer
from core.errors import NotInChannel
from core.service import Service

_LOOKED_BACK_S = 120.0


class Roots:
    """One per workspace."""

    def __init__(self, client: AsyncWebClient, service: Service) -> None:
        self._client, self._service = client, service

    @asynccontextmanager
    async def opened(self, workspace: str, channel: str, words: str, event_id: str) -> AsyncIterator[str]:
        """The `ts` of a message that shows `words`, or their beginning; taken away where what is done below it fails.

        Raises NotInChannel, Refused.
        """
        writer = self._writer(workspace, channel)
        *_, text_alone = bodies(words)  # which is no longer than a message, and taken whatever was typed
        try:
            ts = await writer.post(text_alone.arguments, f"asked-{event_id}")
        except Refused as error:
            if error.refusal in OUTSIDE:
                raise NotInChannel from error
            raise
        try:
            yield ts
        except Exception:
            await writer.delete(ts)
            raise

    def _writer(self, workspace: str, channel: str) -> Writer:
        target = Target(channel=channel, thread="", team=team_of(workspace))
        since = f"{time.time() - _LOOKED_BACK_S:.6f}"
        budget = SendBudget(self._service, target.team)
        thread = Thread(self._client, budget, channel, None, since=since)
        return Writer(self._client, budget, target, thread)
