"""Thread: what of ours stands in one thread, or in a channel beside its threads, to be looked up where it is not known
whether a call was done.

A message is known again by the nonce in its metadata, a file by its id or name. A stream cannot carry a nonce before its
end: it is a message of ours that the ledger does not know. Reads from the question on, page by page, since new apps get
fifteen messages at a time, and may ask once a minute.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.budget import HISTORY, REPLIES, SendBudget
from bots.slack.wire import Json, Refused, surely

log = structlog.get_logger(__name__)

_EVENT_TYPE = "pajama"
_PAGE = 200
_COMPARED_LETTERS = 60

IsKnown = Callable[[str], Awaitable[bool]]
"""Whether a message is accounted for, by its `ts`."""


async def _known(ts: str) -> bool:
    return True


class Thread:
    """One per answer. `ts`: its root, None for the channel outside of threads; `since`: the `ts` after which it is read."""

    def __init__(
        self,
        client: AsyncWebClient,
        budget: SendBudget,
        channel: str,
        ts: str | None,
        *,
        since: str,
        is_known: IsKnown = _known,
    ) -> None:
        self._client, self._budget, self.channel, self.ts = client, budget, channel, ts
        self._since, self._is_known = since, is_known
        self._bot_id: str | None = None

    async def find(self, nonce: str, words: str = "") -> str | None:
        """The message with this nonce; where `words` are given, else a stream that nobody knows of, best one like them."""
        ours = await self._ours()
        named = [str(message["ts"]) for message in ours if _nonce_of(message) == nonce]
        if named or not words:
            return named[-1] if named else None
        lost = await self._lost(ours)
        alike = [message for message in lost if _begins_alike(message, words)]
        return str((alike or lost)[-1]["ts"]) if lost else None

    async def find_stream(self, words: str) -> str | None:
        """The stream that nobody knows of and that begins as `words`."""
        lost = await self._lost(await self._ours())
        alike = [str(message["ts"]) for message in lost if _begins_alike(message, words)]
        return alike[-1] if alike else None

    async def _lost(self, ours: list[Json]) -> list[Json]:
        """Those that nobody knows of: streams whose beginning was the last that somebody did."""
        unnamed = [message for message in ours if _nonce_of(message) is None and not message.get("files")]
        return [message for message in unnamed if not await self._is_known(str(message["ts"]))]

    async def has_file(self, name: str) -> bool:
        """Whether a file of this id or name stands in the thread."""
        files = [file for message in await self._ours() for file in message.get("files") or ()]
        return any(name in {file.get("id"), file.get("name")} for file in files)

    async def _ours(self) -> list[Json]:
        """What we wrote there since the question, the oldest first; nothing where Slack does not say."""
        ours, cursor = list[Json](), ""
        gate = self._budget.gate(REPLIES if self.ts else HISTORY)
        try:
            bot_id = await self._bot()
            while True:
                page = await surely(lambda cursor=cursor: self._page(cursor), what="look-up", gate=gate)  # type: ignore[misc]
                ours += [message for message in page.get("messages") or () if message.get("bot_id") == bot_id]
                cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
                if not cursor:
                    ours.sort(key=lambda message: float(message["ts"]))  # a channel comes the newest first
                    return [message for message in ours if message["ts"] != self.ts]
        except Refused as error:
            log.warning("The thread cannot be read.", action="thread_unread", reason=str(error))
            return []

    async def _page(self, cursor: str) -> Any:
        asked: Json = {"oldest": self._since, "include_all_metadata": True, "limit": _PAGE, "cursor": cursor or None}
        if self.ts is None:
            return await self._client.conversations_history(channel=self.channel, **asked)
        return await self._client.conversations_replies(channel=self.channel, ts=self.ts, **asked)

    async def _bot(self) -> str:
        if self._bot_id is None:
            self._bot_id = str((await surely(self._client.auth_test, what="who")).get("bot_id"))
        return self._bot_id


def metadata(nonce: str) -> Json:
    """By what a message is known again."""
    return {"event_type": _EVENT_TYPE, "event_payload": {"nonce": nonce}}


def _nonce_of(message: Json) -> str | None:
    payload = (message.get("metadata") or {}).get("event_payload") or {}
    return payload.get("nonce")


def _begins_alike(message: Json, words: str) -> bool:
    """Whether one text begins as the other, as Slack renders what it is given."""
    both = (str(message.get("text") or ""), words)
    first, second = ("".join(filter(str.isalnum, each))[:_COMPARED_LETTERS] for each in both)
    return bool(first) and (first.startswith(second) or second.startswith(first))
