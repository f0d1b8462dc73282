"""Whom the bot does not answer, and how often it says so."""

from __future__ import annotations

from bots.texts import text
from core.service import Service
from core.values import Place
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.team import Team


async def test_in_a_channel_that_is_left_alone_it_says_so_once_and_to_each_who_names_it(
    bot: Bot, service: Service, acme: Team, general: Channel, ann: User, bob: User
) -> None:
    place = Place(platform="slack", workspace=acme.id, conversation="any")
    await service.change_setting(place, "answer", "always")
    await service.change_setting(place, "allowed_channels", "C0ELSEWHERE")
    for person in (ann, bob, ann):
        await general.say(person, "shall we have lunch?")
    await bot.settled()
    assert [answer.read for answer in general.answers] == [text("error_access")]
    await general.say(ann, "<@BOT> hello")
    await bot.settled()
    assert len(general.answers) == 2


async def test_who_is_blocked_is_told_so_once_in_the_threads_of_a_channel(
    bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, general: Channel, ann: User, bob: User
) -> None:
    place = Place(platform="slack", workspace=acme.id, conversation="any")
    await service.change_setting(place, "blocked_users", bob.id)
    question = await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    for number in range(3):
        await general.say(bob, f"message {number}", thread=question)
    await bot.settled()
    assert [answer.read for answer in general.answers].count(text("error_access")) == 1
