"""Speaker: sentences of the bot's own, which are no answers: refusals, what a command says, a file for one person.

They are said in the background, those of a channel one after the other: whoever told the bot something hears at once that
it was heard, however long Slack lets a sentence wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.targets import Target
from bots.slack.wire import Refused, surely
from bots.slack.wording import harmless
from bots.slack.writer import metadata
from bots.splitting import split

log = structlog.get_logger(__name__)

MAX_CHARS = 3_900

File = tuple[str, bytes]

_SAID = metadata("said")
"""What tells such a sentence from an answer that was lost."""


class Speaker:
    """One per bot process."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._newest: dict[str, asyncio.Task[None]] = {}

    async def reply(self, target: Target, words: str, file: File | None = None) -> None:
        """Say it in the thread, in as many messages as it takes."""
        where = {"channel": target.channel, "thread_ts": target.thread}
        self._begin(target.channel, self._say(where, words, file))

    async def in_private(self, user: str, words: str, file: File | None = None) -> None:
        """Say it in somebody's DM with the bot."""
        self._begin(user, self._in_private(user, words, file))

    async def only_to(self, channel: str, user: str, words: str, thread: str | None = None) -> None:
        """Say it where only one person sees it; in private where that cannot be."""
        self._begin(channel, self._only_to(channel, user, words, thread))

    def _begin(self, place: str, saying: Coroutine[Any, Any, None]) -> None:
        before = self._newest.get(place)

        async def in_turn() -> None:
            if before is not None:
                await asyncio.wait({before})
            await saying

        task = self._newest[place] = asyncio.create_task(in_turn(), name="deliver-sentence")
        task.add_done_callback(lambda done: self._forget(place, done))

    def _forget(self, place: str, task: asyncio.Task[None]) -> None:
        if self._newest.get(place) is task:
            del self._newest[place]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A sentence cannot be said.", action="sentence_failed", exc_info=error)

    async def _in_private(self, user: str, words: str, file: File | None = None) -> None:
        try:
            opened = await surely(lambda: self._client.conversations_open(users=user), what="private")
        except Refused as error:
            log.warning("Nobody can be told in private.", action="private_refused", reason=str(error))
            return
        await self._say({"channel": opened["channel"]["id"]}, words, file)

    async def _only_to(self, channel: str, user: str, words: str, thread: str | None) -> None:
        where: dict[str, Any] = {"channel": channel, "user": user, **({"thread_ts": thread} if thread else {})}
        try:
            for piece in split(words, MAX_CHARS):
                await surely(
                    lambda piece=piece: self._client.chat_postEphemeral(markdown_text=harmless(piece), **where),  # type: ignore[misc]
                    what="ephemeral",
                )
        except Refused as error:
            log.info("Nobody can be told there.", action="ephemeral_refused", reason=str(error))
            await self._in_private(user, words)

    async def _say(self, where: dict[str, Any], words: str, file: File | None) -> None:
        try:
            for piece in split(words, MAX_CHARS):
                await surely(
                    lambda piece=piece: self._client.chat_postMessage(  # type: ignore[misc]
                        markdown_text=harmless(piece), metadata=_SAID, unfurl_links=False, unfurl_media=False, **where
                    ),
                    what="reply",
                )
            if file is not None:
                name, content = file
                await surely(lambda: self._client.files_upload_v2(content=content, filename=name, **where), what="file")
        except Refused as error:
            log.warning("A reply cannot be sent.", action="reply_refused", reason=str(error))
