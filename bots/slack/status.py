"""Status: what stands under a question while there is nothing to read of its answer, and Slack's own stop button.

That button is there while the session of a chat is at work, before the first word too. A courtesy: what fails is noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.budget import SESSION, SendBudget
from bots.slack.targets import Target
from bots.slack.wire import Refused, surely

log = structlog.get_logger(__name__)

AFTER_S = 0.3
"""What can be read sooner needs none: that would be a call more, for which the answer waits."""

RENEW_S = 100.0
"""Slack takes a status away after two minutes."""

_LONGEST_CALL_S = 3.0
_ENDS_KEPT = 24
"""Of a minute's calls about sessions so many are left to ends: a session that is left at work shows its button on."""


class Status:
    """One per answer. Slack itself takes a status away when something is written below it."""

    def __init__(self, client: AsyncWebClient, target: Target, words: str) -> None:
        self._client, self._target, self._words = client, target, words
        self._settled = asyncio.Event()
        self._settled.set()
        self._shown = False
        self._showing: asyncio.Task[None] | None = None

    def show(self) -> None:
        """Show it soon, and from then on; it may be shown already."""
        self._showing = self._showing or asyncio.create_task(self._show(), name="slack-status")

    async def over(self) -> None:
        """There is something to read, or will be at once: no status comes after it."""
        if self._showing is not None:
            await self._settled.wait()
            self.cancel()

    def cancel(self) -> None:
        """Show it no longer than it is shown."""
        if self._showing is not None:
            self._showing.cancel()
            self._showing = None

    async def clear(self) -> None:
        """Take it away, where nothing was written."""
        if self._showing is not None:
            await self.over()
            if self._shown:
                await self._say("")

    async def _show(self) -> None:
        await asyncio.sleep(AFTER_S)
        while True:
            self._settled.clear()
            self._shown = True
            await self._say(self._words)
            self._settled.set()
            await asyncio.sleep(RENEW_S)

    async def _say(self, words: str) -> None:
        async def call() -> object:
            return await self._client.assistant_threads_setStatus(
                channel_id=self._target.channel, thread_ts=self._target.thread, status=words
            )

        try:
            async with asyncio.timeout(_LONGEST_CALL_S):
                await surely(call, what="status", tries=1)
        except (Refused, TimeoutError) as error:
            log.info("No status can be shown.", action="status_refused", reason=str(error))


class Session:
    """Of a chat in a DM: at work while one answer is made. One per answer."""

    def __init__(self, client: AsyncWebClient, budget: SendBudget, target: Target) -> None:
        self._client, self._budget, self._target = client, budget, target
        self._at_work = False
        self._beginning: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Have it at work soon: an answer that comes sooner needs no button."""
        if self._target.channel.startswith("D"):
            self._beginning = asyncio.create_task(self._begin(), name="slack-session")

    def cancel(self) -> None:
        """Leave it as it is: whoever goes on with the answer ends it."""
        if self._beginning is not None:
            self._beginning.cancel()

    async def end(self, *, left: bool) -> None:
        """The answer is there; `left`: a process that ended may have left it at work."""
        if self._beginning is not None and not self._at_work:
            self._beginning.cancel()
        elif self._beginning is not None:
            await self._beginning
        if (self._at_work or left) and self._target.channel.startswith("D"):
            await self._set("active", keep=0)

    async def _begin(self) -> None:
        await asyncio.sleep(AFTER_S)
        self._at_work = True
        await self._set("processing", keep=_ENDS_KEPT)

    async def _set(self, status: str, *, keep: int) -> None:
        if not await self._budget.spare(SESSION, keep=keep):
            return

        async def call() -> object:
            return await self._client.agents_sessions_setStatus(
                channel_id=self._target.channel, thread_ts=self._target.thread, status=status
            )

        try:
            async with asyncio.timeout(_LONGEST_CALL_S):
                await surely(call, what="session", tries=1, gate=self._budget.gate(SESSION, placed=True))
        except (Refused, TimeoutError) as error:
            log.info("The session of a chat is left as it is.", action="session_refused", reason=str(error))


@asynccontextmanager
async def thinking(status: Status, session: Session, *, shown: bool) -> AsyncIterator[None]:
    """Status and session for as long as the block lasts; the status until it is over, and neither where not `shown`."""
    if shown:
        status.show()
        session.begin()
    try:
        yield
    except BaseException:
        status.cancel()
        session.cancel()
        raise
    await status.clear()
    await session.end(left=not shown)
