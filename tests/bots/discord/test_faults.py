"""What goes wrong around an answer: connections, servers, permissions, people. It comes once and whole all the same."""

from __future__ import annotations

import pytest

from bots.texts import text
from core.database import Database
from core.settings import Settings
from tests.bots.discord.conftest import Bot, answered, anywhere
from tests.bots.discord.looking import ask, eventually, turns_of, until_delivered, words_kept, written
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.faults import Answer
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import Gate, ScriptedWorker


class TestGateway:
    async def test_a_connection_that_is_lost_in_mid_answer_is_resumed(
        self, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User, bob: User, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        await ask(asked, ann, "slow")
        await asked.until("alpha")
        discord.session.drop()
        await ask(asked, bob, "meanwhile")
        gate.set()
        await asked.until("alpha omega")
        await asked.until("You said: meanwhile")
        assert sorted(written(asked)) == ["You said: meanwhile", "alpha omega"]
        assert [session.resumes for session in discord.sessions] == [1]

    async def test_what_an_invalid_session_missed_is_read_from_the_channel(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, worker: ScriptedWorker
    ) -> None:
        await ask(asked, ann, "one")
        await asked.until("You said: one")
        discord.session.invalidate()
        await ask(asked, ann, "two")
        await ask(asked, bob, "three")
        await asked.until("You said: two")
        await asked.until("You said: three")
        assert len(discord.sessions) == 2
        assert sorted(written(asked)) == ["You said: one", "You said: three", "You said: two"]

    async def test_an_event_that_cannot_be_read_ends_nothing(
        self, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        for name in (
            "MESSAGE_CREATE",
            "MESSAGE_UPDATE",
            "MESSAGE_DELETE",
            "MESSAGE_REACTION_ADD",
            "INTERACTION_CREATE",
        ):
            discord.gateway.inject(name, {"channel_id": str(asked.id), "guild_id": None})
            discord.gateway.inject(name, {"id": str(asked.id), "channel_id": "x", "author": None})
        discord.gateway.inject("NO_SUCH_EVENT", {})
        await ask(asked, ann, "hello")
        await asked.until("You said: hello")
        assert [session.resumes for session in discord.sessions] == [0]

    async def test_every_event_twice_is_every_answer_once(
        self, discord: StandInDiscord, asked: Channel, ann: User, database: Database
    ) -> None:
        discord.gateway.repeat("MESSAGE_CREATE", times=10)
        for number in range(3):
            await ask(asked, ann, f"message {number}")
        await until_delivered(database, 3)
        assert written(asked) == [f"You said: message {number}" for number in range(3)]


class TestBackfill:
    async def test_what_was_said_while_the_bot_was_stopped_is_answered_once(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        dm = discord.dm(bob)
        await ask(asked, ann, "one")
        await dm.say(bob, "in private")
        await until_delivered(database, 2)
        await bot.stop()
        await ask(asked, ann, "two")
        await asked.say(ann, "to nobody")
        await dm.say(bob, "again in private")
        for _ in range(2):
            await bot.start()
            await until_delivered(database, 4)
            await bot.settled()
            await bot.stop()
        assert written(asked) == ["You said: one", "You said: two"]
        assert written(dm) == ["You said: in private", "You said: again in private"]
        assert len(turns_of(database)) == 4

    async def test_what_is_too_old_is_left_alone(
        self, bot: Bot, discord: StandInDiscord, general: Channel, worker: ScriptedWorker, ann: User, database: Database
    ) -> None:
        discord.clock.advance(-30 * 3600)
        discord.snowflakes._newest = 0  # ids follow the clock
        await ask(general, ann, "long ago")
        await until_delivered(database)
        await bot.stop()
        await ask(general, ann, "a day ago")
        discord.clock.advance(30 * 3600)
        await ask(general, ann, "just now")
        await bot.start()
        await until_delivered(database, 2)
        answers = [words for words in written(general) if words.startswith("You said")]
        assert answers == ["You said: long ago", "You said: just now"]

    async def test_a_command_in_it_is_not_done_twice(
        self, bot: Bot, asked: Channel, ann: User, database: Database
    ) -> None:
        await ask(asked, ann, "one")
        await asked.until("You said: one")
        await ask(asked, ann, "/reset")
        await asked.until(text("reset_done"))
        await ask(asked, ann, "two")
        await until_delivered(database, 2)
        await bot.stop()
        await bot.start()
        await ask(asked, ann, "three")
        await until_delivered(database, 3)
        assert written(asked).count(text("reset_done")) == 1
        assert len(written(asked)) == 4

    async def test_who_may_ask_by_a_role_may_have_asked_meanwhile(
        self, bot: Bot, asked: Channel, shop: Guild, ann: User, database: Database
    ) -> None:
        role = shop.add_role("Customers")
        shop.add_member(ann, role)
        await bot.service.change_setting(anywhere(shop), "allowed_roles", str(role.id))
        await ask(asked, ann, "one")
        await asked.until("You said: one")
        await bot.stop()
        await ask(asked, ann, "two")
        await bot.start()
        await asked.until("You said: two")
        assert len(written(asked)) == 2


class TestServers:
    @pytest.mark.parametrize(
        ("answers", "work_done"),
        [
            ([500], False), ([502], True), ([503, 503], False), ([503], True),
            (["reset", "reset"], False), (["reset"], True), ([503, "reset"], True),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("route", [routes.CREATE_MESSAGE, routes.EDIT_MESSAGE])
    async def test_a_burst_of_errors_costs_no_word_and_repeats_none(
        self,
        discord: StandInDiscord,
        asked: Channel,
        worker: ScriptedWorker,
        ann: User,
        gate: Gate,
        database: Database,
        route: str,
        answers: list[Answer],
        work_done: bool,
    ) -> None:
        words = [f"Word {number} of a long answer. " for number in range(120)]
        worker.script["long"] = [*words[:20], gate, *words[20:]]
        for answer in answers:
            discord.faults.add(route, answer, work_done=work_done)
        await ask(asked, ann, "long")
        await asked.until("Word 0")
        gate.set()
        await until_delivered(database)
        assert len(discord.faults.struck) == len(answers)
        assert " ".join(written(asked)) == "".join(words).strip()

    @pytest.mark.parametrize("everywhere", [False, True], ids=["of the route", "global"])
    async def test_a_rate_limit_is_waited_for(
        self,
        discord: StandInDiscord,
        asked: Channel,
        worker: ScriptedWorker,
        ann: User,
        gate: Gate,
        database: Database,
        everywhere: bool,
    ) -> None:
        words = [f"Word {number} of a long answer. " for number in range(120)]
        worker.script["long"] = [*words[:20], gate, *words[20:]]
        for route in (routes.CREATE_MESSAGE, routes.EDIT_MESSAGE, routes.TYPING):
            discord.faults.add(route, 429, times=2, everywhere=everywhere)
        await ask(asked, ann, "long")
        await asked.until("Word 0")
        gate.set()
        await until_delivered(database)
        assert len(discord.faults.struck) >= 4
        assert " ".join(written(asked)) == "".join(words).strip()


class TestQuestions:
    """What becomes of a question between being asked and being answered."""

    async def test_one_that_is_edited_while_it_waits_is_answered_once_as_it_is_now(
        self, bot: Bot, discord: StandInDiscord, general: Channel, settings: Settings, ann: User, database: Database
    ) -> None:
        question = await ask(general, ann, "one")
        await eventually(lambda: turns_of(database))
        await general.edit(question, f"{discord.bot.mention} two")
        await eventually(lambda: words_kept(database) == {"one", "two"})
        worker = ScriptedWorker(settings).start()
        try:
            await until_delivered(database)
            await bot.settled()
        finally:
            worker.close()
        assert written(general) == ["You said: two"]

    async def test_one_that_is_edited_in_mid_answer_is_answered_as_it_is_now(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha", gate, "omega"]
        question = await ask(asked, ann, "slow")
        await asked.until("alpha")
        await asked.edit(question, f"{discord.bot.mention} fast")
        await asked.until("You said: fast")
        await bot.settled()
        assert written(asked) == ["You said: fast"]

    async def test_one_that_is_deleted_while_it_waits_is_never_answered(
        self, bot: Bot, general: Channel, settings: Settings, ann: User, database: Database
    ) -> None:
        question = await ask(general, ann, "one")
        await eventually(lambda: turns_of(database))
        await general.delete(question)
        await until_delivered(database)
        worker = ScriptedWorker(settings).start()
        try:
            await ask(general, ann, "two")
            await until_delivered(database, 2)
        finally:
            worker.close()
        assert written(general) == ["You said: two"]
        assert words_kept(database) == {"two", "You said: two"}

    async def test_one_that_is_deleted_in_mid_answer_leaves_nothing_behind(
        self, bot: Bot, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate, database: Database
    ) -> None:
        worker.script["slow"] = ["alpha", gate, "omega"]
        question = await ask(asked, ann, "slow")
        await asked.until("alpha")
        await asked.delete(question)
        await until_delivered(database)
        await bot.settled()
        assert written(asked) == []
        assert words_kept(database) == set()

    @pytest.mark.parametrize("change", ["edit", "delete"])
    async def test_every_answer_that_it_ever_had_goes_with_its_words(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, ann: User, database: Database, change: str
    ) -> None:
        question = await ask(asked, ann, "one")
        first = await answered(asked, "You said: one")
        await asked.press(ann, first, text("button_regenerate"))
        await asked.until(lambda: len(asked.answers) == 2)
        await until_delivered(database)
        await (asked.delete(question) if change == "delete" else asked.edit(question, f"{discord.bot.mention} two"))
        await bot.settled()
        assert written(asked) == ([] if change == "delete" else ["You said: two"])

    async def test_one_whose_author_is_blocked_by_now_keeps_its_answer(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, shop: Guild, ann: User
    ) -> None:
        question = await ask(asked, ann, "one")
        await answered(asked, "You said: one")
        await bot.service.change_setting(anywhere(shop), "blocked_users", str(ann.id))
        await asked.edit(question, f"{discord.bot.mention} two")
        await bot.settled()
        assert written(asked) == ["You said: one"]

    @pytest.mark.parametrize("what", ["channel", "thread"])
    async def test_those_of_a_channel_go_with_it_and_its_threads(
        self, bot: Bot, shop: Guild, asked: Channel, ann: User, bob: User, database: Database, what: str
    ) -> None:
        thread, other = await asked.start_thread(ann, "a thread"), shop.add_text_channel("other")
        for channel, person in ((asked, ann), (asked, bob), (thread, ann), (other, ann)):
            await ask(channel, person, f"hello from {channel.name}")
        await until_delivered(database, 4)
        shop.remove_channel(asked if what == "channel" else thread)
        await bot.settled()
        gone = {"a thread", "general"} if what == "channel" else {"a thread"}
        left = [name for name in ("general", "a thread", "other") if name not in gone]
        assert {words for words in words_kept(database) if words.startswith("hello")} == {
            f"hello from {name}" for name in left
        }

    async def test_one_that_is_deleted_after_its_answer_takes_that_along(
        self, bot: Bot, asked: Channel, ann: User, database: Database
    ) -> None:
        question = await ask(asked, ann, "one")
        await until_delivered(database)
        await asked.delete(question)
        await bot.settled()
        assert written(asked) == []
        assert words_kept(database) == set()
