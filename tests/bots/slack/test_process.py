"""`pajama bot slack` as a process of its own, in both modes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from bots.slack.manifest import EVENTS_PATH, INSTALL_PATH
from core.settings import Settings, variable
from pajama.ports import free_port
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.standin.browser import install
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The settings as a process gets them."""
    names = ("data_dir", "database_url", "redis_url", "redis_prefix", "slack_api_base")
    given = {variable(name): str(getattr(settings, name)) for name in names}
    for name in ("slack_bot_token", "slack_app_token", "slack_signing_secret"):
        given[variable(name)] = getattr(settings, name).get_secret_value()
    return {**os.environ, **given, "PAJAMA_LOG_FORMAT": "json", **more}


async def pajama(settings: Settings, *arguments: str, **more: str) -> asyncio.subprocess.Process:
    """Start a command."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pajama", *arguments, env=environment(settings, **more),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def until_health_says(words: str, settings: Settings, process: asyncio.subprocess.Process) -> None:
    """Wait for the health check to say so; nothing where all is well."""
    while True:
        health = await pajama(settings, "health", "slack")
        _, said = await health.communicate()
        if words in said.decode() and (health.returncode == 0) is (words == ""):
            return
        assert process.returncode is None


async def until_healthy(settings: Settings, process: asyncio.subprocess.Process) -> None:
    await until_health_says("", settings, process)


async def test_socket_mode(
    slack: StandInSlack, settings: Settings, worker: ScriptedWorker, general: Channel, ann: User, tmp_path: Path
) -> None:
    process = await pajama(settings, "bot", "slack")
    try:
        await slack.until_connected()
        await general.say(ann, "<@BOT> hello")
        await general.until("You said: hello")
        await until_healthy(settings, process)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_http_mode_and_what_is_refused_there(
    slack: StandInSlack, settings: Settings, worker: ScriptedWorker, general: Channel, ann: User
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}{EVENTS_PATH}"
    more = {"PAJAMA_SLACK_MODE": "http", "PAJAMA_SLACK_HTTP_PORT": str(port)}
    process = await pajama(settings, "bot", "slack", **more)
    try:
        await until_healthy(settings, process)
        async with aiohttp.ClientSession() as session:
            for told_at in ("soon", "", str(int(time.time())), "1500000000"):
                headers = {"X-Slack-Request-Timestamp": told_at, "X-Slack-Signature": "v0=00"}
                async with session.post(url, data=b"{}", headers=headers) as answer:
                    assert answer.status == 401
        slack.request_url = url
        await general.say(ann, "<@BOT> hello")
        await general.until("You said: hello")
        await slack.deliveries.until_over()
        assert slack.overdue == []
    finally:
        slack.request_url = None
        process.kill()
        await process.communicate()


async def test_who_took_the_app_away_finds_it_waiting_and_health_says_so(
    slack: StandInSlack, settings: Settings, acme: Team
) -> None:
    acme.deactivate()
    process = await pajama(settings, "bot", "slack")
    try:
        await slack.until_connected()
        await until_health_says("install it again", settings, process)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")
async def test_an_app_that_many_install_behind_a_url(
    slack: StandInSlack, settings: Settings, worker: ScriptedWorker
) -> None:
    port, brick = free_port(), slack.add_team("Brick", users=["Ann"], installed=False)
    url = f"http://127.0.0.1:{port}"
    more = {
        "PAJAMA_SLACK_MODE": "http", "PAJAMA_SLACK_HTTP_PORT": str(port), "PAJAMA_SLACK_PUBLIC_URL": url,
        "PAJAMA_SLACK_BOT_TOKEN": "", "PAJAMA_SLACK_CLIENT_ID": slack.client_id,
        "PAJAMA_SLACK_CLIENT_SECRET": slack.client_secret,
    }  # fmt: skip
    process = await pajama(settings, "bot", "slack", **more)
    try:
        await until_healthy(settings, process)
        assert (await install(brick, brick.user("Ann"), f"{url}{INSTALL_PATH}")).status == 200
        slack.request_url = f"{url}{EVENTS_PATH}"
        channel = brick.add_channel("general")
        await channel.say(brick.user("Ann"), "<@BOT> hello")
        await channel.until("You said: hello")
    finally:
        slack.request_url = None
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("name", ["PAJAMA_SLACK_BOT_TOKEN", "PAJAMA_SLACK_APP_TOKEN"])
async def test_a_missing_token_is_named(slack: StandInSlack, settings: Settings, name: str) -> None:
    process = await pajama(settings, "bot", "slack", **{name: ""})
    _, err = await process.communicate()
    assert process.returncode == 2 and name in err.decode()
