"""The bot ends at any call of a delivery, before or after Slack did it: the next one goes on from there, and once only."""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as trying
from hypothesis import strategies as st
from sqlalchemy import select

from bots.slack import budget, errands, sink, sinks, status, wire
from bots.slack.budget import APPEND, DELETE, POST, SHARE, START, STOP, UPDATE, SendBudget
from bots.texts import text
from core.database import Database
from core.errors import DatabaseUnavailable
from core.models import Delivery as Ledger
from core.models import Turn
from core.service import Service
from core.settings import Settings
from core.values import DeliveryState
from tests.bots.looking import eventually
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team
from tests.bots.slack.test_process import pajama

LINES = [f"Line {number} of an answer in several messages.\n" for number in range(900)]
SHORT, LONG, ENDLESS = 3, 360, len(LINES)
"""How many lines an answer has: in a message, in a few, in more than there may be."""

numbers = itertools.count()


@pytest.fixture
def _quick(slack: StandInSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many previews, so that an end can fall on each; no line waits, Slack tells again at once, an end is at once."""
    monkeypatch.setattr(sinks, "APPENDS_PER_S", 200.0)
    monkeypatch.setattr(sink, "WAITING_S", 0.02)
    monkeypatch.setattr(wire, "_FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(budget, "RATES", {name: budget.Rate(10_000, 1.0) for name in budget.RATES})
    monkeypatch.setattr(errands, "_END_WITHIN_S", 0.0)
    monkeypatch.setattr(status, "AFTER_S", 0.0)
    slack.limits.scale, slack.limits.commercial = 0.001, False
    slack.deliveries.acknowledge_s, slack.deliveries.retry_after_s = 1.0, (0.0, 0.1, 0.1)


@dataclass
class Delivery:
    """One question whose answer is written in three parts, and what stands of it."""

    channel: Channel
    worker: ScriptedWorker
    database: Database
    lines: int
    name: str = field(default_factory=lambda: f"question {next(numbers)}")
    gate: Gate = field(default_factory=Gate)
    end: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        third, lines = self.lines // 3, LINES[: self.lines]
        parts = lines[:third], [self.gate], lines[third:-third], [self.end], lines[-third:]
        self.worker.script[self.name] = list(itertools.chain.from_iterable(parts))

    async def ask(self) -> None:
        """Ask, and have the first part written."""
        assert self.channel.person is not None
        await self.channel.say(self.channel.person, self.name)

    async def until_shown_or(self, condition: asyncio.Event) -> None:
        """Have each part written when the one before is shown, or with `condition`."""
        slack = self.channel.team.slack
        await slack.until(lambda: condition.is_set() or self.channel.answers)
        self.gate.set()
        if any(answer.streaming for answer in self.channel.answers):
            await slack.until(lambda: condition.is_set() or LINES[self.lines // 2].strip() in self.channel.texts[-1])
        self.end.set()

    @property
    def delivered(self) -> bool:
        """Whether the ledger says so."""
        with self.database.read() as session:
            turns = list(session.scalars(select(Turn).order_by(Turn.id)))
        mine = [turn for turn in turns if turn.target.get("channel") == self.channel.id]
        return bool(mine) and all(turn.delivered_at is not None for turn in mine)

    def check(self) -> None:
        """The text is exact, and nothing is there twice."""
        whole = "".join(LINES[: self.lines])
        files = [file.content.decode() for answer in self.channel.answers for file in answer.files]
        assert files == ([whole] if len(whole) > sink.MAX_CHARS * sink.MAX_CHUNKS else [])
        messages = [answer for answer in self.channel.answers if not answer.files]
        shown = without_space("".join(answer.read for answer in messages).removesuffix(text("rest_in_file")))
        assert without_space(whole).startswith(shown) if files else shown == without_space(whole)
        assert [bool(answer.blocks and answer.blocks[-1]["type"] == "actions") for answer in messages] == [
            answer is messages[-1] for answer in messages
        ]
        assert not any(answer.streaming for answer in messages)


def without_space(words: str) -> str:
    return re.sub(r"\s", "", words)


class Kill:
    """The end of the bot at a call: it never hears whether it was done."""

    def __init__(self, slack: StandInSlack, call: int, *, work_done: bool, method: str | None = None) -> None:
        self._slack, self.fell = slack, asyncio.Event()
        self._before = len(slack.faults.struck)
        slack.faults.add(method, "hang", after=call, work_done=work_done)

    async def until_fell_or(self, delivery: Delivery) -> bool:
        """Whether it fell before the answer was delivered."""
        await eventually(lambda: self._struck or delivery.delivered)
        self._slack.faults.clear()
        return self._struck

    @property
    def _struck(self) -> bool:
        return len(self._slack.faults.struck) > self._before


async def deliver_with_kills(
    bot: Bot, delivery: Delivery, kills: list[tuple[int, bool]], method: str | None = None
) -> int:
    """Ask, end the bot at each of the calls, perhaps of one method, and start it anew. How many ends fell into it."""
    fallen = 0
    await until_looked_back()
    await bot.settled()
    for number, (call, work_done) in enumerate(kills):
        kill = Kill(bot.slack, call, work_done=work_done, method=method)
        beginning = asyncio.create_task(bot.start() if number else delivery.ask())  # a start may be killed too
        opening = asyncio.create_task(delivery.until_shown_or(kill.fell))
        fell = await kill.until_fell_or(delivery)
        kill.fell.set()
        bot.slack.changes.happened()
        beginning.cancel()
        await asyncio.gather(beginning, opening, return_exceptions=True)
        fallen += fell
        if not fell:
            break
        await bot.stop()
    if bot.task is None or bot.task.done():
        await bot.start()
    await eventually(lambda: delivery.delivered)
    await bot.settled()
    delivery.check()
    return fallen


async def until_looked_back() -> None:
    """Wait until no bot looks for what was missed: its calls are no delivery's."""
    looking = [task for task in asyncio.all_tasks() if task.get_name() == "slack-backfill"]
    await asyncio.gather(*looking, return_exceptions=True)


def new_dm(team: Team) -> Channel:
    return team.dm(team.add_user(f"Person {next(numbers)}"))


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("work_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "placeholder"])
async def test_an_end_at_every_call_of_a_delivery(
    bot: Bot, worker: ScriptedWorker, acme: Team, database: Database, monkeypatch: pytest.MonkeyPatch, work_done: bool,
    streamed: bool,
) -> None:  # fmt: skip
    if not streamed:
        monkeypatch.setitem(budget.RATES, START, budget.Rate(0, 1.0))
    for call in itertools.count():
        delivery = Delivery(new_dm(acme), worker, database, LONG)
        if not await deliver_with_kills(bot, delivery, [(call, work_done)]):
            break
    assert call >= 4, "one to ask who it is, one for the status, two for each message at least"


class Scene:
    """What every example is played in."""

    def __init__(self, bot: Bot, worker: ScriptedWorker, team: Team, database: Database) -> None:
        self.bot, self._worker, self._team, self._database = bot, worker, team, database

    def delivery(self, lines: int) -> Delivery:
        """A question in a DM of its own."""
        return Delivery(new_dm(self._team), self._worker, self._database, lines)


@pytest.fixture
def scene(bot: Bot, worker: ScriptedWorker, acme: Team, database: Database) -> Scene:
    return Scene(bot, worker, acme, database)


@pytest.mark.usefixtures("_quick")
@trying(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(lines=ENDLESS, kills=[(2, False), (7, True), (1, True)])
@given(
    lines=st.sampled_from([SHORT, LONG, ENDLESS]),
    kills=st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=3),
)
async def test_several_ends_in_one_delivery(scene: Scene, lines: int, kills: list[tuple[int, bool]]) -> None:
    await deliver_with_kills(scene.bot, scene.delivery(lines), kills)


@pytest.mark.usefixtures("_quick")
async def test_a_file_is_there_once_where_the_end_fell_before_its_message(
    bot: Bot, worker: ScriptedWorker, acme: Team, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(budget.RATES, START, budget.Rate(1, 600.0))
    assert await SendBudget(bot.service, acme.id).spare(START), "and none from now on"
    delivery = Delivery(new_dm(acme), worker, database, ENDLESS)
    last = sink.MAX_CHUNKS - 1
    assert await deliver_with_kills(bot, delivery, [(last, False)], method=POST) == 1


# A process


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """The bot's process, killed at the end of the block."""
    process = await pajama(settings, "bot", "slack")
    try:
        yield
    finally:
        process.kill()
        _, said = await process.communicate()
        sys.stdout.write(said.decode())  # shown where a test fails


STEPS = [(START, SHORT), (APPEND, SHORT), (STOP, SHORT), (POST, SHORT), (UPDATE, SHORT), (SHARE, ENDLESS)]
"""At which call which answer hangs when the process is killed. Those from the post on find no room for a stream."""


async def test_a_process_that_is_killed_at_every_step_at_once(
    slack: StandInSlack, settings: Settings, worker: ScriptedWorker, service: Service, acme: Team, database: Database
) -> None:
    slack.limits.commercial = False  # the threads are looked up one a minute else
    steps = [(*step, work_done) for step in STEPS for work_done in (False, True)]
    deliveries = [Delivery(new_dm(acme), worker, database, lines) for _, lines, _ in steps]
    async with running(settings):
        await slack.until_connected()
        for (method, _, work_done), delivery in zip(steps, deliveries, strict=True):
            if method == POST:
                while await SendBudget(service, acme.id).spare(START):
                    pass
            kill = Kill(slack, 0, work_done=work_done, method=method)
            await delivery.ask()
            opening = asyncio.create_task(delivery.until_shown_or(kill.fell))
            assert await kill.until_fell_or(delivery), f"it hangs at {method}"
            kill.fell.set()
            slack.changes.happened()
            await opening
    await slack.until_disconnected()
    async with running(settings):
        await eventually(lambda: all(delivery.delivered for delivery in deliveries))
    for delivery in deliveries:
        delivery.check()


@pytest.mark.usefixtures("_quick")
async def test_an_apology_is_told_once_where_sql_is_away_just_then(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    delivery, noted, away = Delivery(new_dm(acme), worker, database, SHORT), bot.service.ledger.delivered, [True]

    async def mark(*told: Any) -> bool:
        if away and away.pop():
            raise DatabaseUnavailable
        return await noted(*told)

    monkeypatch.setattr(bot.service.ledger, "delivered", mark)
    await delivery.ask()
    await delivery.channel.until(LINES[0].strip())
    assert delivery.channel.person is not None
    await acme.stop_session(delivery.channel.person, delivery.channel.messages[0])
    await eventually(lambda: delivery.delivered)
    await bot.settled()
    assert not away and [answer.read for answer in delivery.channel.answers].count(text("stopped")) == 1


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("work_done", [False, True], ids=["before", "after"])
async def test_an_apology_is_told_once(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, database: Database, work_done: bool
) -> None:
    delivery = Delivery(new_dm(acme), worker, database, SHORT)
    await delivery.ask()
    await delivery.channel.until(LINES[0].strip())
    slack.faults.add(POST, "hang", work_done=work_done)
    assert delivery.channel.person is not None
    await acme.stop_session(delivery.channel.person, delivery.channel.messages[0])
    await slack.until(lambda: slack.faults.struck)
    await bot.stop()
    await bot.start()
    await eventually(lambda: delivery.delivered)
    await bot.settled()
    assert [answer.read for answer in delivery.channel.answers].count(text("stopped")) == 1


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("work_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("change", ["edit", "delete"])
async def test_an_old_answer_goes_though_the_bot_ends_as_it_takes_it_away(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, database: Database, work_done: bool, change: str
) -> None:
    channel = new_dm(acme)
    assert channel.person is not None
    worker.script["one"] = list(LINES[:LONG])
    await channel.say(channel.person, "one")
    await channel.until(LINES[LONG - 1].strip())
    await bot.settled()
    old = len(channel.answers)
    slack.faults.add(DELETE, "hang", after=1, work_done=work_done)
    await (channel.edit(channel.messages[0], "two") if change == "edit" else channel.delete(channel.messages[0]))
    await slack.until(lambda: slack.faults.struck)
    await slack.deliveries.until_over()
    await bot.stop()
    before = len(slack.requests_to(DELETE))
    await bot.start()
    if change == "edit":
        await channel.until("You said: two")
    await bot.settled()
    assert [answer.read for answer in channel.answers] == (["You said: two"] if change == "edit" else [])
    assert len(slack.requests_to(DELETE)) - before == old, "each once more, since none was noted"
    with database.read() as session:
        assert not list(session.scalars(select(Ledger).where(Ledger.state == DeliveryState.REMOVING)))
