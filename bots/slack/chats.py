"""Chats: what stands around a conversation with the app: its title, and how long it may take.

Courtesies: what fails is noted, and an answer goes without.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.budget import SESSION, SendBudget
from bots.slack.speaking import Speaker
from bots.slack.targets import Target
from bots.slack.wire import Refused, surely
from bots.texts import text
from core.history import TurnView
from core.service import Service
from core.values import TurnState

log = structlog.get_logger(__name__)

LONG_QUEUE, LONG_WAIT_S = 3, 2.0
"""With so many ahead for so long, whoever asks is told."""

TITLE_CHARS = 60
LIMITED = frozenset({"ratelimited", "rate_limited"})


class Chats:
    """One per workspace."""

    def __init__(self, client: AsyncWebClient, service: Service, speaker: Speaker) -> None:
        self._client, self._service, self._speaker = client, service, speaker

    async def entitle(self, target: Target, words: str) -> None:
        """Name a chat by its first question, in the list of chats: an agent's session, else an assistant's thread."""
        title = title_of(words)
        if not title or not await SendBudget(self._service, target.team).spare(SESSION):
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

        for call in (session, thread):
            try:
                await surely(call, what="title", tries=1)
            except Refused as error:
                log.info("A chat gets no title.", action="title_refused", reason=str(error))
                if error.refusal in LIMITED:
                    return
            else:
                return

    async def tell_wait(self, turn: TurnView, target: Target, ahead: int) -> None:
        """Say how many are ahead, where they were many and are not gone in a moment."""
        if turn.state is not TurnState.QUEUED or ahead < LONG_QUEUE:
            return
        await asyncio.sleep(LONG_WAIT_S)
        ahead = await self._service.queue_position(turn.turn_id)
        if ahead >= LONG_QUEUE:
            words = text("ahead", turn.language, count=ahead)
            await self._speaker.only_to(target.channel, target.asker, words, target.thread)


def title_of(words: str) -> str:
    """The beginning of a question on one line."""
    line = " ".join(words.split())
    return line if len(line) <= TITLE_CHARS else f"{line[: TITLE_CHARS - 1].rstrip()}…"
