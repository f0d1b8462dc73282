"""The bot types from when it takes a question until there is something to read, in one loop a channel, and then ends."""

from __future__ import annotations

import pytest

from bots import attachments
from bots.discord import indicator
from bots.texts import sentence_for, text
from core.database import Database
from core.errors import FailureCode, UnknownCommand
from core.settings import Settings
from tests.bots.discord.conftest import Bot, answered, anywhere, buttons
from tests.bots.discord.looking import ask, eventually, turns_of, until_delivered, written
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import Failure, Gate, ScriptedWorker


def types(bot: Bot) -> bool:
    """Whether the bot would go on to type anywhere."""
    assert bot.client is not None and bot.client.handlers is not None
    typing = bot.client.handlers.typing
    assert set(typing._loops) == set(typing._waiting)
    return bool(typing._loops)


class TestBeginning:
    async def test_while_the_files_of_a_question_are_fetched(
        self,
        discord: StandInDiscord,
        bot: Bot,
        asked: Channel,
        ann: User,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(attachments, "FETCH_TIMEOUT_S", 1.0)
        slow = discord.attachment("slow.txt", b"x" * 100_000, content_type="text/plain", chunk_delay_s=30)
        await asked.say(ann, "look", mentions=[discord.bot], attachments=[slow])
        await asked.until(lambda: asked.typing_at)
        assert turns_of(database) == []
        await asked.until(text("attachment_unread", name="slow.txt"))
        await bot.settled()
        assert len(asked.typing_at) == 1 and not types(bot)

    async def test_while_an_earlier_answer_of_the_conversation_is_written(
        self, bot: Bot, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha", gate]
        await ask(asked, ann, "slow")
        await asked.until("alpha")
        await eventually(lambda: not types(bot))
        await ask(asked, ann, "next")
        await asked.until(lambda: len(asked.typing_at) == 2)
        assert types(bot)
        gate.set()
        await answered(asked, "You said: next")
        await bot.settled()
        assert not types(bot)

    async def test_while_nobody_is_there_to_answer(
        self, bot: Bot, general: Channel, settings: Settings, ann: User, database: Database
    ) -> None:
        await ask(general, ann, "hello")
        await general.until(lambda: general.typing_at)
        await eventually(lambda: turns_of(database))
        assert types(bot)
        worker = ScriptedWorker(settings).start()
        try:
            await until_delivered(database)
        finally:
            worker.close()
        assert not types(bot)

    async def test_once_for_all_who_wait_in_a_channel(
        self, bot: Bot, general: Channel, ann: User, bob: User, database: Database
    ) -> None:
        for person in (ann, bob, ann):
            await ask(general, person, f"hello {person.name}")
        await eventually(lambda: len(turns_of(database)) == 3)
        await bot_has_handled(bot, general, ann)
        assert len(general.typing_at) == 1

    async def test_not_for_what_was_answered_before_the_bot_was_away(
        self, bot: Bot, asked: Channel, ann: User, database: Database
    ) -> None:
        await ask(asked, ann, "hello")
        await until_delivered(database)
        await bot.stop()
        before = len(asked.typing_at)
        await bot.start()
        await bot.settled()
        assert len(asked.typing_at) == before

    async def test_it_goes_on_where_a_server_failed(
        self, discord: StandInDiscord, bot: Bot, general: Channel, ann: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(indicator, "_AGAIN_S", 0.05)
        discord.faults.add(routes.TYPING, 503)
        discord.faults.add(routes.TYPING, "reset")
        await ask(general, ann, "hello")
        await general.until(lambda: general.typing_at)


class TestEnding:
    @pytest.mark.parametrize("words", ["", "/rest", "blocked", "x" * 5_001])
    async def test_with_a_refusal(self, bot: Bot, general: Channel, shop: Guild, ann: User, words: str) -> None:
        if words == "blocked":
            await bot.service.change_setting(anywhere(shop), "blocked_users", str(ann.id))
        await ask(general, ann, words)
        await general.until(lambda: general.answers)
        await bot.settled()
        assert not types(bot)

    async def test_with_a_command(self, bot: Bot, general: Channel, ann: User) -> None:
        await ask(general, ann, "/rest")
        await general.until(sentence_for(UnknownCommand("rest", "reset"), "en"))
        await bot.settled()
        assert general.typing_at == [] and not types(bot)

    async def test_with_an_apology(
        self, bot: Bot, asked: Channel, worker: ScriptedWorker, ann: User, database: Database
    ) -> None:
        worker.script["fail"] = [Failure(FailureCode.DEADLINE)]
        await ask(asked, ann, "fail")
        await until_delivered(database)
        await bot.settled()
        assert not types(bot)

    async def test_when_the_question_is_deleted_or_stopped_while_it_waits(
        self, bot: Bot, general: Channel, ann: User, bob: User, database: Database
    ) -> None:
        question = await ask(general, ann, "one")
        await ask(general, bob, "two")
        await eventually(lambda: len(turns_of(database)) == 2)
        await general.delete(question)
        await ask(general, bob, "/stop")
        await until_delivered(database, 2)
        await bot.settled()
        assert not types(bot)

    async def test_where_the_bot_may_not_write(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, ann: User, database: Database
    ) -> None:
        asked.deny(discord.bot, "send_messages")
        await ask(asked, ann, "hello")
        await until_delivered(database)
        await bot.settled()
        assert not types(bot)
        assert len(discord.requests_to(routes.TYPING)) == 1

    async def test_an_answer_that_is_made_anew_is_waited_for_anew(
        self, bot: Bot, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate
    ) -> None:
        await ask(asked, ann, "dice")
        answer = await answered(asked, "You said: dice")
        before = len(asked.typing_at)
        worker.script["dice"] = [gate, "five"]
        await asked.press(ann, answer, text("button_regenerate"))
        await asked.until(lambda: len(asked.typing_at) == before + 1)
        gate.set()
        await answered(asked, "five")
        await bot.settled()
        assert not types(bot) and len(buttons(asked.answers[-1])) > 1


async def bot_has_handled(bot: Bot, channel: Channel, person: User) -> None:
    """Wait until everything that was said before is handled."""
    await ask(channel, person, "/rest")
    await channel.until(sentence_for(UnknownCommand("rest", "reset"), "en"))
    assert len(written(channel)) == 1
