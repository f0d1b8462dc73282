"""The Discord bot, two workers and the reaper as processes: every message is answered once, in order, whatever fails."""

from __future__ import annotations

import asyncio
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from bots.texts import text
from core.database import Database
from core.settings import Settings
from pajama.valkey import EmbeddedValkey
from tests.bots.discord.conftest import eventually
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.e2e.answering_worker import answer_to
from tests.e2e.disturbing import disturb
from tests.e2e.ledger import stored_answers, undelivered
from tests.e2e.processes import BotProcess, Workers, environment, reaping

GUILDS, CHANNELS_EACH, PEOPLE_IN_PRIVATE = 5, 9, 5
CHANNELS = GUILDS * CHANNELS_EACH + PEOPLE_IN_PRIVATE
MESSAGES = {"sqlite": 500, "postgresql": 200}
EVERY_NTH_LONG, LONG_CHARS = 8, 230
AT_ONCE = 3
"""So many messages a person writes before reading the answer to the first of them."""

KILLS = 4
"""Of the bot and of a worker in turn."""

ANSWERS_PER_FAULT = 6
SCALE = 0.02
SEED = 20

ASIDES = (
    text("answer_complete").partition("{")[0],
    text("ahead", count=0)[1:],
    text("ahead_none"),
    text("status_no_worker"),
)
"""What the bot may say besides: that a long answer has ended, how many are before, why nothing has begun."""


@dataclass
class Talk:
    """One person who writes in one channel."""

    channel: Channel
    person: User
    number: int
    said: list[str] = field(default_factory=list)

    async def hold(self, messages: int, progress: asyncio.Semaphore) -> None:
        """Write everything, never more than some ahead of the answers."""
        for count in range(messages):
            words = f"c{self.number}-m{count}"
            if count % EVERY_NTH_LONG == self.number % EVERY_NTH_LONG:
                words = words.ljust(LONG_CHARS, "~")
            self.said.append(words)
            await self.channel.say(
                self.person, words, mentions=[] if self.channel.is_dm else [self.channel.discord.bot]
            )
            await self.until_answered(1 if count == 0 else max(1, count + 2 - AT_ONCE))
            progress.release()
        await self.until_answered(messages)

    async def until_answered(self, count: int) -> None:
        """Wait for the answers to the first `count` messages."""
        wanted = len(self.expected(count))
        await self.channel.until(lambda: len(self.read()) >= wanted)

    def expected(self, count: int | None = None) -> str:
        """What a person reads when the first `count` are answered, in order."""
        return without_space("".join(answer_to(words) for words in self.said[:count]))

    def read(self) -> str:
        """What the person reads of answers."""
        answers = [answer.content for answer in self.channel.answers]
        return without_space("".join(words for words in answers if not any(aside in words for aside in ASIDES)))


def without_space(words: str) -> str:
    return re.sub(r"\s", "", words)


class Trouble:
    """Faults of the servers, one after the other, as the answers come."""

    def __init__(self, discord: StandInDiscord) -> None:
        self._discord, self._chance = discord, random.Random(SEED)
        self.made = 0

    def make(self) -> None:
        """The next fault."""
        kinds = [self._errors, self._resets, self._limits, self._drop, self._repeat]
        kinds[self.made % len(kinds)]()
        self.made += 1

    def _route(self) -> str:
        return self._chance.choice([routes.CREATE_MESSAGE, routes.EDIT_MESSAGE])

    def _errors(self) -> None:
        status = self._chance.choice([500, 502, 503])
        self._discord.faults.add(self._route(), status, times=2, work_done=self._chance.random() < 0.5)

    def _resets(self) -> None:
        self._discord.faults.add(self._route(), "reset", times=2, work_done=self._chance.random() < 0.5)

    def _limits(self) -> None:
        everywhere = self._chance.random() < 0.5
        self._discord.faults.add(self._route(), 429, times=3, everywhere=everywhere)

    def _drop(self) -> None:
        for session in self._discord.sessions:
            if session.connected:
                session.invalidate() if self._chance.random() < 0.3 else session.drop()

    def _repeat(self) -> None:
        self._discord.gateway.repeat("MESSAGE_CREATE", times=5)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
async def discord() -> AsyncIterator[StandInDiscord]:
    async with StandInDiscord() as discord:
        discord.limits.scale = SCALE
        yield discord


@pytest.fixture
def settings(tmp_path: Path, database_url: str, valkey: EmbeddedValkey, discord: StandInDiscord) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database_url=database_url,
        redis_url=valkey.url,
        max_batch_size=16,
        lease_s=3,
        heartbeat_s=0.5,
        reap_every_s=0.25,
        max_attempts=10,
        log_format="json",
        discord_token=SecretStr(discord.token),
        discord_api_base=discord.api_base,
        discord_gateway_url=discord.gateway_url,
        _env_file=None,
    )


@pytest.fixture
def talks(discord: StandInDiscord) -> list[Talk]:
    people = [discord.add_user(f"Person {number}") for number in range(CHANNELS)]
    guilds = [discord.add_guild(f"Guild {number}", members=people) for number in range(GUILDS)]
    channels = [guild.add_text_channel(f"room-{number}") for guild in guilds for number in range(CHANNELS_EACH)]
    channels += [discord.dm(person) for person in people[len(channels) :]]
    return [Talk(*both, number) for number, both in enumerate(zip(channels, people, strict=True))]


@pytest.fixture
async def processes(settings: Settings, tmp_path: Path) -> AsyncIterator[tuple[BotProcess, Workers]]:
    workers, bot = (
        Workers(environment(settings), tmp_path / "workers.log"),
        BotProcess("discord", environment(settings), tmp_path / "bot.log"),
    )
    workers.start()
    workers.start()
    await bot.start()
    with reaping(settings):
        yield bot, workers
    workers.stop()
    await bot.end()


@pytest.mark.timeout(240)
async def test_every_message_is_answered_once_and_in_order_whatever_fails(
    database_kind: str,
    discord: StandInDiscord,
    settings: Settings,
    talks: list[Talk],
    processes: tuple[BotProcess, Workers],
) -> None:
    bot, workers = processes
    database, progress, trouble = Database(settings.database_url), asyncio.Semaphore(0), Trouble(discord)
    await discord.until_connected()
    messages = MESSAGES[database_kind]
    people = [talk.hold(messages // CHANNELS, progress) for talk in talks]
    disturbing = disturb(
        trouble.make, bot, workers, database, progress,
        beginning=CHANNELS, messages=messages, answers_per_fault=ANSWERS_PER_FAULT, kills=KILLS,
    )  # fmt: skip
    await asyncio.gather(disturbing, *people)
    await eventually(lambda: not undelivered(database))
    for talk in talks:
        assert talk.read() == talk.expected()
    assert_stored_is_what_was_read(database, talks)
    database.close()
    assert discord.violations == []
    assert trouble.made > 10


def assert_stored_is_what_was_read(database: Database, talks: list[Talk]) -> None:
    """One Turn a message, in the order in which they were said, each with one answer."""
    stored = defaultdict(list)
    where = {str(message.id): talk for talk in talks for message in talk.channel.messages}
    for event_id, answer in stored_answers(database):
        stored[where[event_id].number].append(answer)
    assert stored == {talk.number: [answer_to(words) for words in talk.said] for talk in talks}
