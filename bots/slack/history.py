"""History: what stands in a channel or thread, asked of Slack page by page, and never sooner than Slack takes the question.

Of some apps Slack takes one such question a minute, and answers with fifteen messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from time import monotonic
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.wire import Unanswered, surely

log = structlog.get_logger(__name__)

Json = dict[str, Any]

PAGE = 200
_LIMIT_S = 60.0
_FIRST_AGAIN_S, _LONGEST_AGAIN_S = 0.5, 30.0


class History:
    """One per workspace."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._not_before: dict[str, float] = {}

    async def thread(
        self, channel: str, ts: str, *, oldest: str | None = None, most_pages: int = 1, patient: bool = False
    ) -> AsyncGenerator[Json]:
        """The pages of a thread, the oldest first. Raises Refused where the bot may not look.

        Raises Unanswered where Slack takes no such question now; who is `patient` waits until it does.
        """

        async def ask(cursor: str | None) -> Any:
            return await self._client.conversations_replies(
                channel=channel, ts=ts, oldest=oldest, limit=PAGE, cursor=cursor
            )

        async for page in self._pages("replies", ask, most_pages, patient=patient):
            yield page

    async def channel(
        self, channel: str, *, oldest: str, most_pages: int = 1, patient: bool = False
    ) -> AsyncGenerator[Json]:
        """The pages of a channel without what stands in threads, the newest first. Raises Refused as `thread`."""

        async def ask(cursor: str | None) -> Any:
            return await self._client.conversations_history(channel=channel, oldest=oldest, limit=PAGE, cursor=cursor)

        async for page in self._pages("history", ask, most_pages, patient=patient):
            yield page

    async def _pages(
        self, method: str, ask: Callable[[str | None], Awaitable[Any]], most: int, *, patient: bool
    ) -> AsyncGenerator[Json]:
        cursor: str | None = None
        for _ in range(most):
            page = await self._page(method, lambda cursor=cursor: ask(cursor), patient=patient)  # type: ignore[misc]
            yield page
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return

    async def _page(self, method: str, ask: Callable[[], Awaitable[Any]], *, patient: bool) -> Json:
        async def noting() -> Any:
            try:
                return await ask()
            except SlackApiError as error:
                self._note(method, error.response)
                raise

        again_s = _FIRST_AGAIN_S
        while True:
            left_s = self._not_before.get(method, 0.0) - monotonic()
            if left_s > 0 and not patient:
                raise Unanswered("ratelimited")
            await asyncio.sleep(max(0.0, left_s))
            try:
                return await surely(noting, what=method, tries=1)
            except Unanswered as error:
                if not patient:
                    raise
                log.warning("Slack is asked again.", action="history_retry", what=method, reason=error.refusal)
            if self._not_before.get(method, 0.0) <= monotonic():  # it was no limit
                await asyncio.sleep(again_s)
                again_s = min(2 * again_s, _LONGEST_AGAIN_S)

    def _note(self, method: str, response: Any) -> None:
        """Remember until when Slack takes no such question."""
        if response.status_code == 429:
            told = str(response.headers.get("Retry-After", ""))
            self._not_before[method] = monotonic() + (float(told) if told.isdigit() else _LIMIT_S)
