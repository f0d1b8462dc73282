"""What Discord, its moderators and the people themselves do not allow, and what a bot leaves to the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from sqlalchemy import update

from bots import courier
from bots.discord import sinks
from bots.texts import text
from core.database import Database
from core.models import Workspace
from core.settings import Settings
from core.tasks import end
from tests.bots.discord.conftest import Bot, WatchedClient, anywhere, eventually
from tests.bots.discord.looking import ask, until_delivered, words_kept, written
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.calls import Request
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.limits import Limit
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import Gate, ScriptedWorker


class TestPermissions:
    async def test_whoever_asks_where_the_bot_may_not_write_is_told_once_in_private(
        self,
        bot: Bot,
        discord: StandInDiscord,
        asked: Channel,
        worker: ScriptedWorker,
        ann: User,
        gate: Gate,
        database: Database,
    ) -> None:
        worker.script["slow"] = ["alpha", gate, "omega"]
        asked.deny(discord.bot, "send_messages")
        await ask(asked, ann, "slow")
        private = discord.dm(ann)
        await private.until(text("channel_closed", channel=f"<#{asked.id}>"))
        gate.set()
        await until_delivered(database)
        discord.clock.advance(3600)  # no nonce is remembered any more
        await bot.stop()
        await bot.start()
        await bot.settled()
        assert len(private.answers) == 1 and written(asked) == []

    async def test_whoever_takes_no_messages_either_is_only_in_the_log(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, shop: Guild, ann: User, database: Database
    ) -> None:
        ann.accepts_direct_messages = False
        asked.deny(discord.bot, "send_messages")
        await ask(asked, ann, "hello")
        await until_delivered(database)
        elsewhere = shop.add_text_channel("elsewhere")
        await ask(elsewhere, ann, "hello again")
        await elsewhere.until("You said: hello again")
        assert discord.dm(ann).answers == []

    @pytest.mark.parametrize("words", ["hello", "/help"])
    async def test_without_the_history_it_writes_what_is_no_reply(
        self, discord: StandInDiscord, asked: Channel, ann: User, words: str
    ) -> None:
        asked.deny(discord.bot, "read_message_history")
        await ask(asked, ann, words)
        await asked.until("You said: hello" if words == "hello" else text("help_head"))
        assert [answer.reply_to for answer in asked.answers] == [None] * len(asked.answers)

    @pytest.mark.parametrize("words", ["hello", "/help"])
    async def test_whoever_asks_in_a_thread_that_is_locked_is_told_in_private(
        self, discord: StandInDiscord, asked: Channel, ann: User, words: str
    ) -> None:
        thread = await asked.start_thread(ann, "a thread")
        thread.locked = True
        await ask(thread, ann, words)
        await discord.dm(ann).until(text("channel_closed", channel=f"<#{thread.id}>"))
        assert thread.answers == []

    async def test_whoever_asks_is_told_where_the_channel_is_closed_in_mid_answer(
        self,
        discord: StandInDiscord,
        asked: Channel,
        worker: ScriptedWorker,
        ann: User,
        gate: Gate,
        database: Database,
    ) -> None:
        worker.script["slow"] = ["alpha", gate, "omega"]
        await ask(asked, ann, "slow")
        await asked.until("alpha")
        asked.deny(discord.bot, "view_channel")
        gate.set()
        await discord.dm(ann).until(text("channel_closed", channel=f"<#{asked.id}>"))
        await until_delivered(database)
        assert written(asked) == ["alpha"]

    @pytest.mark.parametrize("at_once", [True, False], ids=["at once", "growing"])
    async def test_an_answer_without_the_file_that_it_may_not_attach_says_so(
        self,
        discord: StandInDiscord,
        asked: Channel,
        worker: ScriptedWorker,
        ann: User,
        gate: Gate,
        database: Database,
        at_once: bool,
    ) -> None:
        words = [f"Sentence number {number} of a very long answer.\n" for number in range(600)]
        worker.script["long"] = words if at_once else [*words[:220], gate, *words[220:]]
        asked.deny(discord.bot, "attach_files")
        await ask(asked, ann, "long")
        await asked.until("number 0")
        gate.set()
        await until_delivered(database)
        assert [answer.content.endswith(text("rest_unattached")) for answer in asked.answers] == [False] * 4 + [True]
        assert text("rest_in_file") not in "".join(written(asked))
        assert discord.dm(ann).answers == []

    async def test_an_answer_that_a_moderator_deletes_in_mid_answer_stays_away(
        self, bot: Bot, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate, database: Database
    ) -> None:
        worker.script["slow"] = ["alpha", gate, "omega"]
        await ask(asked, ann, "slow")
        await asked.until("alpha")
        await asked.delete(asked.answers[0])
        gate.set()
        await until_delivered(database)
        await ask(asked, ann, "hello")
        await asked.until("You said: hello")
        assert written(asked) == ["You said: hello"]

    async def test_an_answer_that_is_too_old_to_be_edited_ends_in_a_message_of_its_own(
        self, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate, database: Database
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        await ask(asked, ann, "slow")
        await asked.until("alpha")
        discord.clock.advance(2 * 3600)
        discord.limits.edits_of_old_messages = Limit(0, 0.02)
        gate.set()
        await until_delivered(database)
        assert written(asked)[:2] == ["alpha", "alpha omega"]

    async def test_an_interaction_whose_token_ends_in_mid_answer_is_answered_in_the_channel(
        self, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate, database: Database
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        await asked.slash(ann, "ask", {"text": "slow"})
        await asked.until("alpha")
        discord.clock.advance(16 * 60)
        gate.set()
        await until_delivered(database)
        assert written(asked) == ["alpha omega"]


class TestUnexpected:
    async def test_settings_that_cannot_be_read_are_told_of_to_whoever_asks(
        self, bot: Bot, asked: Channel, shop: Guild, ann: User, database: Database
    ) -> None:
        await bot.service.change_setting(anywhere(shop), "persona", "A night owl.")
        with database.write() as session:
            session.execute(update(Workspace).values(settings={"answer": "sometimes"}))
        await asked.say(ann, "to nobody")
        await ask(asked, ann, "hello")
        await asked.until(text("error_error"))
        await bot.settled()
        assert written(asked) == [text("error_error")]

    async def test_a_message_that_nobody_foresaw_is_answered_by_an_apology(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        strange = asked.new_message(ann, "")
        strange.content = None  # type: ignore[assignment]
        strange.mentions = [discord.bot]
        with structlog.testing.capture_logs() as logged:
            asked.publish(strange)
            await asked.until(lambda: asked.answers)
            await bot.settled()
        assert written(asked) == [text("error_error")]
        assert "message_failed" in [line["action"] for line in logged]


class TestOptedOut:
    async def test_the_words_of_who_opted_out_are_gone_once_they_are_answered(
        self, bot: Bot, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate, database: Database
    ) -> None:
        worker.script["secret"] = ["alpha ", gate, "omega"]
        await ask(asked, ann, "/privacy opt-out")
        await asked.until(text("privacy_opted_out"))
        await ask(asked, ann, "secret")
        await asked.until("alpha")
        assert "secret" in words_kept(database)
        gate.set()
        await until_delivered(database)
        assert words_kept(database) == set()
        assert written(asked)[-1] == "alpha omega"

    async def test_they_are_gone_also_where_the_answer_may_not_be_written(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User, database: Database
    ) -> None:
        await ask(asked, ann, "/privacy opt-out")
        await asked.until(text("privacy_opted_out"))
        asked.deny(discord.bot, "send_messages")
        await ask(asked, ann, "secret")
        await until_delivered(database)
        assert words_kept(database) == set()


class TestTwoBots:
    """For a moment of a deploy there are two."""

    @pytest.fixture(autouse=True)
    def _often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(courier, "LOOK_S", 0.05)

    @pytest.fixture
    async def second(self, bot: Bot, settings: Settings, discord: StandInDiscord) -> AsyncIterator[Bot]:
        await bot.settled()
        first, second = bot.client, Bot(settings, bot.service, discord)
        await second.start()
        try:
            await eventually(lambda: WatchedClient.newest is not first and WatchedClient.newest.is_ready())
            second.client = WatchedClient.newest
            yield second
        finally:
            await stop(second)

    async def test_they_answer_once(
        self, bot: Bot, second: Bot, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        for number in range(4):
            await ask(asked, ann if number % 2 else bob, f"message {number}")
        await until_delivered(database, 4)
        assert sorted(written(asked)) == [f"You said: message {number}" for number in range(4)]

    async def test_the_new_one_ends_what_the_old_one_began(
        self, bot: Bot, second: Bot, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate, database: Database
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        await ask(asked, ann, "slow")
        await asked.until("alpha")
        old, new = (bot, second) if bot.is_delivering else (second, bot)
        assert not new.is_delivering
        await stop(old)
        gate.set()
        await until_delivered(database)
        assert written(asked) == ["alpha omega"]


async def stop(bot: Bot) -> None:
    """End one of two."""
    await end(bot.task)


class TestBudget:
    async def test_answers_that_stream_in_one_channel_stay_within_its_limits(
        self,
        discord: StandInDiscord,
        settings: Settings,
        general: Channel,
        shop: Guild,
        worker: ScriptedWorker,
        idle_bot: Bot,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        faster = 10  # than Discord, in everything
        monkeypatch.setattr(sinks, "EDITS_PER_S", faster * sinks.EDITS_PER_S)
        monkeypatch.setattr(sinks, "EDITS_TOGETHER_PER_S", faster * sinks.EDITS_TOGETHER_PER_S)
        discord.limits.scale = 1 / faster
        people = [discord.add_user(f"Person {number}") for number in range(4)]
        others = [ScriptedWorker(settings).start() for _ in people[1:]]
        await idle_bot.start()
        gates = [Gate() for _ in range(40)]
        for one in (worker, *others):
            one.script.update({person.name: _paced(person.name, gates) for person in people})
        try:
            for person in people:
                shop.add_member(person)
                await ask(general, person, person.name)
            for gate in gates:
                await asyncio.sleep(0.05)  # the pace of a model
                gate.set()
            await until_delivered(database, len(people))
        finally:
            for one in others:
                one.close()
        words = {
            "".join(word for word in _paced(person.name, gates) if isinstance(word, str)).strip() for person in people
        }
        assert set(written(general)) == words
        edits = discord.requests_to(routes.EDIT_MESSAGE)
        assert discord.limits.exceeded == [] and len(edits) > 2 * len(people)
        assert not repeated(edits)


def _paced(name: str, gates: list[Gate]) -> list[str | Gate]:
    return [part for number, gate in enumerate(gates) for part in (gate, f"{name}/{number} ")]


def repeated(edits: list[Request]) -> list[Request]:
    """The edits that changed nothing of what the edit before had made of their message."""
    shown: dict[str, object] = {}
    found = []
    for edit in edits:
        if shown.get(edit.path) == edit.json:
            found.append(edit)
        shown[edit.path] = edit.json
    return found


class TestRefusals:
    async def test_in_a_channel_that_is_left_alone_it_says_so_once_and_to_each_who_names_it(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, shop: Guild, ann: User, bob: User
    ) -> None:
        await bot.service.change_setting(anywhere(shop), "answer", "always")
        await bot.service.change_setting(anywhere(shop), "allowed_channels", "1")
        for person in (ann, bob, ann):
            await asked.say(person, "shall we have lunch?")
        await asked.say(ann, "hello", mentions=[discord.bot])
        await asked.until(lambda: len(written(asked)) >= 2)
        await bot.settled()
        assert written(asked) == [text("error_access")] * 2
