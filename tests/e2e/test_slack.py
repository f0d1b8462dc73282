"""The Slack bot, two workers and the reaper as processes, in both modes: every message is answered once, in order."""

from __future__ import annotations

import asyncio
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis.asyncio
from pydantic import SecretStr
from sqlalchemy import select

from bots.slack.budget import APPEND, POST, START, STOP, UPDATE
from bots.slack.manifest import EVENTS, EVENTS_PATH, INSTALL_PATH, SCOPES
from core.database import Database
from core.models import Message as MessageRow
from core.settings import Settings
from pajama.ports import free_port
from pajama.valkey import EmbeddedValkey
from tests.bots.looking import eventually
from tests.bots.slack.standin.browser import install
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.limits import MINUTE_S
from tests.bots.slack.standin.message import Message
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team
from tests.e2e.answering_worker import answer_to
from tests.e2e.disturbing import disturb
from tests.e2e.ledger import stored_answers, undelivered
from tests.e2e.processes import BotProcess, Workers, environment, reaping

TEAMS, CHANNELS_EACH, PEOPLE_IN_PRIVATE_EACH = 3, 5, 5
TALKS = TEAMS * (CHANNELS_EACH + PEOPLE_IN_PRIVATE_EACH)
MESSAGES = 300
EVERY_NTH_LONG, LONG_CHARS = 5, 1_000
"""So long that its answer is two messages."""

AT_ONCE = 3
"""So many messages a person writes before reading the answer to the first of them."""

KILLS = 4
"""Of the bot and of a worker in turn."""

ANSWERS_PER_FAULT, DROP_EVERY = 5, 15
SCALE = 0.02
"""How long a minute is, to the stand-in and to the bot's budget."""

SEED = 4

WRITES = (START, APPEND, STOP, POST, UPDATE)


@dataclass
class Talk:
    """One person who writes in one thread of a channel or DM."""

    channel: Channel
    person: User
    number: int
    stored: set[str]
    """The ids of all messages that SQL holds, in any place."""

    said: list[Message] = field(default_factory=list)

    async def hold(self, messages: int, progress: asyncio.Semaphore) -> None:
        """Write everything, never more than some ahead of the answers."""
        for count in range(messages):
            words = f"c{self.number}-m{count}"
            if (count + self.number) % EVERY_NTH_LONG == 0:
                words = words.ljust(LONG_CHARS, "x")
            await self._say(words)
            await self.until_answered(1 if count == 0 else max(1, count + 2 - AT_ONCE))
            progress.release()
        await self.until_answered(messages)

    async def _say(self, words: str) -> None:
        """A first message begins a thread, in a channel with a mention; what follows there needs none.

        Returns when it is stored: what is told anew after a failure comes behind what was said since.
        """
        thread = self.said[0] if self.said else None
        addressed = thread is not None or self.channel.is_dm
        message = await self.channel.say(self.person, words if addressed else f"<@BOT> {words}", thread=thread)
        self.said.append(message)
        await self.channel.team.slack.until(lambda: f"{self.channel.id}:{message.ts}" in self.stored)

    async def until_answered(self, count: int) -> None:
        """Wait for the answers to the first `count` messages."""
        wanted = len(self.expected(count))
        await self.channel.until(lambda: len(self.read()) >= wanted)

    def answers(self) -> list[str]:
        """What is to be answered, message by message."""
        return [answer_to(message.text.removeprefix(f"{self.channel.team.bot.mention} ")) for message in self.said]

    def expected(self, count: int | None = None) -> str:
        """What a person reads when the first `count` are answered, in order."""
        return without_space("".join(self.answers()[:count]))

    def read(self) -> str:
        """What the person reads of answers."""
        return without_space("".join(answer.read for answer in self.channel.answers))


def without_space(words: str) -> str:
    return re.sub(r"\s", "", words)


class Trouble:
    """Faults of the servers, one after the other, as the answers come."""

    def __init__(self, slack: StandInSlack) -> None:
        self._slack, self._chance = slack, random.Random(SEED)
        self.made = 0

    def make(self) -> None:
        """The next fault."""
        kinds = [self._errors, self._resets, self._limits, self._repeat, self._again]
        if self.made % DROP_EVERY == 0:
            self._drop()
        kinds[self.made % len(kinds)]()
        self.made += 1

    def _fail(self, answer: int | str, times: int) -> None:
        method, work_done = self._chance.choice(WRITES), self._chance.random() < 0.5
        self._slack.faults.add(method, answer, times=times, work_done=work_done and answer != 429)

    def _errors(self) -> None:
        self._fail(self._chance.choice([500, 502, 503, "internal_error"]), 2)

    def _resets(self) -> None:
        self._fail("reset", 2)

    def _limits(self) -> None:
        self._fail(429, 3)

    def _drop(self) -> None:
        for connection in self._slack.sockets.open:
            connection.drop()

    def _again(self) -> None:
        for told in self._chance.sample(self._slack.deliveries.sent, 5):
            self._slack.deliveries.again(told)

    def _repeat(self) -> None:
        for name in ("message", "app_mention"):
            self._slack.deliveries.repeat(name, times=5)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
async def slack() -> AsyncIterator[StandInSlack]:
    async with StandInSlack() as slack:
        slack.scopes, slack.subscriptions = set(SCOPES), set(EVENTS)
        slack.limits.scale, slack.limits.commercial = SCALE, False
        slack.deliveries.retry_after_s = (0.0, 1.0, 5.0)
        yield slack


@pytest.fixture
def settings(tmp_path: Path, database_url: str, valkey: EmbeddedValkey, slack: StandInSlack, mode: str) -> Settings:
    port = free_port()
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
        slack_mode=mode,
        slack_app_token=SecretStr(slack.app_token),
        slack_signing_secret=SecretStr(slack.signing_secret),
        slack_client_id=slack.client_id,
        slack_client_secret=SecretStr(slack.client_secret),
        slack_public_url=f"http://127.0.0.1:{port}",
        slack_http_port=port,
        slack_api_base=slack.api_base,
        _env_file=None,
    )


@pytest.fixture
def talks(slack: StandInSlack) -> list[Talk]:
    places = []
    for number in range(TEAMS):
        team = slack.add_team(f"Team {number}", installed=False)
        people = [team.add_user(f"Person {number}") for number in range(CHANNELS_EACH + PEOPLE_IN_PRIVATE_EACH)]
        channels = [team.add_channel(f"room-{number}") for number in range(CHANNELS_EACH)]
        places += zip([*channels, *map(team.dm, people[CHANNELS_EACH:])], people, strict=True)
    stored: set[str] = set()
    return [Talk(*place, number, stored) for number, place in enumerate(places)]


@pytest.fixture
async def processes(
    settings: Settings, tmp_path: Path, slack: StandInSlack, talks: list[Talk]
) -> AsyncIterator[tuple[BotProcess, Workers]]:
    """All of them at work, with the app installed in every workspace."""
    workers = Workers(environment(settings), tmp_path / "workers.log")
    bot = BotProcess("slack", environment(settings), tmp_path / "bot.log")
    workers.start()
    workers.start()
    await bot.start()
    with reaping(settings):
        for team in slack.teams.values():
            await installed(settings, team)
        if settings.slack_mode == "http":
            slack.request_url = f"{settings.slack_public_url}{EVENTS_PATH}"
        else:
            await slack.until_connected()
        yield bot, workers
    slack.request_url = None
    workers.stop()
    await bot.end()


async def installed(settings: Settings, team: Team) -> None:
    """The app is in this workspace, once its page is served."""
    while True:
        try:
            page = await install(team, team.owner, f"{settings.slack_public_url}{INSTALL_PATH}")
        except OSError:
            await asyncio.sleep(0.05)  # nobody listens yet, which nothing tells
        else:
            assert page.status == 200
            return


async def see_what_is_stored(database: Database, slack: StandInSlack, stored: set[str], over: asyncio.Event) -> None:
    """Keep `stored` true, and wake who waits for it."""
    while not over.is_set():
        with database.read() as session:
            stored |= {str(event_id) for event_id in session.scalars(select(MessageRow.external_id))}
        slack.changes.happened()
        await asyncio.sleep(0.1)  # nothing tells of a change in SQL


async def pass_minutes(url: str, over: asyncio.Event) -> None:
    """Let the minutes of the bot's own budget be as short as the stand-in's, so that nobody waits for their end."""
    async with redis.asyncio.Redis.from_url(url) as client:
        while not over.is_set():
            async for key in client.scan_iter("*slack-chat.*"):
                if not key.endswith(b"-held"):
                    await client.delete(key)
            await asyncio.sleep(SCALE * MINUTE_S / 4)


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")  # slack_sdk uses it for oauth.v2.access
@pytest.mark.parametrize(
    ("mode", "database_kind"), [("socket", "sqlite"), ("http", "postgresql")], indirect=["database_kind"]
)
async def test_every_message_is_answered_once_and_in_order_whatever_fails(
    slack: StandInSlack, settings: Settings, talks: list[Talk], processes: tuple[BotProcess, Workers]
) -> None:
    bot, workers = processes
    database, progress, trouble = Database(settings.database_url), asyncio.Semaphore(0), Trouble(slack)
    people = [talk.hold(MESSAGES // TALKS, progress) for talk in talks]
    disturbing = disturb(
        trouble.make, bot, workers, database, progress,
        beginning=TALKS, messages=MESSAGES, answers_per_fault=ANSWERS_PER_FAULT, kills=KILLS,
    )  # fmt: skip
    over = asyncio.Event()
    looking = [
        asyncio.create_task(pass_minutes(settings.redis_url, over)),
        asyncio.create_task(see_what_is_stored(database, slack, talks[0].stored, over)),
    ]
    try:
        await asyncio.gather(disturbing, *people)
        await eventually(lambda: not undelivered(database))
    finally:
        over.set()  # a call to Redis may swallow that a task is cancelled
        await asyncio.gather(*looking)
    for talk in talks:
        assert talk.read() == talk.expected()
    stored = defaultdict(list)
    where = {f"{talk.channel.id}:{message.ts}": talk.number for talk in talks for message in talk.said}
    for event_id, answer in stored_answers(database):
        stored[where[event_id]].append(answer)
    assert stored == {talk.number: talk.answers() for talk in talks}
    database.close()
    assert slack.violations == []
    assert trouble.made > 10
