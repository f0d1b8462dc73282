"""The Slack bot does what every platform does."""

from __future__ import annotations

import pytest

from core.settings import Settings
from core.values import Person, Place
from tests.bots.contract import AdapterContract
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.message import Message
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


class DirectMessages:
    """A chat of Ann's with the bot."""

    language = "en"

    def __init__(self, bot: Bot, slack: StandInSlack, team: Team, ann: User) -> None:
        self._bot, self._slack, self._team, self._ann = bot, slack, team, ann
        self._channel = team.dm(ann)
        self._root = self._channel.begin(ann)
        self.place = Place(platform="slack", workspace=team.id, conversation=f"{self._channel.id}:{self._root.ts}")
        self.person = Person(id=ann.id)
        self._said: dict[str, Message] = {}

    async def post(self, typed: str, event_id: str) -> None:
        if event_id in self._said:
            self._channel.publish(self._said[event_id])
        else:
            self._said[event_id] = await self._channel.say(self._ann, typed, thread=self._root)
        await self._bot.settled()

    async def stop(self) -> None:
        question = next(message for message in reversed(self._channel.messages) if message.author is self._ann)
        await self._team.stop_session(self._ann, question)

    async def crash(self) -> None:
        await self._bot.stop()

    async def start(self) -> None:
        await self._bot.start()
        await self._bot.settled()

    async def until_shown(self, words: str) -> None:
        await self._channel.until(words)

    def shown(self) -> list[str]:
        return [message.read for message in self._channel.answers]


class TestDirectMessages(AdapterContract):
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_queued_turns_per_person": 2})

    @pytest.fixture
    def platform(self, bot: Bot, slack: StandInSlack, acme: Team, ann: User) -> DirectMessages:
        slack.limits.commercial = False  # a restart looks a thread up more than once a minute
        return DirectMessages(bot, slack, acme, ann)
