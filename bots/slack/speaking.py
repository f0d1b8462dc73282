"""Speaker: sentences of the bot's own, which are no answers: refusals, what a command says, a file for one person."""

from __future__ import annotations

import secrets
import time
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.targets import Target
from bots.slack.thread import Thread, metadata
from bots.slack.wire import Done, Json, Refused, surely
from bots.slack.wording import harmless
from bots.splitting import split

log = structlog.get_logger(__name__)

MAX_CHARS = 3_900
_LOOKED_BACK_S = 120.0

File = tuple[str, bytes]


class Speaker:
    """One per bot process."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client

    async def reply(self, target: Target, words: str, file: File | None = None) -> None:
        """Say it in the thread, in as many messages as it takes."""
        await self._say({"channel": target.channel, "thread_ts": target.thread}, words, file)

    async def in_private(self, user: str, words: str, file: File | None = None) -> None:
        """Say it in somebody's DM with the bot."""
        try:
            opened = await surely(lambda: self._client.conversations_open(users=user), what="private")
        except Refused as error:
            log.warning("Nobody can be told in private.", action="private_refused", reason=str(error))
            return
        await self._say({"channel": opened["channel"]["id"]}, words, file)

    async def only_to(self, channel: str, user: str, words: str, thread: str | None = None) -> None:
        """Say it where only one person sees it; in private where that cannot be."""
        where: dict[str, Any] = {"channel": channel, "user": user, **({"thread_ts": thread} if thread else {})}
        try:
            for piece in split(words, MAX_CHARS):
                await surely(
                    lambda piece=piece: self._client.chat_postEphemeral(markdown_text=harmless(piece), **where),  # type: ignore[misc]
                    what="ephemeral",
                )
        except Refused as error:
            log.info("Nobody can be told there.", action="ephemeral_refused", reason=str(error))
            await self.in_private(user, words)

    async def _say(self, where: dict[str, Any], words: str, file: File | None) -> None:
        try:
            for piece in split(words, MAX_CHARS):
                await self._post(where, piece)
            if file is not None:
                name, content = file
                await surely(lambda: self._client.files_upload_v2(content=content, filename=name, **where), what="file")
        except Refused as error:
            log.warning("A reply cannot be sent.", action="reply_refused", reason=str(error))

    async def _post(self, where: dict[str, Any], words: str) -> None:
        nonce = f"said-{secrets.token_hex(8)}"

        async def call() -> Any:
            return await self._client.chat_postMessage(
                markdown_text=harmless(words), metadata=metadata(nonce), unfurl_links=False, unfurl_media=False, **where
            )

        await surely(call, what="reply", done=self._looks_for(nonce, **where))

    def _looks_for(self, nonce: str, channel: str, thread_ts: str | None = None) -> Done | None:
        """What looks a sentence up that may have been said; outside of a thread nothing can."""
        if thread_ts is None:
            return None
        thread = Thread(self._client, channel, thread_ts, since=f"{time.time() - _LOOKED_BACK_S:.6f}")

        async def done() -> Json | None:
            return None if await thread.find(nonce) is None else {}

        return done
