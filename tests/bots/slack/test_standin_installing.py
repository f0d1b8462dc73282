"""Installing an unmodified AsyncApp in several workspaces of the stand-in, with bolt's own OAuth flow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from slack_bolt.async_app import AsyncApp
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_sdk.oauth.installation_store import FileInstallationStore
from slack_sdk.oauth.state_store import FileOAuthStateStore
from slack_sdk.web.async_client import AsyncWebClient

from tests.bots.slack.standin.browser import Page, install
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

pytestmark = pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")  # slack_sdk uses it


@asynccontextmanager
async def installable(slack: StandInSlack, folder: Path) -> AsyncIterator[str]:
    """An app that answers every message; its URL."""
    settings = AsyncOAuthSettings(
        client_id=slack.client_id,
        client_secret=slack.client_secret,
        scopes=["chat:write", "channels:history"],
        installation_store=FileInstallationStore(base_dir=str(folder), client_id=slack.client_id),
        state_store=FileOAuthStateStore(expiration_seconds=60, base_dir=str(folder)),
    )
    client = AsyncWebClient(base_url=slack.api_base)
    app = AsyncApp(client=client, signing_secret=slack.signing_secret, oauth_settings=settings)
    app.enable_token_revocation_listeners()

    @app.event("message")
    async def answer(event: dict[str, Any], say: Any) -> None:
        await say(f"You said {event['text']}")

    runner = web.AppRunner(app.server(port=0, path="/slack/events").web_app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    slack.request_url = f"{url}/slack/events"
    try:
        yield url
    finally:
        await runner.cleanup()


async def visit(team: Team, url: str, **choice: Any) -> Page:
    """Go through an installation."""
    back_url = f"{url}/slack/oauth_redirect"
    return await install(team, team.user("Ann"), f"{url}/slack/install", back_url=back_url, **choice)


async def test_two_workspaces_install_and_one_leaves_and_comes_back(tmp_path: Path) -> None:
    async with StandInSlack() as slack, installable(slack, tmp_path) as url:
        slack.tokens.rotation = True
        acme, brick = (slack.add_team(name, users=["Ann"], installed=False) for name in ("Acme", "Brick"))
        for team in (acme, brick):
            page = await visit(team, url)
            assert page.status == 200 and "Thank you" in page.text
            channel = team.add_channel("general")
            await channel.say(team.user("Ann"), team.name)
            await channel.until(f"You said {team.name}")
        assert {request.team_id for request in slack.requests_to("chat.postMessage")} == {acme.id, brick.id}
        acme.uninstall()
        await slack.deliveries.until_over(lambda delivery: delivery.name == "app_uninstalled")
        (gone,) = slack.deliveries.named("app_uninstalled")
        assert gone.acknowledged and not acme.installed
        assert (await visit(acme, url)).status == 200 and acme.installed


async def test_a_cancelled_and_a_forged_installation_give_nothing(tmp_path: Path) -> None:
    async with StandInSlack() as slack, installable(slack, tmp_path) as url:
        team = slack.add_team("Acme", users=["Ann"], installed=False)
        assert "access_denied" in (await visit(team, url, allow=False)).text
        assert (await visit(team, url, state="forged")).status >= 400
        assert not team.installed
