"""The web page does what every platform does."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from bots.web.sessions import COOKIE, Visitor
from core.settings import Settings
from tests.bots.contract import AdapterContract
from tests.bots.web.conftest import served


class Page:
    """A page that somebody looks at, without a browser: it shows what it is told, and asks again after a break."""

    language = "zh-CN"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.model_copy(update={"web_port": 0})
        self._server, self._url = ExitStack(), ""
        self._cookies = httpx.Cookies()
        self._parts: dict[int | str, str] = {}
        self._last_event_ids: dict[int, str] = {}
        self._changed = asyncio.Event()

    async def open(self) -> None:
        self._url = await asyncio.to_thread(self._server.enter_context, served(self._settings))
        async with self._client() as client:
            await client.get("/api/history")
            visitor = Visitor(_session_id(client.cookies[COOKIE]))
            self._cookies = client.cookies
        self.place, self.person = visitor.place, visitor.person

    async def crash(self) -> None:
        await asyncio.to_thread(self._server.close)

    async def start(self) -> None:
        self._url = await asyncio.to_thread(self._server.enter_context, served(self._settings))
        for turn_id in self._last_event_ids:
            await self._follow(turn_id)

    async def post(self, typed: str, event_id: str) -> None:
        async with self._client() as client:
            body = {"text": typed, "event_id": f"the-event-{event_id}"}
            taken = (await client.post("/api/messages", json=body)).json()
        if taken.get("turn"):
            await self._follow(taken["turn"]["turn_id"])
        else:
            self._show(event_id, taken.get("reply") or taken["error"]["message"])

    async def stop(self) -> None:
        async with self._client() as client:
            for turn_id in self._last_event_ids:
                await client.post(f"/api/turns/{turn_id}/stop")

    async def until_shown(self, words: str) -> None:
        while not any(words in part for part in self.shown()):
            self._changed.clear()
            await self._changed.wait()

    def shown(self) -> list[str]:
        return list(self._parts.values())

    async def _follow(self, turn_id: int) -> None:
        headers = {"Last-Event-ID": self._last_event_ids.setdefault(turn_id, "")}
        url = f"/api/turns/{turn_id}/events"
        async with self._client() as client, client.stream("GET", url, headers=headers) as response:
            async for name, event_id, data in _events(response):
                if name == "text":
                    self._last_event_ids[turn_id] = event_id
                    self._show(turn_id, self._parts.get(turn_id, "")[: data["offset"]] + data["text"])
                elif name == "end":
                    self._show(turn_id, "\n".join(_parts_of(data)))

    def _show(self, part: int | str, words: str) -> None:
        self._parts[part] = words
        self._changed.set()

    def _client(self) -> httpx.AsyncClient:
        headers = {"Accept-Language": self.language}
        return httpx.AsyncClient(base_url=self._url, cookies=self._cookies, headers=headers, timeout=20)


def _parts_of(turn: dict[str, Any]) -> list[str]:
    """What the page shows of an ended Turn, from above."""
    answer, failure = turn["answer"] or {"text": ""}, turn["failure"] or {"message": turn["status"]}
    finding = turn["finding"] or {"lead": "", "choices": [], "sources": []}
    choices = [f"{number}. {choice['question']}" for number, choice in enumerate(finding["choices"], start=1)]
    return [finding["lead"], answer["text"], *choices, *finding["sources"], failure["message"]]


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
            fields = {}


def _session_id(cookie: str) -> str:
    session_id: str = json.loads(base64.b64decode(cookie.partition(".")[0]))["id"]
    return session_id


class TestPage(AdapterContract):
    @pytest.fixture
    async def platform(self, settings: Settings) -> AsyncIterator[Page]:
        page = Page(settings)
        await page.open()
        yield page
        await page.crash()
