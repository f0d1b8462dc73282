"""`pajama bot discord` as a process of its own: start, degrade, health, stop, and what is said where it cannot run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bots.discord import doctor
from core.settings import Settings, variable
from pajama.stack import Stack
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import ScriptedWorker


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The settings as a process gets them."""
    names = ("data_dir", "database_url", "redis_url", "redis_prefix", "discord_api_base", "discord_gateway_url")
    given = {variable(name): str(getattr(settings, name)) for name in names}
    token = {variable("discord_token"): settings.discord_token.get_secret_value()}
    return {**os.environ, **given, **token, "PAJAMA_LOG_FORMAT": "json", **more}


async def pajama(settings: Settings, *arguments: str, **more: str) -> tuple[int, str, str]:
    """Run a command to its end: its exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pajama",
        *arguments,
        env=environment(settings, **more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def running(settings: Settings, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The bot's process, killed at the end where it still runs."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pajama", "bot", "discord", env=environment(settings), stdout=out, stderr=out
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_it_answers_says_that_it_is_well_and_ends_at_a_sigterm(
    discord: StandInDiscord, settings: Settings, worker: ScriptedWorker, general: Channel, ann: User, tmp_path: Path
) -> None:
    assert (await pajama(settings, "health", "discord"))[0] == 1
    assert not Stack(settings).connected("discord")
    async with running(settings, tmp_path / "log") as process:
        await discord.until_connected()
        await general.say(ann, "hello", mentions=[discord.bot])
        await general.until("You said: hello")
        while (await pajama(settings, "health", "discord"))[0] != 0:
            assert process.returncode is None
        assert Stack(settings).connected("discord")  # as `pajama up` shows it
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    modules = {name for name in ("torch", "transformers") if name in (tmp_path / "log").read_text()}
    assert modules == set()


async def test_without_message_content_it_goes_on_and_says_so_once(
    discord: StandInDiscord, settings: Settings, worker: ScriptedWorker, general: Channel, ann: User, tmp_path: Path
) -> None:
    discord.message_content_allowed = False
    async with running(settings, tmp_path / "log"):
        await discord.until_connected()
        await general.say(ann, "hello", mentions=[discord.bot])
        await general.until("You said: hello")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    assert [line.get("action") for line in lines].count("discord_degraded") == 1


async def test_a_token_that_is_refused_is_named(discord: StandInDiscord, settings: Settings) -> None:
    code, _, err = await pajama(settings, "bot", "discord", PAJAMA_DISCORD_TOKEN="wrong.token")
    assert code == 2 and "PAJAMA_DISCORD_TOKEN" in err and "Traceback" not in err
    code, _, err = await pajama(settings, "bot", "discord", PAJAMA_DISCORD_TOKEN="")
    assert code == 2 and "PAJAMA_DISCORD_TOKEN is empty" in err


async def test_a_discord_that_is_away_at_the_start_is_waited_for(
    discord: StandInDiscord, settings: Settings, worker: ScriptedWorker, general: Channel, ann: User, tmp_path: Path
) -> None:
    discord.faults.add("GET /users/@me", "reset")
    discord.faults.add("GET /users/@me", 503)
    discord.faults.add(routes.GATEWAY_BOT, "reset")
    discord.faults.add(routes.GATEWAY_BOT, 503)
    async with running(settings, tmp_path / "log") as process:
        await discord.until_connected()
        await general.say(ann, "hello", mentions=[discord.bot])
        await general.until("You said: hello")
        assert process.returncode is None
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert "Unclosed" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("name", ["PAJAMA_DISCORD_API_BASE", "PAJAMA_DISCORD_GATEWAY_URL"])
async def test_an_address_that_is_none_is_named(discord: StandInDiscord, settings: Settings, name: str) -> None:
    code, _, err = await pajama(settings, "bot", "discord", **{name: "discord.example"})
    assert code == 2 and name in err


class TestDoctor:
    async def test_all_is_well(self, discord: StandInDiscord, settings: Settings, general: Channel) -> None:
        code, out, _ = await pajama(settings, "doctor", "discord", "--json")
        findings = {finding["what"]: finding for finding in json.loads(out)}
        assert code == 0
        assert {what for what, finding in findings.items() if finding["verdict"] == "ok"} >= {
            "Token", "Clock", "Rate limit", "Message Content", "Connections", "Shop",
        }  # fmt: skip
        assert findings["Commands"]["verdict"] == "warning"  # nobody has registered them yet

    async def test_what_is_missing_is_named(
        self, discord: StandInDiscord, settings: Settings, shop: Guild, general: Channel
    ) -> None:
        discord.message_content_allowed = False
        general.deny(discord.bot, "send_messages")
        _, out, _ = await pajama(settings, "doctor", "discord", "--json")
        findings = {finding["what"]: finding for finding in json.loads(out)}
        assert findings["Message Content"]["verdict"] == "warning"
        assert "#general lacks send_messages" in findings["Shop"]["detail"]

    async def test_more_guilds_than_it_looks_at_are_said(
        self, discord: StandInDiscord, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Route, "BASE", Route.BASE)
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
        monkeypatch.setattr(doctor, "MOST_GUILDS", 2)
        discord.add_guilds(3, members=3, channels=1)
        findings = {finding.what: finding.detail async for finding in doctor.examine(settings)}
        assert {"Guild 0", "Guild 1", "Guild 2"} & findings.keys() == {"Guild 0", "Guild 1"}
        assert findings["Guilds"] == "more than 2: the others are not looked at"

    async def test_being_held_back_is_said(self, discord: StandInDiscord, settings: Settings) -> None:
        discord.faults.add("GET /users/@me", 429, times=9, everywhere=True, retry_after_s=40)
        code, out, _ = await pajama(settings, "doctor", "discord", "--json")
        findings = {finding["what"]: finding for finding in json.loads(out)}
        assert code == 1 and "all of this bot's requests for 41 s" in findings["Rate limit"]["detail"]

    async def test_what_cannot_be_asked_is_said(self, discord: StandInDiscord, settings: Settings) -> None:
        discord.faults.add("GET /gateway/bot", 503, times=9)
        code, out, err = await pajama(settings, "doctor", "discord", "--json")
        assert code == 1 and json.loads(out)[-1]["what"] == "Discord" and "Traceback" not in err

    async def test_a_refused_token_fails(self, discord: StandInDiscord, settings: Settings) -> None:
        code, out, _ = await pajama(settings, "doctor", "discord", "--json", PAJAMA_DISCORD_TOKEN="wrong.token")
        assert code == 1
        assert [finding["verdict"] for finding in json.loads(out)] == ["failure"]

    async def test_a_discord_that_is_away_is_said(self, discord: StandInDiscord, settings: Settings) -> None:
        nowhere = "http://127.0.0.1:9/api/v10"
        code, out, _ = await pajama(settings, "doctor", "discord", "--json", PAJAMA_DISCORD_API_BASE=nowhere)
        assert code == 1 and "cannot be reached" in json.loads(out)[0]["detail"]


async def test_the_invitation_asks_for_what_is_needed_and_no_more(discord: StandInDiscord, settings: Settings) -> None:
    code, out, _ = await pajama(settings, "discord", "invite-url")
    assert code == 0
    assert f"client_id={discord.application_id}" in out and f"permissions={doctor.INVITED_WITH.value}" in out


async def test_an_invitation_that_cannot_be_asked_for_is_one_sentence(
    discord: StandInDiscord, settings: Settings
) -> None:
    nowhere = "http://127.0.0.1:9/api/v10"
    code, _, err = await pajama(settings, "discord", "invite-url", PAJAMA_DISCORD_API_BASE=nowhere)
    assert code == 4 and f"cannot be reached at {nowhere}" in err and "Traceback" not in err
