"""The bot ends at any request of a delivery, before or after the servers did it: the next one goes on from there."""

from __future__ import annotations

import asyncio
import itertools
import re

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from bots.discord import sink, sinks
from bots.texts import text
from core.database import Database
from core.settings import Settings
from tests.bots.discord.conftest import Bot
from tests.bots.discord.looking import ask, eventually, turns_of, written
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.discord.test_process import running
from tests.bots.scripted_worker import Gate, ScriptedWorker

LINES = [f"Line {number} of an answer in several messages.\n" for number in range(90)]
SHORT, LONG, ENDLESS = LINES[:2], LINES, LINES * 4
numbers = itertools.count()


@pytest.fixture(autouse=True)
def _many_edits(discord: StandInDiscord, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a kill can fall on each of them."""
    monkeypatch.setattr(sinks, "EDITS_PER_S", 100.0)
    discord.limits.scale = 0.02


class Delivery:
    """One question whose answer is written in two halves, and what stands of it."""

    def __init__(self, channel: Channel, worker: ScriptedWorker, database: Database, answer: list[str]) -> None:
        self.channel, self._database, self._answer = channel, database, answer
        self._name, self._gate = f"question {next(numbers)}", Gate()
        self._asked_before = len(turns_of(database))
        half = len(answer) // 2
        worker.script[self._name] = [*answer[:half], self._gate, *answer[half:]]

    async def ask(self, person: User) -> None:
        """Ask, and have the first half written."""
        await ask(self.channel, person, self._name)

    async def until_shown_or(self, condition: asyncio.Event) -> None:
        """Wait for the first half to be shown, or for `condition`; then have the other half written."""
        await self.channel.discord.until(lambda: condition.is_set() or self.channel.answers)
        self._gate.set()

    @property
    def delivered(self) -> bool:
        """Whether the ledger says so."""
        turns = turns_of(self._database)[self._asked_before :]
        return bool(turns) and all(turn.delivered_at is not None for turn in turns)

    def check(self) -> None:
        """The text is exact, and no message is there twice."""
        whole = "".join(self._answer)
        files = [file.decode() for answer in self.channel.answers for file in answer.files.values()]
        assert files == ([whole] if len(whole) > sink.MAX_CHARS * sink.MAX_CHUNKS else [])
        shown = without_space("".join(written(self.channel)))
        beginning = shown.removesuffix(without_space(text("rest_in_file")))
        assert (beginning != shown) == bool(files)
        assert without_space(whole).startswith(beginning) if files else shown == without_space(whole)
        last = self.channel.answers[-1]
        assert [bool(answer.components) for answer in self.channel.answers] == [
            answer is last for answer in self.channel.answers
        ]


def without_space(words: str) -> str:
    return re.sub(r"\s", "", words)


class Kill:
    """The end of the bot at a request: it never hears whether it was done."""

    def __init__(self, discord: StandInDiscord, request: int, *, work_done: bool, route: str | None = None) -> None:
        self._discord, self.fell = discord, asyncio.Event()
        self._before = len(discord.faults.struck)
        discord.faults.add(route, "hang", after=request, work_done=work_done)

    async def until_fell_or(self, delivery: Delivery) -> bool:
        """Whether it fell before the answer was delivered."""
        await eventually(lambda: delivery.delivered or self._struck)
        self._discord.faults.clear()
        return self._struck

    @property
    def _struck(self) -> bool:
        return len(self._discord.faults.struck) > self._before


async def deliver_with_kills(
    bot: Bot, delivery: Delivery, person: User, kills: list[tuple[int, bool]], route: str | None = None
) -> int:
    """Ask, end the bot at each of the requests and start it anew. How many of the ends fell into the delivery."""
    fallen = 0
    await bot.settled()
    for number, (request, work_done) in enumerate(kills):
        kill = Kill(bot.discord, request, work_done=work_done, route=route)
        beginning = asyncio.create_task(bot.start() if number else delivery.ask(person))  # a start may be killed too
        opening = asyncio.create_task(delivery.until_shown_or(kill.fell))
        fell = await kill.until_fell_or(delivery)
        kill.fell.set()
        delivery.channel.discord.changes.happened()
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


@pytest.mark.parametrize("work_done", [False, True], ids=["before", "after"])
async def test_an_end_at_every_request_of_a_delivery(
    bot: Bot, worker: ScriptedWorker, shop: Guild, ann: User, database: Database, work_done: bool
) -> None:
    for request in itertools.count():
        delivery = Delivery(shop.add_text_channel(f"room-{request}"), worker, database, LONG)
        if not await deliver_with_kills(bot, delivery, ann, [(request, work_done)]):
            break
    assert request >= 3, "one for each message at least"


@trying(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    answer=st.sampled_from([SHORT, LONG, ENDLESS]),
    kills=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=3),
)
async def test_several_ends_in_one_delivery(
    bot: Bot,
    worker: ScriptedWorker,
    shop: Guild,
    ann: User,
    database: Database,
    answer: list[str],
    kills: list[tuple[int, bool]],
) -> None:
    delivery = Delivery(shop.add_text_channel("room"), worker, database, answer)
    await deliver_with_kills(bot, delivery, ann, kills)


@trying(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    route=st.sampled_from([routes.CREATE_MESSAGE, routes.EDIT_MESSAGE]),
    request_number=st.integers(0, 3),
    work_done=st.booleans(),
)
async def test_a_process_that_is_killed_at_any_request(
    discord: StandInDiscord,
    settings: Settings,
    worker: ScriptedWorker,
    shop: Guild,
    ann: User,
    database: Database,
    route: str,
    request_number: int,
    work_done: bool,
) -> None:
    discord.faults.clear()
    delivery = Delivery(shop.add_text_channel("room"), worker, database, LONG)
    kill = Kill(discord, request_number, work_done=work_done, route=route)
    async with running(settings, settings.data_dir / "first.log") as process:
        await discord.until_connected()
        await delivery.ask(ann)
        opening = asyncio.create_task(delivery.until_shown_or(kill.fell))
        await kill.until_fell_or(delivery)
        kill.fell.set()
        discord.changes.happened()
        await opening
        process.kill()
        await process.wait()
    async with running(settings, settings.data_dir / "second.log"):
        await eventually(lambda: delivery.delivered)
    delivery.check()
    await discord.until_disconnected()  # or the next example takes this process for its own
