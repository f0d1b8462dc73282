"""Whoever waits on Discord is told why: in the place of the answer after a command, above it after a message."""

from __future__ import annotations

import pytest

from bots import patience
from bots.texts import text
from core.database import Database
from core.settings import Settings
from tests.bots.discord.conftest import Bot
from tests.bots.discord.looking import ask, until_delivered, written
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.discord.test_typing import types
from tests.bots.scripted_worker import ScriptedWorker


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONG_WAIT_S", 0.0)
    monkeypatch.setattr(patience, "NO_START_S", 0.0)


async def answered_by_now(settings: Settings, database: Database, turns: int = 1) -> None:
    """A worker comes, and answers everything."""
    worker = ScriptedWorker(settings).start()
    try:
        await until_delivered(database, turns)
    finally:
        worker.close()


async def test_after_a_message_it_is_said_above_the_answer_and_the_bot_types_on(
    bot: Bot, general: Channel, settings: Settings, ann: User, database: Database
) -> None:
    await ask(general, ann, "hello")
    await general.until(text("status_no_worker"))
    assert types(bot)
    await answered_by_now(settings, database)
    assert written(general) == [text("status_no_worker"), "You said: hello"]


async def test_after_a_command_the_answer_takes_its_place(
    bot: Bot, general: Channel, settings: Settings, ann: User, database: Database
) -> None:
    interaction = await general.slash(ann, "ask", {"text": "hello"})
    assert await interaction.answered() == text("status_no_worker")
    await answered_by_now(settings, database)
    assert written(general) == ["You said: hello"]


async def test_what_is_for_one_person_is_told_to_them_alone(
    bot: Bot, general: Channel, settings: Settings, ann: User, bob: User, database: Database
) -> None:
    message = await general.say(bob, "good night")
    interaction = await general.use_on_message(ann, text("menu_translate"), message)
    assert await interaction.answered() == text("status_no_worker")
    await answered_by_now(settings, database)
    assert interaction.texts == ["You said: good night"] and written(general) == []


async def test_an_answer_of_before_is_not_covered(
    bot: Bot, discord: StandInDiscord, general: Channel, settings: Settings, ann: User, database: Database
) -> None:
    interaction = await general.slash(ann, "ask", {"text": "hello"})
    await answered_by_now(settings, database)
    assert interaction.response is not None
    await general.press(ann, interaction.response, text("button_regenerate"))
    await discord.until(lambda: not interaction.response.components)  # type: ignore[union-attr]
    await ask(general, ann, "and you?")
    await general.until(text("status_no_worker"))
    assert interaction.text == "You said: hello"
    await answered_by_now(settings, database, 2)
