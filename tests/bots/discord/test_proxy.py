"""Behind a proxy: the servers' name means something to the proxy alone, so that whatever goes past it goes nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from yarl import URL

from bots.texts import text
from core.settings import Settings
from tests.bots.discord.conftest import Bot, answered
from tests.bots.discord.looking import ask
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.forwarding import ForwardingProxy
from tests.bots.scripted_worker import ScriptedWorker

NOWHERE = "discord.invalid"


@pytest.fixture
async def proxy(discord: StandInDiscord) -> AsyncIterator[str]:
    async with ForwardingProxy(URL(discord.api_base).port or 0) as url:
        yield url


@pytest.fixture
def settings(settings: Settings, discord: StandInDiscord, proxy: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(StandInDiscord, "cdn_url", discord.cdn_url.replace("127.0.0.1", NOWHERE))
    addresses = {
        "discord_api_base": discord.api_base.replace("127.0.0.1", NOWHERE),
        "discord_gateway_url": discord.gateway_url.replace("127.0.0.1", NOWHERE),
    }
    return settings.model_copy(update={"discord_proxy": proxy, **addresses})


async def test_answers_to_messages_commands_and_menus_all_go_through_it(
    bot: Bot, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User, bob: User
) -> None:
    notes = discord.attachment("notes.txt", b"rain at noon", content_type="text/plain")
    await asked.say(ann, "look", mentions=[discord.bot], attachments=[notes])
    await asked.until("rain at noon")
    await asked.slash(ann, "ask", {"text": "hello"})
    await answered(asked, "You said: hello")
    assert await (await asked.slash(ann, "reset")).answered() == text("reset_done")
    await ask(asked, bob, "and me?")
    await answered(asked, "You said: and me?")
    await bot.settled()


async def test_a_long_answer_for_one_person_is_for_them_alone_to_its_end(
    bot: Bot, asked: Channel, worker: ScriptedWorker, ann: User, bob: User
) -> None:
    words = [f"Sentence number {number} of a long answer.\n" for number in range(120)]
    worker.script["long"] = words
    interaction = await asked.use_on_message(ann, text("menu_translate"), await asked.say(bob, "long"))
    await interaction.until("Sentence number 119")
    await bot.settled()
    assert "".join(f"{part}\n" for part in interaction.texts) == "".join(words)
    assert asked.answers == []
