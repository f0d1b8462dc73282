"""The shortcuts of messages: what they do with somebody's words, and with whose they do nothing."""

from __future__ import annotations

import pytest

from bots.texts import text
from core.service import Service
from core.settings import Settings
from core.values import Person, Place
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.asking import anywhere, ask, until_seen
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

SHORTCUTS = ["pajama_answer", "pajama_translate", "pajama_summarise"]


async def test_a_thread_is_summed_up_below_it(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    bob: User,
) -> None:  # fmt: skip
    root = await general.say(ann, "shall we meet?")
    await general.say(bob, "on Friday", thread=root)
    worker.script["Ann: shall we meet?\n\nBob: on Friday"] = ["They meet on Friday."]
    await acme.shortcut(ann, root, "pajama_summarise")
    await general.until("They meet on Friday.")
    await bot.settled()
    assert general.answers[0].thread_ts == root.ts
    place = Place(platform="slack", workspace=acme.id, conversation=f"{general.id}:{root.ts}")
    (turn,) = await service.history(place)
    assert turn.recipe == "understand"


async def test_of_who_opted_out_nothing_is_read_and_who_asks_is_told_that_it_is_not_all(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    bob: User,
) -> None:  # fmt: skip
    place = Place(platform="slack", workspace=acme.id, conversation="any")
    await service.privacy.opt_out(place, Person(id=bob.id), True)
    root = await general.say(ann, "shall we meet?")
    await general.say(bob, "on Friday", thread=root)
    await acme.shortcut(ann, root, "pajama_summarise")
    await general.until("You said: Ann: shall we meet?")
    await until_seen(slack, general, ann, text("thread_in_part")[:40])
    await bot.settled()
    assert not any("Friday" in answer.read for answer in general.answers)


async def test_a_long_thread_is_read_in_part_and_a_second_one_in_the_same_minute_by_its_message_alone(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, settings: Settings, acme: Team, general: Channel, ann: User
) -> None:
    root = await general.say(ann, "begin")
    for number in range(30):  # of which Slack shows such an app 15 in a minute
        await general.say(ann, f"line {number}", thread=root)
    await acme.shortcut(ann, root, "pajama_summarise")
    await until_seen(slack, general, ann, text("thread_in_part")[:40])
    await general.until("line 13")
    other = await general.say(ann, "another")
    await acme.shortcut(ann, other, "pajama_summarise")
    await until_seen(slack, general, ann, text("thread_unread")[:40])
    await general.until("You said: another")
    await bot.settled()
    assert slack.limits.impatient == []


async def test_a_shortcut_reads_names_where_the_message_has_mentions(
    bot: Bot, worker: ScriptedWorker, acme: Team, general: Channel, ann: User, bob: User
) -> None:
    await ask(bot, general, bob, "hello")
    message = await general.say(ann, f"{bob.mention} is here & well")
    await acme.shortcut(ann, message, "pajama_answer")
    await general.until("You said: @Bob is here & well")
    await bot.settled()


@pytest.mark.parametrize("shortcut", SHORTCUTS)
async def test_whoever_chose_the_message_is_told_where_the_answer_stands(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User, bob: User,
    shortcut: str,
) -> None:  # fmt: skip
    message = await general.say(bob, "bonjour")
    await acme.shortcut(ann, message, shortcut)
    await until_seen(slack, general, ann, text("answer_below"))
    await general.until("You said: ")
    await bot.settled()
    assert not any(text("answer_below") in message.read for message in general.seen_by(bob))
    assert [answer.thread_ts for answer in general.answers] == [message.ts]


@pytest.mark.parametrize("shortcut", SHORTCUTS)
async def test_the_words_of_somebody_who_opted_out_are_left_alone(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    bob: User, shortcut: str,
) -> None:  # fmt: skip
    await service.privacy.opt_out(anywhere(acme), Person(id=bob.id), True)
    message = await general.say(bob, "my private words")
    await acme.shortcut(ann, message, shortcut)
    await until_seen(slack, general, ann, text("error_unwanted"))
    await bot.settled()
    assert worker.answered == [] and general.answers == []
    assert "private words" not in str(await service.privacy.export(anywhere(acme), Person(id=ann.id)))


async def test_who_opted_out_may_have_their_own_words_answered(
    bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, general: Channel, bob: User
) -> None:
    await service.privacy.opt_out(anywhere(acme), Person(id=bob.id), True)
    await acme.shortcut(bob, await general.say(bob, "my words"), "pajama_answer")
    await general.until("You said: my words")
    await bot.settled()


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
async def test_where_the_bot_is_not_nothing_is_kept_and_whoever_asks_is_told_there(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User, shortcut: str,
    private: bool,
) -> None:  # fmt: skip
    outside = acme.add_channel("outside", bot=False, private=private)
    message = await outside.say(ann, "bonjour")
    asked = await acme.shortcut(ann, message, shortcut)
    assert await asked.answered() == text("error_not_in_channel")
    await bot.settled()
    assert worker.answered == [] and await service.waiting("slack") == []
    assert outside.texts == ["bonjour"] and acme.dm(ann).answers == []


@pytest.mark.parametrize("shortcut", SHORTCUTS)
async def test_a_message_that_is_a_file_is_read(
    bot: Bot, worker: ScriptedWorker, acme: Team, general: Channel, ann: User, shortcut: str
) -> None:
    message = await general.say(ann, "", files=[("menu.txt", b"soup of the day")])
    await acme.shortcut(ann, message, shortcut)
    await general.until("soup of the day")
    await bot.settled()


async def test_who_may_not_ask_is_told_so_and_nothing_else(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    await service.change_setting(anywhere(acme), "blocked_users", ann.id)
    await acme.shortcut(ann, await general.say(ann, "bonjour"), "pajama_translate")
    await until_seen(slack, general, ann, text("error_access"))
    await bot.settled()
    assert [message.read for message in general.seen_by(ann)] == ["bonjour", text("error_access")]
