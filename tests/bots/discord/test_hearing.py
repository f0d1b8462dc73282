"""What is said to others and read beside a question, where that is set: as it reads when the bot is asked."""

from __future__ import annotations

import pytest

from core.database import Database
from tests.bots.discord.conftest import Bot, answered, anywhere
from tests.bots.discord.looking import ask, words_kept
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.people import User


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
