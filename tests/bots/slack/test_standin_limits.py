"""The stand-in's refusals: tokens and scopes, rate limits, and faults on demand."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.oauth.installation_store import Bot
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator
from slack_sdk.web.async_client import AsyncWebClient

from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.world import World


class TestTokens:
    async def test_tokens_are_judged(self) -> None:
        async with StandInSlack() as slack:
            world, other = World(slack), slack.add_team("Other")
            codes = []
            for token in (None, "xoxb-wrong", slack.app_token):
                world.client.token = token
                codes.append(await world.call("auth.test"))
            world.client.token = world.team.bot_token
            world.team.revoke_tokens()
            codes.append(await world.call("auth.test"))
            world.client.token = other.bot_token
            other.deactivate()
            codes.append(await world.call("auth.test"))
            assert codes == [
                "not_authed",
                "invalid_auth",
                "not_allowed_token_type",
                "token_revoked",
                "account_inactive",
            ]

    async def test_a_missing_scope_is_named(self) -> None:
        async with StandInSlack() as slack:
            slack.scopes -= {"chat:write"}
            world = World(slack)
            with pytest.raises(SlackApiError) as refused:
                await world.client.chat_postMessage(channel=world.channel.id, text="x")
            assert (
                refused.value.response["error"] == "missing_scope" and refused.value.response["needed"] == "chat:write"
            )
            headers = (await world.client.auth_test()).headers
            assert "chat:write" not in headers["x-oauth-scopes"].split(",")

    @pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")  # slack_sdk uses it
    async def test_an_installation_gives_a_token_that_is_refreshed(self) -> None:
        async with StandInSlack() as slack:
            slack.tokens.rotation = True
            team = slack.add_team("Acme", users=["Ann"], installed=False, enterprise_id="E1")
            code = team.allow(team.user("Ann"), redirect_uri="https://pajama/back")
            client = AsyncWebClient(base_url=slack.api_base)
            secrets = {"client_id": slack.client_id, "client_secret": slack.client_secret}
            got = await client.oauth_v2_access(**secrets, code=code, redirect_uri="https://pajama/back")
            assert got["access_token"] == team.bot_token and got["bot_user_id"] == team.bot.id
            assert got["enterprise"]["id"] == "E1" and got["authed_user"]["id"] == team.user("Ann").id
            with pytest.raises(SlackApiError, match="invalid_code"):
                await client.oauth_v2_access(**secrets, code=code)
            with pytest.raises(SlackApiError, match="bad_client_secret"):
                await client.oauth_v2_access(**(secrets | {"client_secret": "x"}), code=code)
            bot = Bot(
                bot_token=got["access_token"], bot_id=team.bot_id, bot_user_id=team.bot.id, installed_at=0.0,
                bot_refresh_token=got["refresh_token"], bot_token_expires_at=1,
            )  # fmt: skip
            rotated = await AsyncTokenRotator(client=client, **secrets).perform_bot_token_rotation(bot=bot)
            assert rotated is not None and rotated.bot_token == team.bot_token != got["access_token"]
            slack.clock.advance(slack.tokens.expires_s)
            with pytest.raises(SlackApiError, match="token_expired"):
                await client.auth_test(token=got["access_token"])


class TestLimits:
    @pytest.mark.parametrize(
        ("method", "allowed"),
        [("chat.update", 50), ("users.info", 100), ("chat.startStream", 20), ("apps.uninstall", 1)],
    )
    async def test_a_tier_allows_so_many_a_minute_in_each_workspace(self, method: str, allowed: int) -> None:
        async with StandInSlack() as slack:
            world, other = World(slack), slack.add_team("Other")
            codes = [await world.call(method) for _ in range(allowed + 1)]
            assert "ratelimited" not in codes[:-1] and codes[-1] == "ratelimited"
            refused = slack.requests[-1]
            assert refused.status == 429 and slack.limits.exceeded == [(method, world.team.id)]
            await world.call(method)
            assert slack.limits.impatient == [(method, world.team.id)]
            world.client.token = other.bot_token
            assert await world.call(method) != "ratelimited"
            world.client.token = world.team.bot_token
            slack.clock.advance(60)
            assert await world.call(method) != "ratelimited"

    async def test_posts_come_once_a_second_in_a_channel(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            other = world.team.add_channel("other")
            for _ in range(slack.limits.post_burst):
                await world.client.chat_postMessage(channel=world.channel.id, text="x")
            with pytest.raises(SlackApiError) as refused:
                await world.client.chat_postMessage(channel=world.channel.id, text="x")
            assert refused.value.response.headers["Retry-After"] == "1"
            await world.client.chat_postMessage(channel=other.id, text="x")
            slack.clock.advance(1)
            await world.client.chat_postMessage(channel=world.channel.id, text="x")

    async def test_limits_can_be_changed(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            slack.limits.by_method["auth.test"] = 1
            slack.limits.retry_after_s = 7
            codes = [await world.call("auth.test") for _ in range(2)]
            assert codes[1] == "ratelimited"
            slack.limits.enabled = False
            assert (await world.call("auth.test"))["ok"]


class TestFaults:
    async def test_every_fault_strikes_as_often_as_arranged(self) -> None:
        async with StandInSlack() as slack:
            world = World(slack)
            post = {"channel": world.channel.id, "text": "x"}
            slack.faults.add("chat.postMessage", 429, retry_after_s=30)
            slack.faults.add("chat.postMessage", 503, after=0)
            slack.faults.add("chat.postMessage", "fatal_error")
            slack.faults.add("chat.postMessage", "internal_error", work_done=True, team_id=world.team.id)
            statuses = []
            for _ in range(4):
                with pytest.raises(SlackApiError) as failed:
                    await world.client.chat_postMessage(**post)
                statuses.append((failed.value.response.status_code, (failed.value.response.data or {}).get("error")))
            assert statuses == [(429, "ratelimited"), (503, None), (200, "fatal_error"), (200, "internal_error")]
            assert world.channel.texts == ["x"]  # the last one was done all the same
            slack.faults.add("chat.postMessage", "reset")
            with pytest.raises(aiohttp.ClientError):
                await world.client.chat_postMessage(**post)
            slack.faults.add(None, "hang")
            hanging = asyncio.create_task(world.client.chat_postMessage(**post))
            await slack.until(lambda: len(slack.faults.struck) == 6)
            hanging.cancel()
            await asyncio.gather(hanging, return_exceptions=True)
            assert len(slack.requests_to("chat.postMessage")) == 6
            assert (await world.client.chat_postMessage(**post))["ok"]
