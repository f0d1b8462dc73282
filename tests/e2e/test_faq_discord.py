"""A shop on Discord, with the bot and a worker as processes: from a file to an answer, a human, and another answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bots.texts import text
from core.settings import Settings
from tests.bots.discord.conftest import buttons
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.message import Message
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.looking import eventually
from tests.e2e.processes import BotProcess, Workers, environment
from tests.e2e.test_discord import SCALE
from tests.pajama.commands import Pajama

FAQ = (
    "question,answer,phrasings\nWhen are you open?,From nine to five.,Opening hours\nWhere can I park?,In the yard.,\n"
)
UNKNOWN = "Do you repair broken umbrellas?"


@pytest.fixture
def database_kind() -> str:
    """What differs between databases is tested elsewhere."""
    return "sqlite"


@pytest.fixture
async def discord() -> AsyncIterator[StandInDiscord]:
    async with StandInDiscord() as discord:
        discord.limits.scale = SCALE
        yield discord


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str, redis_prefix: str, discord: StandInDiscord) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        database_url=database_url,
        redis_url=redis_url,
        redis_prefix=redis_prefix,
        discord_token=SecretStr(discord.token),
        discord_api_base=discord.api_base,
        discord_gateway_url=discord.gateway_url,
        _env_file=None,
    )


@pytest.fixture
async def owner(settings: Settings, tmp_path: Path, discord: StandInDiscord) -> AsyncIterator[Pajama]:
    """The shop's command line, with a collection; its bot and a worker run."""
    pajama = Pajama(tmp_path)
    pajama.settings |= {name: value for name, value in environment(settings).items() if name.startswith("PAJAMA_")}
    pajama.settings |= {"PAJAMA_FAQ_EMBEDDER": "none"}
    running = {**environment(settings), **pajama.settings}
    workers, bot = Workers(running, tmp_path / "worker.log"), BotProcess("discord", running, tmp_path / "bot.log")
    (tmp_path / "faq.csv").write_text(FAQ)
    assert len((await run(pajama, "faq", "import", "shop", "faq.csv"))["added"]) == 2
    workers.start()
    await bot.start()
    yield pajama
    workers.stop()
    await bot.kill()


class Shop:
    """Ann in #general, Bo in #staff."""

    def __init__(self, discord: StandInDiscord) -> None:
        self.discord, self.ann, self.bo = discord, discord.add_user("Ann"), discord.add_user("Bo")
        self.guild = discord.add_guild("Shop", members=[self.ann, self.bo])
        self.general, self.staff = (self.guild.add_text_channel(name) for name in ("general", "staff"))

    async def say(self, words: str, by: User | None = None) -> None:
        await self.general.say(by or self.ann, words, mentions=[self.discord.bot])

    async def read(self, words: str, channel: Channel | None = None) -> Message:
        """The newest message of the bot with these words, once it is there."""
        where = channel or self.general
        await self.until(lambda: any(words in each.content for each in where.answers))
        return next(each for each in reversed(where.answers) if words in each.content)

    async def until(self, condition: Callable[[], object]) -> None:
        await self.discord.until(condition)


@pytest.mark.timeout(90)
async def test_from_a_file_to_an_answer_a_human_and_another_answer(discord: StandInDiscord, owner: Pajama) -> None:
    shop = Shop(discord)
    await discord.until_connected()
    for setting in ("faq_mode faq-only", "handoff_on_abstain auto", f"handoff_channel {shop.staff.id}"):
        await shop.say(f"/settings {setting}", shop.guild.owner)
        await shop.read(f"`{setting.split()[0]}`")

    await shop.say("opening hours")
    answered = await shop.read(text("faq_source", question="When are you open?"))
    assert answered.content.startswith("From nine to five.")
    await shop.say(UNKNOWN)
    await shop.read(text("faq_unknown"))  # nothing is made up, and a human is called
    await shop.read(text("handoff_called_abstention"))

    notice = await shop.read(UNKNOWN, shop.staff)
    await shop.until(lambda: any("claim" in one for one in buttons(notice)))
    await shop.staff.press(shop.bo, notice, text("button_claim"))
    await shop.read(text("handoff_claimed", name="Bo"))
    await shop.until(lambda: notice.thread is not None)
    assert notice.thread is not None
    await notice.thread.say(shop.bo, "Yes, on Mondays.")
    await shop.read("Yes, on Mondays.")
    await shop.say("Thank you!")
    await shop.read("Thank you!", notice.thread)
    await shop.staff.press(shop.bo, notice, text("button_release"))
    await shop.read(text("handoff_released", name="Bo"))

    (gap,) = (await run(owner, "faq", "gaps"))["gaps"]
    assert (gap["question"], gap["draft"]) == (UNKNOWN, {"text": "Yes, on Mondays.", "source": "staff"})
    written = [{"question": gap["question"], "answer": gap["draft"]["text"]}]
    (owner.folder / "new.json").write_text(json.dumps(written))
    assert len((await run(owner, "faq", "import", "shop", "new.json"))["added"]) == 1
    await eventually(lambda: '"revision": 2' in (owner.folder / "worker.log").read_text())
    await shop.say(UNKNOWN)
    answered = await shop.read(text("faq_source", question=UNKNOWN))
    assert answered.content.startswith("Yes, on Mondays.")
    assert discord.violations == []


async def run(owner: Pajama, *arguments: str) -> dict[str, Any]:
    told: dict[str, Any] = await asyncio.to_thread(owner.json, *arguments)
    return told
