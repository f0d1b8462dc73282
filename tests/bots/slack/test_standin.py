"""The stand-in's ways to the app: an unmodified AsyncApp hears everything, in Socket Mode and behind a request URL."""

from __future__ import annotations

import pytest

from tests.bots.slack.plain_app import behind_url, in_socket_mode
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack

MODES = {"socket": in_socket_mode, "http": behind_url}
both_modes = pytest.mark.parametrize("mode", MODES)


class World:
    """A workspace with a channel and a person."""

    def __init__(self, slack: StandInSlack) -> None:
        self.team = slack.add_team("Acme", users=["Ann"])
        self.ann: User = self.team.user("Ann")
        self.channel: Channel = self.team.add_channel("general")


class TestEvents:
    @both_modes
    async def test_a_mention_is_told_twice_with_one_timestamp(self, mode: str) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            async with MODES[mode](slack, world.team) as app:
                message = await world.channel.say(world.ann, "<@BOT> 1 < 2")
                await app.until_told("app_mention", "message")
                mention, written = (body for _, body in app.told)
                assert mention["event"]["ts"] == written["event"]["ts"] == message.ts
                assert mention["event_id"] != written["event_id"]
                assert written["event"]["text"] == f"<@{world.team.bot.id}> 1 &lt; 2"
                assert written["event"]["channel_type"] == "channel"
                assert written["authorizations"][0]["team_id"] == world.team.id
                await slack.deliveries.until_over()
                assert slack.overdue == []
            assert slack.violations == []
