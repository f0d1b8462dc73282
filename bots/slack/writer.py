"""Writer: every call that changes what stands in one thread, each of them done once.

A call that failed, and may have been done all the same, is looked up in the thread: a message by the nonce in its
metadata, a file by its id, a stream, which cannot carry a nonce before its end, as the message of ours that nothing is
known of. Waits in the workspace's lines. Knows no answer.
"""

from __future__ import annotations

from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.budget import APPEND, DELETE, POST, START, STOP, UPDATE, SendBudget
from bots.slack.targets import Target
from bots.slack.thread import Thread, metadata
from bots.slack.uploads import Uploads
from bots.slack.wire import Json, Refused, cannot_be_known, surely

_GONE = frozenset({"message_not_found", "channel_not_found", "thread_not_found"})


class Writer:
    """One per thread and answer."""

    def __init__(self, client: AsyncWebClient, budget: SendBudget, target: Target, thread: Thread) -> None:
        self._client, self._budget, self._target, self._thread = client, budget, target, thread
        self._uploads = Uploads(client, budget)

    # Messages

    async def post(self, arguments: Json, nonce: str, *, placed: bool = False) -> str:
        """A new message; its `ts`. `placed`: the caller has a place in line. Without a thread it begins one."""

        async def call() -> Any:
            return await self._client.chat_postMessage(
                channel=self._target.channel,
                thread_ts=self._target.thread or None,
                metadata=metadata(nonce),
                unfurl_links=False,
                unfurl_media=False,
                **arguments,
            )

        async def done() -> Json | None:
            ts = await self._thread.find(nonce)
            return None if ts is None else {"ts": ts}

        gate = self._budget.gate(POST, self._target.channel, placed=placed)
        return str((await surely(call, what="post", done=done, gate=gate))["ts"])

    async def update(self, ts: str, arguments: Json, *, preview: bool = False) -> None:
        """Another text for a message that is no open stream. Of a `preview` the place in line is the caller's to have, and
        no limit is waited for.
        """

        async def call() -> Any:
            return await self._client.chat_update(channel=self._target.channel, ts=ts, parse="none", **arguments)

        await surely(call, what="update", gate=self._budget.gate(UPDATE, placed=preview), patient=not preview)

    async def delete(self, ts: str) -> None:
        """Take a message away; one that is gone already is no error."""
        try:
            await surely(
                lambda: self._client.chat_delete(channel=self._target.channel, ts=ts),
                what="remove",
                gate=self._budget.gate(DELETE),
            )
        except Refused as error:
            if error.refusal not in _GONE:
                raise

    # Streams

    async def start(self, words: str) -> str:
        """A message that is a stream; its `ts`. The place in line is the caller's to have, and no limit is waited for."""

        async def call() -> Any:
            return await self._client.chat_startStream(
                channel=self._target.channel,
                thread_ts=self._target.thread,
                recipient_team_id=self._target.asker_team or self._target.team,
                recipient_user_id=self._target.asker,
                markdown_text=words,
            )

        async def done() -> Json | None:
            ts = await self._thread.find_stream(words)
            return None if ts is None else {"ts": ts}

        gate = self._budget.gate(START, placed=True)
        return str((await surely(call, what="start", done=done, gate=gate, patient=False))["ts"])

    async def append(self, ts: str, more: str) -> None:
        """More of a stream. The place in line is the caller's to have, and no limit is waited for.

        Raises Unsure where it may be there or not.
        """
        await surely(
            lambda: self._client.chat_appendStream(channel=self._target.channel, ts=ts, markdown_text=more),
            what="append",
            done=cannot_be_known,
            gate=self._budget.gate(APPEND, placed=True),
            patient=False,
        )

    async def stop(
        self, ts: str, more: str = "", blocks: list[Json] | None = None, nonce: str = "", *, at_once: bool = False
    ) -> None:
        """The end of a stream. Once more it is refused, so that nothing is there twice.

        `at_once`: the caller has a place in line, and no limit is waited for.
        """

        async def call() -> Any:
            return await self._client.chat_stopStream(
                channel=self._target.channel,
                ts=ts,
                markdown_text=more or None,
                blocks=blocks,
                metadata=metadata(nonce) if nonce else None,
            )

        await surely(call, what="stop", gate=self._budget.gate(STOP, placed=at_once), patient=not at_once)

    # Files

    async def upload(self, name: str, content: bytes) -> str:
        """The id of a file that nobody sees yet."""
        return await self._uploads.upload(name, content)

    async def share(self, file_id: str, title: str) -> None:
        """Show it in the thread."""
        await self._uploads.share(file_id, title, self._thread)
