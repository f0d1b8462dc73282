"""The Discord bot does what every platform does."""

from __future__ import annotations

import pytest

from core.settings import Settings
from core.values import Person, Place
from tests.bots.contract import AdapterContract
from tests.bots.discord.conftest import Bot
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord


class DirectMessages:
    """Ann's DM with the bot."""

    language = "en"

    def __init__(self, bot: Bot, discord: StandInDiscord, ann: User) -> None:
        self._bot, self._discord, self._ann = bot, discord, ann
        self._channel = discord.dm(ann)
        self.place = Place(platform="discord", workspace=f"dm-{self._channel.id}", conversation=str(self._channel.id))
        self.person = Person(id=str(ann.id))
        self._said: dict[str, object] = {}

    async def post(self, typed: str, event_id: str) -> None:
        if event_id in self._said:
            self._channel.publish(self._said[event_id])  # type: ignore[arg-type]
        else:
            self._said[event_id] = await self._channel.say(self._ann, typed)
        await self._bot.settled()

    async def stop(self) -> None:
        answering = next(answer for answer in self._channel.answers if answer.components)
        await (await self._channel.press(self._ann, answering, "Stop")).acknowledged()

    async def crash(self) -> None:
        await self._bot.stop()

    async def start(self) -> None:
        await self._bot.start()
        await self._bot.settled()

    async def until_shown(self, words: str) -> None:
        await self._channel.until(words)

    def shown(self) -> list[str]:
        whole = [file.decode() for answer in self._channel.answers for file in answer.files.values()]
        return whole or [answer.content for answer in self._channel.answers]


class TestDirectMessages(AdapterContract):
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_queued_turns_per_person": 2})

    @pytest.fixture
    def platform(self, bot: Bot, discord: StandInDiscord, ann: User) -> DirectMessages:
        return DirectMessages(bot, discord, ann)
