"""A small workspace, and a client in it."""

from __future__ import annotations

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.bots.slack.plain_app import behind_url, in_socket_mode
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.message import Message
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack

MODES = {"socket": in_socket_mode, "http": behind_url}
both_modes = pytest.mark.parametrize("mode", MODES)


class World:
    """A workspace with a channel, a person and a question of hers."""

    def __init__(self, slack: StandInSlack) -> None:
        self.slack = slack
        self.team = slack.add_team("Acme", users=["Ann"])
        self.ann: User = self.team.user("Ann")
        self.channel: Channel = self.team.add_channel("general")
        self.client = AsyncWebClient(token=self.team.bot_token, base_url=slack.api_base, retry_handlers=[])

    async def ask(self) -> Message:
        """A question in the channel."""
        return await self.channel.say(self.ann, "hello?")

    async def call(self, method: str, **arguments: Any) -> Any:
        """Call a method; Slack's error code if it is refused, the answer if not."""
        try:
            return (await self.client.api_call(method, json=arguments)).data
        except SlackApiError as error:
            return error.response["error"]

    @property
    def broken(self) -> list[str]:
        """The rules that were broken."""
        return [violation.rule for violation in self.slack.violations]
