"""A platform that keeps messages, built from nothing but the shared parts, does what every platform does."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest

from bots import commands
from bots.commands import Answering, Asker
from bots.courier import Courier
from bots.delivery import deliver
from bots.splitting import split
from bots.texts import sentence_for, text
from core.errors import PajamaError
from core.service import Service
from tests.bots.asking import PERSON, place
from tests.bots.channel import LIMIT, Channel, ChannelSink
from tests.bots.contract import AdapterContract


class KeptMessages:
    """The smallest bot for such a platform. What it has sent stays when it crashes."""

    language = "en"

    def __init__(self, service: Service) -> None:
        self.place, self.person = place(), PERSON
        self._service, self._channel = service, Channel()
        self._posts: set[asyncio.Task[None]] = set()

    async def post(self, typed: str, event_id: str) -> None:
        task = asyncio.ensure_future(self._handle(typed, event_id))
        self._posts.add(task)
        await asyncio.wait({task})
        self._posts.discard(task)
        if not task.cancelled():
            task.result()

    async def stop(self) -> None:
        await commands.handle(self._service, "/stop", self._asker("stop"))

    async def crash(self) -> None:
        for task in self._posts:
            task.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)

    async def start(self) -> None:
        courier = Courier(self._service, lambda turn: nullcontext(ChannelSink(self._channel)))
        await courier.resume(self.place.platform)
        await courier.settled()

    async def until_shown(self, words: str) -> None:
        await self._channel.until(words)

    def shown(self) -> list[str]:
        return self._channel.shown()

    def _asker(self, event_id: str) -> Asker:
        return Asker(place=self.place, person=self.person, event_id=event_id, language=self.language)

    async def _handle(self, typed: str, event_id: str) -> None:
        try:
            outcome = await commands.handle(self._service, typed, self._asker(event_id))
            if isinstance(outcome, Answering):
                await deliver(self._service, outcome.turn, ChannelSink(self._channel))
                return
            words = outcome.text if isinstance(outcome, commands.Told) else text("why_prompt", self.language)
        except PajamaError as error:
            words = sentence_for(error, self.language)
        for index, piece in enumerate(split(words, LIMIT)):
            self._channel.post(piece, f"{event_id}-{index}")


class TestKeptMessages(AdapterContract):
    @pytest.fixture
    def platform(self, service: Service) -> KeptMessages:
        return KeptMessages(service)
