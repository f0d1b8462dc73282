"""Speaker: sentences of the bot's own, which are no answers: refusals, what a command says, a file for one person.

Waits in the workspace's lines, as answers do, and says nothing twice where that can be found out.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from http import HTTPStatus
from typing import Any

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bots.slack.budget import ALONE, POST, PRIVATE, SendBudget
from bots.slack.fitting import TEXT_CHARS
from bots.slack.mrkdwn import texts
from bots.slack.targets import Target
from bots.slack.thread import Thread, metadata
from bots.slack.uploads import Uploads
from bots.slack.wire import CALL_TIMEOUT_S, Json, Refused, surely
from bots.slack.wording import harmless
from bots.splitting import split

log = structlog.get_logger(__name__)

MAX_CHARS = 3_900
_LOOKED_BACK_S = 120.0

File = tuple[str, bytes]


class Speaker:
    """One per workspace. Its `budget` is the workspace's."""

    def __init__(self, client: AsyncWebClient, budget: SendBudget) -> None:
        self._client, self.budget = client, budget
        self._uploads = Uploads(client, budget)

    async def reply(self, target: Target, words: str, file: File | None = None) -> None:
        """Say it in the thread, in as many messages as it takes."""
        await self._say(target.channel, target.thread, words, file)

    async def in_private(self, user: str, words: str, file: File | None = None) -> None:
        """Say it in somebody's DM with the bot."""
        try:
            opened = await surely(
                lambda: self._client.conversations_open(users=user), what="private", gate=self.budget.gate(PRIVATE)
            )
        except Refused as error:
            log.warning("Nobody can be told in private.", action="private_refused", reason=str(error))
            return
        await self._say(opened["channel"]["id"], None, words, file)

    async def only_to(
        self, channel: str, user: str, words: str, thread: str | None = None, *, reply_url: str = ""
    ) -> None:
        """Say it where only one person sees it; in private where that cannot be.

        `reply_url`: where Slack takes an answer to what the person did, also in a channel that the bot is not in.
        """
        try:
            await self.only_there(channel, user, words, thread)
        except Refused as error:
            log.info("Nobody can be told there.", action="ephemeral_refused", reason=str(error))
            if not (reply_url and await self._replied(reply_url, words)):
                await self.in_private(user, words)

    async def only_there(self, channel: str, user: str, words: str, thread: str | None = None) -> None:
        """Say it where only one person sees it. Raises Refused, where the bot is not in the channel too."""
        where: dict[str, Any] = {"channel": channel, "user": user, **({"thread_ts": thread} if thread else {})}
        for piece in split(words, MAX_CHARS):
            await surely(
                lambda piece=piece: self._client.chat_postEphemeral(markdown_text=harmless(piece), **where),  # type: ignore[misc]
                what="ephemeral",
                gate=self.budget.gate(ALONE),
            )

    async def _replied(self, url: str, words: str) -> bool:
        """Whether Slack took it at the URL that came with what the person did: five times within half an hour."""
        hook = AsyncWebhookClient(url, session=self._client.session, proxy=self._client.proxy, retry_handlers=[])
        try:
            for piece in texts(words, TEXT_CHARS):
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    answer = await hook.send(text=piece, response_type="ephemeral", replace_original=False)
                if answer.status_code != HTTPStatus.OK:
                    log.info("A reply is not taken.", action="reply_refused", status=answer.status_code)
                    return False
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("A reply is not taken.", action="reply_refused", reason=str(error) or repr(error))
            return False
        return True

    async def _say(self, channel: str, thread_ts: str | None, words: str, file: File | None) -> None:
        thread = Thread(self._client, self.budget, channel, thread_ts, since=f"{time.time() - _LOOKED_BACK_S:.6f}")
        try:
            for piece in split(words, MAX_CHARS):
                await self._post(thread, piece)
            if file is not None:
                name, content = file
                await self._uploads.share(await self._uploads.upload(name, content), name, thread)
        except Refused as error:
            log.warning("A reply cannot be sent.", action="reply_refused", reason=str(error))

    async def _post(self, thread: Thread, words: str) -> None:
        nonce = f"said-{secrets.token_hex(8)}"

        async def call() -> Any:
            return await self._client.chat_postMessage(
                channel=thread.channel,
                thread_ts=thread.ts,
                markdown_text=harmless(words),
                metadata=metadata(nonce),
                unfurl_links=False,
                unfurl_media=False,
            )

        async def done() -> Json | None:
            return None if await thread.find(nonce) is None else {}

        await surely(call, what="reply", done=done, gate=self.budget.gate(POST, thread.channel))
