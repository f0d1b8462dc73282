"""What is said to others and read beside a question, where that is set: as it reads when the bot is asked."""

from __future__ import annotations

import pytest

from core.database import Database
from tests.bots.discord.conftest import Bot, answered, anywhere
from tests.bots.discord.looking import ask, turns_of, words_kept
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord


@pytest.fixture(autouse=True)
async def reads(bot: Bot, shop: Guild) -> None:
    await bot.service.change_setting(anywhere(shop), "read_context", "on")


async def test_what_was_deleted_or_reworded_before_is_not_kept(
    bot: Bot, asked: Channel, ann: User, bob: User, database: Database
) -> None:
    secret = await asked.say(bob, "my secret")
    slip = await asked.say(bob, "it snows")
    await asked.say(bob, "good morning")
    await bot.settled()
    await asked.delete(secret)
    await asked.edit(slip, "it rains")
    await bot.settled()
    await ask(asked, ann, "hello")
    await answered(asked, "You said: hello")
    assert words_kept(database) == {"it rains", "good morning", "hello", "You said: hello"}


async def test_what_was_deleted_or_reworded_afterwards_is_not_kept_either(
    bot: Bot, asked: Channel, ann: User, bob: User, database: Database
) -> None:
    secret = await asked.say(bob, "my secret")
    await ask(asked, ann, "hello")
    await answered(asked, "You said: hello")
    assert "my secret" in words_kept(database)
    await asked.delete(secret)
    await bot.settled()
    assert words_kept(database) == {"hello", "You said: hello"}


async def test_what_was_read_and_is_said_to_the_bot_by_an_edit_is_answered(
    bot: Bot, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
) -> None:
    overheard = await asked.say(bob, "does it rain?")
    await ask(asked, ann, "hello")
    await answered(asked, "You said: hello")
    await asked.edit(overheard, f"{discord.bot.mention} does it rain?")
    await answered(asked, "You said: does it rain?")
    await bot.settled()
    assert len(turns_of(database)) == 2
    await asked.edit(overheard, f"{discord.bot.mention} does it snow?")
    await answered(asked, "You said: does it snow?")
    await bot.settled()
    assert len(turns_of(database)) == 2 and "You said: does it rain?" not in asked.texts
