"""How tests of the Slack bot ask, and look at what comes of it."""

from __future__ import annotations

from core.values import Place
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.message import Message
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


def anywhere(team: Team) -> Place:
    """A place of the workspace, for what is the workspace's."""
    return Place(platform="slack", workspace=team.id, conversation="any")


async def ask(bot: Bot, channel: Channel, person: User, words: str) -> Message:
    """Ask in a thread of its own, and wait for the whole answer."""
    question = await channel.say(person, f"<@BOT> {words}")
    await channel.until(f"You said: {words}")
    await bot.settled()
    return question


async def until_seen(slack: StandInSlack, channel: Channel, person: User, words: str) -> None:
    await slack.until(lambda: any(words in message.read for message in channel.seen_by(person)))
