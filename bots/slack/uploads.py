"""Uploads: a file of ours, brought to Slack in three steps, of which people see only the last.

Each step is tried again by itself. That the last one was done is found out by the file's id, where what it was shown in can
be read. Waits in the workspace's lines. Knows no answer.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.budget import SHARE, UPLOAD, SendBudget
from bots.slack.thread import Thread
from bots.slack.wire import Json, surely


class Uploads:
    """One per workspace, or for what is said in one thread."""

    def __init__(self, client: AsyncWebClient, budget: SendBudget) -> None:
        self._client, self._budget = client, budget

    async def upload(self, name: str, content: bytes) -> str:
        """Slack's id of a file that nobody sees yet. Raises Refused."""

        async def call() -> Any:
            ticket = await self._client.files_getUploadURLExternal(filename=name, length=len(content))
            async with (
                aiohttp.ClientSession() as session,
                session.post(str(ticket["upload_url"]), data=content, proxy=self._client.proxy) as answer,
            ):
                answer.raise_for_status()
            return ticket

        return str((await surely(call, what="upload", gate=self._budget.gate(UPLOAD)))["file_id"])

    async def share(self, file_id: str, title: str, thread: Thread) -> None:
        """Show it, once. Raises Refused."""

        async def call() -> Any:
            return await self._client.files_completeUploadExternal(
                files=[{"id": file_id, "title": title}], channel_id=thread.channel, thread_ts=thread.ts
            )

        async def done() -> Json | None:
            return {} if await thread.has_file(file_id) else None

        await surely(call, what="file", done=done, gate=self._budget.gate(SHARE))
