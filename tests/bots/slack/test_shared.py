"""Channels of every kind, those shared with other organisations among them, and workspaces of an organisation."""

from __future__ import annotations

import pytest

from bots.texts import text
from core.service import Service
from core.values import Place
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import GROUP, Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


@pytest.fixture
def shared(acme: Team) -> Channel:
    """A channel that another organisation shares."""
    channel = acme.add_channel("shared")
    channel.ext_shared = True
    return channel


@pytest.fixture
def eve(acme: Team, slack: StandInSlack, shared: Channel) -> User:
    """An admin of the other organisation."""
    eve = acme.add_user("Eve", admin=True)
    eve.team_id = slack.add_team("Others", installed=False).id
    shared.members[eve.id] = eve
    return eve


async def test_who_is_of_another_organisation_is_answered_in_a_stream_of_theirs_and_is_no_admin(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, shared: Channel, eve: User
) -> None:
    await shared.say(eve, "<@BOT> hello")
    await shared.until("You said: hello")
    await bot.settled()
    (started,) = slack.requests_to("chat.startStream")
    assert started.arguments["recipient_team_id"] == eve.team_id
    await shared.say(eve, "<@BOT> /settings persona A pirate")
    await shared.until(text("error_admin"))


async def test_a_file_in_a_shared_channel_is_asked_for_and_read(
    bot: Bot, worker: ScriptedWorker, shared: Channel, ann: User
) -> None:
    await shared.say(ann, "<@BOT> see", files=[("a.txt", b"words in a file")])
    await shared.until("words in a file")
    await bot.settled()


async def test_a_file_that_slack_does_not_describe_keeps_nobody_from_an_answer(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, shared: Channel, ann: User
) -> None:
    slack.faults.add("files.info", "file_not_found")
    await shared.say(ann, "<@BOT> see", files=[("a.txt", b"words in a file")])
    await shared.until(text("attachment_unseen", name="file"))
    await bot.settled()


@pytest.mark.parametrize("kind", [GROUP, "mpim"])
async def test_in_private_channels_and_group_dms_a_mention_is_answered_and_its_thread(
    bot: Bot, worker: ScriptedWorker, acme: Team, ann: User, kind: str
) -> None:
    channel = acme.add_channel("private", members=[ann], private=True)
    channel.type = kind
    question = await channel.say(ann, "<@BOT> hello")
    await channel.until("You said: hello")
    await channel.say(ann, "and more", thread=question)
    await channel.until("You said: and more")
    await channel.say(ann, "to the others")
    await bot.settled()
    assert len(channel.answers) == 2


async def test_a_reply_that_is_also_sent_to_the_channel_is_answered_in_its_thread(
    bot: Bot, worker: ScriptedWorker, general: Channel, ann: User
) -> None:
    question = await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    await bot.settled()
    await general.say(ann, "for all to see", thread=question, broadcast=True)
    await general.until("You said: for all to see")
    await bot.settled()
    assert {answer.thread_ts for answer in general.answers} == {question.ts}


async def test_a_workspace_of_an_organisation_is_named_with_it(
    idle_bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, general: Channel, ann: User
) -> None:
    acme.enterprise_id = "E0ACME"
    await idle_bot.start()
    question = await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    await idle_bot.settled()
    place = Place(platform="slack", workspace=f"E0ACME-{acme.id}", conversation=f"{general.id}:{question.ts}")
    assert len(await service.history(place)) == 1


async def test_an_admin_whom_slack_does_not_name_is_told_that_it_is_not_known(
    bot: Bot, slack: StandInSlack, acme: Team, general: Channel
) -> None:
    slack.faults.add("users.info", 429)
    await general.say(acme.owner, "<@BOT> /settings persona A pirate")
    await general.until(text("error_rank"))
    assert not any(text("error_admin") in message.read for message in general.messages)
