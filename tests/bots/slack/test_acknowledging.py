"""Slack hears in time that its events are taken, however long it takes to do something about them; and each is done once."""

from __future__ import annotations

import pytest
from sqlalchemy import text as sql

from bots.slack import errands
from bots.texts import text
from core.database import Database
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

SOON_S = 0.2


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledged sooner than Slack needs it, so that tests need not wait."""
    monkeypatch.setattr(errands, "ACK_WITHIN_S", SOON_S)


@pytest.mark.usefixtures("impatient")
async def test_a_message_is_acknowledged_while_slack_is_slow_to_say_who_wrote_it(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User
) -> None:
    slack.faults.add("users.info", "hang")
    await acme.dm(ann).say(ann, "hello")
    await slack.deliveries.until_over()
    (told,) = slack.deliveries.named("message")
    assert told.acknowledged_after_s is not None and SOON_S <= told.acknowledged_after_s < 1
    await acme.dm(ann).until("You said: hello")
    await bot.settled()
    assert len(told.attempts) == 1


@pytest.mark.usefixtures("impatient")
async def test_a_message_is_acknowledged_and_stored_while_the_database_is_held_up(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, database: Database
) -> None:
    with database.write():
        await acme.dm(ann).say(ann, "hello")
        await slack.deliveries.until_over()
    assert slack.overdue == []
    await acme.dm(ann).until("You said: hello")


@pytest.mark.usefixtures("impatient")
async def test_a_command_a_button_and_a_shortcut_are_acknowledged_also_where_they_take_long(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User, bob: User
) -> None:
    question = await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    await bot.settled()
    slack.faults.add("users.info", 429, retry_after_s=1, times=6)
    slack.faults.add("views.open", 429, retry_after_s=1)
    done = [
        await acme.slash(bob, general, "/pajama", "ask me too"),
        await acme.press(bob, general.answers[0], "pajama_rate", "👎"),
        await acme.shortcut(bob, question, "pajama_answer"),
    ]
    for each in done:
        assert await each.acknowledged()
        assert each.delivery is not None and (each.delivery.acknowledged_after_s or 9) < 0.9
    await general.until("You said: me too")


async def test_slack_says_that_a_command_failed_where_the_bot_ends_before_it_is_done(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(errands, "_END_WITHIN_S", 0.0)
    slack.deliveries.acknowledge_s = 0.5
    slack.faults.add("chat.postMessage", "hang")
    asked = await acme.slash(ann, general, "/pajama", "ask what is up")
    await slack.until(lambda: slack.faults.struck)
    await bot.stop()
    assert not await asked.acknowledged()
    await bot.start()
    await bot.settled()
    assert general.answers == [] and worker.answered == [], "it is not done behind anybody's back"


async def test_messages_of_one_moment_are_answered_in_their_order(
    bot: Bot, worker: ScriptedWorker, acme: Team, ann: User
) -> None:
    dm = acme.dm(ann)
    root = dm.begin(ann)
    for number in range(5):
        await dm.say(ann, f"message {number}", thread=root)
    await bot.settled()
    await dm.until("You said: message 4")
    told = [answer.read for answer in dm.answers]
    assert told == sorted(told) and len(told) == 5


@pytest.mark.parametrize("again", ["by a second process", "by a retry"])
async def test_a_command_that_is_told_twice_is_done_once(
    bot: Bot, second_bot: Bot, slack: StandInSlack, acme: Team, general: Channel, ann: User, again: str
) -> None:
    await general.say(ann, "<@BOT> /reset")  # as a mention and as a message, which go to different processes
    await slack.deliveries.until_over()
    if again == "by a retry":
        for told in list(slack.deliveries.sent):
            slack.deliveries.again(told)
            slack.deliveries.again(told)
        await slack.deliveries.until_over()
    await bot.settled()
    assert [answer.read for answer in general.answers] == [text("reset_done")]


async def test_a_refusal_is_told_once_by_all_processes(
    bot: Bot, second_bot: Bot, slack: StandInSlack, general: Channel, ann: User
) -> None:
    await general.say(ann, "<@BOT> /hlep")
    await slack.deliveries.until_over()
    await bot.settled()
    assert len(general.answers) == 1


async def test_a_slash_command_that_is_told_twice_asks_once(
    bot: Bot, second_bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    asked = await acme.slash(ann, general, "/pajama", "ask what is up")
    assert asked.delivery is not None
    slack.deliveries.again(asked.delivery)
    await slack.deliveries.until_over()
    await general.until("You said: what is up")
    await bot.settled()
    assert len(worker.answered) == 1 and len(slack.requests_to("chat.postMessage")) == 1


async def test_a_command_that_the_database_kept_from_being_done_is_done_at_a_retry(
    bot: Bot, slack: StandInSlack, acme: Team, ann: User, database: Database
) -> None:
    slack.deliveries.acknowledge_s, slack.deliveries.retry_after_s = 0.5, (0.0, 0.0, 0.0)
    rename(database, "conversation", "away")
    await acme.dm(ann).say(ann, "/reset")
    (told,) = slack.deliveries.named("message")
    await slack.until(lambda: len(told.attempts) == 2)
    rename(database, "away", "conversation")
    await slack.deliveries.until_over()
    await bot.settled()
    assert told.acknowledged
    assert [answer.read for answer in acme.dm(ann).answers] == [text("reset_done")]


def rename(database: Database, table: str, name: str) -> None:
    with database.write() as session:
        session.execute(sql(f"ALTER TABLE {table} RENAME TO {name}"))
