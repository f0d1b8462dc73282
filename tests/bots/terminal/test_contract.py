"""The terminal does what every platform does."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal

import pytest

from bots.terminal.chat import answer, local_asker
from core.service import Service
from tests.bots.contract import AdapterContract
from tests.bots.terminal.keyboard import Screen, chatting


class Terminal:
    """A terminal with somebody at it. After a crash it is a new, empty one."""

    language = "zh-CN"

    def __init__(self, service: Service) -> None:
        asker = local_asker("main", self.language)
        self.place, self.person = asker.place, asker.person
        self._service, self._screen = service, Screen()
        self._answering: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def post(self, typed: str, event_id: str) -> None:
        asker = dataclasses.replace(local_asker("main", self.language), event_id=event_id)
        async with self._one_at_a_time:
            self._answering = asyncio.ensure_future(answer(self._service, typed, asker, self._screen))
            await asyncio.wait({self._answering})
        if not self._answering.cancelled():
            self._answering.result()

    async def stop(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    async def crash(self) -> None:
        assert self._answering is not None
        self._answering.cancel()
        await asyncio.wait({self._answering})
        self._screen = Screen()

    async def start(self) -> None:
        async with chatting(self._service, self._screen, self.language):
            pass

    async def until_shown(self, words: str) -> None:
        await self._screen.until(words)

    def shown(self) -> list[str]:
        return [self._screen.getvalue()]


class TestTerminal(AdapterContract):
    @pytest.fixture
    def platform(self, service: Service) -> Terminal:
        return Terminal(service)
