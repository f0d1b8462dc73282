"""Chats: what stands around a conversation with the app: its title.

A courtesy: what fails is noted, and a chat goes without.
"""

from __future__ import annotations

from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.budget import SESSION, SendBudget
from bots.slack.targets import Target
from bots.slack.wire import Refused, surely
from core.service import Service

log = structlog.get_logger(__name__)

TITLE_CHARS = 60


class Chats:
    """One per workspace."""

    def __init__(self, client: AsyncWebClient, service: Service) -> None:
        self._client, self._service = client, service

    async def entitle(self, target: Target, words: str) -> None:
        """Name a chat by its first question, in the list of chats: an agent's session, else an assistant's thread."""
        title = title_of(words)
        budget = SendBudget(self._service, target.team)
        if not title or not await budget.spare(SESSION):
            return

        async def session() -> Any:
            return await self._client.agents_sessions_setStatus(
                channel_id=target.channel, thread_ts=target.thread, status="active", title=title,
                initiator_user_id=target.asker,
            )  # fmt: skip

        async def thread() -> Any:
            return await self._client.assistant_threads_setTitle(
                channel_id=target.channel, thread_ts=target.thread, title=title
            )

        for call, gate in ((session, budget.gate(SESSION, placed=True)), (thread, None)):
            try:
                await surely(call, what="title", tries=1, gate=gate)
            except Refused as error:
                log.info("A chat gets no title.", action="title_refused", reason=str(error))
                if error.limited:
                    return
            else:
                return


def title_of(words: str) -> str:
    """The beginning of a question on one line."""
    line = " ".join(words.split())
    return line if len(line) <= TITLE_CHARS else f"{line[: TITLE_CHARS - 1].rstrip()}…"
