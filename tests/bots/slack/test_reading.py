"""Reading along: what is said to others, where that is to be read, and what of it reaches the model."""

from __future__ import annotations

import pytest

from core.service import Service
from core.values import Person, Place
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.message import Message
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


@pytest.fixture
async def reads(service: Service, acme: Team) -> None:
    """Acme lets the bot read along."""
    place = Place(platform="slack", workspace=acme.id, conversation="any")
    await service.change_setting(place, "read_context", "on")


async def asked(bot: Bot, channel: Channel, person: User, words: str, thread: Message | None = None) -> Message:
    """Mention the bot and wait for the answer; the question."""
    question = await channel.say(person, f"<@BOT> {words}", thread=thread)
    await channel.until(f"You said: {words}")
    await bot.settled()
    return question


async def seen(service: Service, team: Team, channel: Channel, root: Message) -> str:
    """What the model saw for the newest question of a thread."""
    place = Place(platform="slack", workspace=team.id, conversation=f"{channel.id}:{root.ts}")
    turn = (await service.history(place))[-1]
    return "\n".join(message.text for message in (await service.why(place, turn.turn_id)).messages)


@pytest.mark.usefixtures("reads")
async def test_a_thread_is_read_when_the_bot_is_first_asked_in_it_and_heard_from_then_on(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    bob: User,
) -> None:  # fmt: skip
    root = await general.say(ann, "the fern is yellow")
    await general.say(bob, "too much sun", thread=root)
    await bot.settled()
    await bot.stop()  # what it heard is gone
    await bot.start()
    await asked(bot, general, ann, "who is right?", root)
    assert "the fern is yellow" in await seen(service, acme, general, root)
    assert "too much sun" in await seen(service, acme, general, root)
    await general.say(bob, f"{ann.mention} I am", thread=root)
    await asked(bot, general, ann, "and now?", root)
    assert "I am" in await seen(service, acme, general, root)
    assert len(slack.requests_to("conversations.replies")) == 1


@pytest.mark.usefixtures("reads")
async def test_a_thread_that_slack_does_not_show_keeps_nobody_from_an_answer(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    root = await general.say(ann, "the fern is yellow")
    await bot.settled()
    await bot.stop()
    await bot.start()
    slack.faults.add("conversations.replies", 429, retry_after_s=60)
    await asked(bot, general, ann, "why?", root)
    assert "yellow" not in await seen(service, acme, general, root)


async def test_others_are_not_read_where_nobody_allowed_it(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    bob: User,
) -> None:  # fmt: skip
    root = await general.say(ann, "the fern is yellow")
    await general.say(bob, "too much sun", thread=root)
    await asked(bot, general, ann, "who is right?", root)
    assert "sun" not in await seen(service, acme, general, root)
    assert slack.requests_to("conversations.replies") == []


@pytest.mark.usefixtures("reads")
async def test_what_is_deleted_or_of_who_opted_out_is_not_read(
    bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, general: Channel, ann: User, bob: User
) -> None:
    await service.privacy.opt_out(
        Place(platform="slack", workspace=acme.id, conversation="any"), Person(id=bob.id), True
    )
    await general.say(ann, "kept words")
    gone = await general.say(ann, "deleted words")
    await general.say(bob, "private words")
    await bot.settled()
    await general.delete(gone)
    await bot.settled()
    root = await asked(bot, general, ann, "what was said?")
    prompt = await seen(service, acme, general, root)
    assert "kept words" in prompt
    assert "deleted words" not in prompt and "private words" not in prompt


@pytest.mark.usefixtures("reads")
async def test_what_was_read_and_is_said_to_the_bot_by_an_edit_is_answered(
    bot: Bot, worker: ScriptedWorker, general: Channel, ann: User, bob: User
) -> None:
    overheard = await general.say(bob, "does it rain?")
    await asked(bot, general, ann, "hello")
    await general.edit(overheard, "<@BOT> does it rain?")
    await general.until("You said: does it rain?")
    await bot.settled()
    assert len(worker.answered) == 2
