"""`pajama doctor slack`: what is wrong, and where it is put right."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from slack_sdk.oauth.installation_store import Installation

from bots.slack.doctor import examine
from bots.slack.installations import Installations
from bots.slack.manifest import EVENTS, SCOPES
from core.findings import Finding
from core.service import Service
from core.settings import Settings, variable
from pajama.ports import free_port
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team
from tests.bots.slack.test_process import environment


async def look(settings: Settings, **changed: object) -> dict[str, Finding]:
    """Every finding by what it is about."""
    secret = type(settings.slack_bot_token)
    update = {
        name: secret(str(value)) if isinstance(getattr(settings, name), secret) else value
        for name, value in changed.items()
    }
    return {finding.what: finding async for finding in examine(settings.model_copy(update=update))}


async def test_all_is_well(bot: Bot, worker: ScriptedWorker, settings: Settings, general: Channel, ann: User) -> None:
    await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    await bot.settled()
    found = await look(settings)
    assert {finding.verdict for finding in found.values()} == {"ok"}
    assert "Acme" in found["Bot token"].detail
    assert "not yet: agent_session_stopped" in found["Events"].detail
    assert "app_mention (" not in found["Events"].detail and "message.channels (" not in found["Events"].detail


async def test_nothing_is_set(settings: Settings) -> None:
    (found,) = (await look(settings, slack_bot_token="")).values()
    assert found.verdict == "failure" and variable("slack_client_id") in found.detail


@pytest.mark.parametrize(
    ("changed", "what", "says"),
    [
        ({"slack_app_token": ""}, "Settings", "PAJAMA_SLACK_APP_TOKEN"),
        ({"slack_app_token": "xoxb-1"}, "Socket Mode", "App-Level Tokens"),
        ({"slack_app_token": "xapp-unknown"}, "Socket Mode", "invalid_auth"),
        ({"slack_bot_token": "xapp-1"}, "Bot token", "begin with xoxb-"),
        ({"slack_bot_token": "xoxb-unknown"}, "Bot token", "invalid_auth"),
        ({"slack_api_base": "http://127.0.0.1:1/api/"}, "Bot token", "cannot be reached"),
        ({"slack_mode": "http", "slack_signing_secret": ""}, "Request URL", "Signing Secret"),
        ({"slack_mode": "http", "slack_signing_secret": "0" * 32}, "Request URL", "PAJAMA_SLACK_PUBLIC_URL"),
        (
            {"slack_mode": "http", "slack_signing_secret": "0" * 32, "slack_public_url": "http://127.0.0.1:1"},
            "Request URL",
            "does not answer",
        ),
    ],
)
async def test_what_is_missing_is_named_with_where_it_is_found(
    settings: Settings, changed: dict[str, object], what: str, says: str
) -> None:
    found = await look(settings, **changed)
    assert says in found[what].detail and found[what].verdict != "ok"


async def test_scopes_that_are_missing_or_too_many(settings: Settings, acme: Team) -> None:
    assert acme.grant is not None
    acme.grant.scopes = set(SCOPES) - {"reactions:read"}
    found = (await look(settings))["Scopes"]
    assert found.verdict == "failure" and "reactions:read (👍" in found.detail and "OAuth & Permissions" in found.detail
    acme.grant.scopes = {*SCOPES, "team:read"}
    found = (await look(settings))["Scopes"]
    assert found.verdict == "warning" and "team:read" in found.detail


async def test_a_workspace_that_took_the_app_away(settings: Settings, acme: Team) -> None:
    acme.deactivate()
    assert "was removed" in (await look(settings))["Bot token"].detail


async def test_a_clock_that_is_off(settings: Settings, slack: StandInSlack) -> None:
    slack.clock.advance(600)
    found = (await look(settings))["Clock"]
    assert found.verdict == "failure" and "clock is -" in found.detail


async def test_nothing_has_come_yet(settings: Settings) -> None:
    found = (await look(settings))["Events"]
    assert found.verdict == "warning" and "Event Subscriptions" in found.detail


async def test_a_request_url_that_answers(idle_bot: Bot, settings: Settings) -> None:
    port, secret = free_port(), "0123456789abcdef" * 2
    changed = {"slack_mode": "http", "slack_http_port": port, "slack_public_url": f"http://127.0.0.1:{port}"}
    idle_bot.settings = settings.model_copy(
        update={**changed, "slack_signing_secret": type(settings.slack_bot_token)(secret)}
    )
    idle_bot.task = asyncio.create_task(idle_bot._run())
    while (
        "does not answer"
        in (found := await look(settings, **changed, slack_signing_secret=secret))["Request URL"].detail
    ):
        assert not idle_bot.task.done()
    assert found["Request URL"].verdict == "ok"
    wrong = (await look(settings, **changed, slack_signing_secret="f" * 32))["Request URL"]
    assert wrong.verdict == "failure" and "401" in wrong.detail


async def test_installations_are_asked_one_by_one(
    settings: Settings, slack: StandInSlack, service: Service, acme: Team
) -> None:
    changed = {"slack_bot_token": "", "slack_client_id": slack.client_id, "slack_client_secret": "s"}
    found = await look(settings, **changed)
    assert found["Installations"].verdict == "warning" and found["Install page"].verdict == "warning"
    store = Installations(service.database, slack.client_id)
    for team, token in (("Acme", acme.bot_token), ("Brick", "xoxb-gone")):
        await store.async_save(
            Installation(
                app_id="A", team_id=team, team_name=team, user_id="U", bot_token=token, bot_id="B", bot_user_id="U2"
            )
        )
    found = await look(settings, **changed, slack_public_url="https://pajama.example.com")
    assert (found["Acme"].verdict, found["Brick"].verdict) == ("ok", "failure")
    assert "Install page" not in found


async def test_the_command_looks_at_database_and_queue_too_and_fails_where_something_is_wrong(
    settings: Settings, slack: StandInSlack
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pajama", "doctor", "slack", "--json", stdout=asyncio.subprocess.PIPE,
        env=environment(settings, PAJAMA_SLACK_APP_TOKEN="xapp-unknown"),
    )  # fmt: skip
    said, _ = await process.communicate()
    found = {each["what"]: each["verdict"] for each in json.loads(said)}
    assert found["Bot token"] == found["Database"] == "ok"
    assert (found["Socket Mode"], found["Slack bot"], process.returncode) == ("failure", "warning", 1)


def test_every_event_and_scope_says_what_it_is_for() -> None:
    assert all(EVENTS.values()) and all(SCOPES.values())
