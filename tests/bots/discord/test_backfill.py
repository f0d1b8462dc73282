"""What was said while the bot was away, in places where nobody has asked it anything yet."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import structlog

from bots.discord import backfill, handlers
from bots.discord.client import PajamaClient
from bots.discord.listening import Listening
from core.database import Database
from core.errors import DatabaseUnavailable
from core.service import Service
from tests.bots.discord.conftest import Bot, WatchedClient, answered, anywhere
from tests.bots.discord.looking import ask, turns_of, until_delivered, written
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.faults import Answer
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import ScriptedWorker


@pytest.fixture(autouse=True)
def no_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said just before the bot went away was heard."""
    monkeypatch.setattr(backfill, "OVERLAP", timedelta())


async def away(bot: Bot) -> None:
    """Let the bot have heard everything, and go."""
    assert bot.client is not None and bot.client.handlers is not None
    await bot.settled()
    await bot.client.handlers.listening.note()
    await bot.stop()


async def back(bot: Bot) -> None:
    """Let it come back, and do everything that was left to do."""
    await bot.start()
    await bot.settled()


class TestPlaces:
    async def test_a_thread_that_was_opened_meanwhile_is_answered_once(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, ann: User, database: Database
    ) -> None:
        await away(bot)
        thread = await asked.start_thread(ann, "a thread")
        await thread.say(ann, "to nobody")
        await ask(thread, ann, "hello")
        for _ in range(2):
            await back(bot)
            await until_delivered(database)
            await away(bot)
        assert written(thread) == ["You said: hello"]

    async def test_a_post_is_answered_where_the_bot_always_answers(
        self, bot: Bot, worker: ScriptedWorker, shop: Guild, ann: User
    ) -> None:
        forum, other = shop.add_forum("help"), shop.add_forum("chat")
        await bot.service.change_setting(anywhere(shop), "answer", "always", channel=str(forum.id))
        await away(bot)
        post = await forum.post(ann, "A question", "does it rain?")
        elsewhere = await other.post(ann, "No question", "it rains")
        await back(bot)
        await answered(post, "You said: does it rain?")
        assert elsewhere.answers == []

    async def test_a_mention_is_answered_where_nobody_had_asked(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, ann: User, bob: User
    ) -> None:
        await away(bot)
        await asked.say(bob, "to nobody")
        await ask(asked, ann, "hello")
        await back(bot)
        await answered(asked, "You said: hello")

    async def test_so_is_what_a_session_missed_that_could_not_be_resumed(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        await bot.settled()
        discord.session.invalidate()
        thread = await asked.start_thread(ann, "a thread")
        await ask(thread, ann, "hello")
        await answered(thread, "You said: hello")
        assert len(discord.sessions) == 2

    @pytest.mark.parametrize("answer", [503, "reset"])
    async def test_servers_that_fail_for_a_moment_hide_nothing(
        self, bot: Bot, discord: StandInDiscord, asked: Channel, ann: User, answer: Answer
    ) -> None:
        await away(bot)
        await ask(asked, ann, "hello")
        discord.faults.add(routes.MESSAGES, answer)
        await back(bot)
        await answered(asked, "You said: hello")

    async def test_what_cannot_be_read_is_read_later_and_not_noted_as_heard(
        self,
        bot: Bot,
        discord: StandInDiscord,
        asked: Channel,
        ann: User,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(backfill, "READ_FOR_S", 0.05)
        monkeypatch.setattr(handlers, "_AGAIN_S", 0.05)
        await away(bot)
        before = await bot.client.handlers.listening.since()  # type: ignore[union-attr]
        await ask(asked, ann, "hello")
        discord.faults.add(routes.MESSAGES, "hang", times=2)
        coming = asyncio.create_task(bot.start())
        await discord.until(lambda: len(discord.faults.struck) == 2)
        listening = WatchedClient.newest.handlers.listening  # type: ignore[union-attr]
        await listening.note()
        assert await listening.since() == before
        await answered(asked, "You said: hello")
        await coming

    async def test_one_shard_of_many_makes_up_for_what_it_missed(
        self, idle_bot: Bot, worker: ScriptedWorker, discord: StandInDiscord, general: Channel, ann: User
    ) -> None:
        discord.shards = 2
        await idle_bot.start()
        shard = (general.guild.id >> 22) % 2  # type: ignore[union-attr]
        before = list(discord.sessions)
        next(session for session in before if session.shard[0] == shard).invalidate()
        await ask(general, ann, "one")
        await answered(general, "You said: one")
        await ask(general, ann, "two")
        await answered(general, "You said: two")
        assert [session.shard[0] for session in discord.sessions if session not in before] == [shard]


class TestBounds:
    async def test_what_was_left_alone_before_the_bot_went_stays_so(
        self, bot: Bot, worker: ScriptedWorker, shop: Guild, general: Channel, ann: User, database: Database
    ) -> None:
        await general.say(ann, "to nobody")
        await away(bot)
        await bot.service.change_setting(anywhere(shop), "answer", "always", channel=str(general.id))
        await general.say(ann, "hello")
        await back(bot)
        await answered(general, "You said: hello")
        assert len(turns_of(database)) == 1

    async def test_a_channel_where_nothing_was_said_is_not_read(
        self, bot: Bot, discord: StandInDiscord, general: Channel, ann: User
    ) -> None:
        await general.say(ann, "to nobody")
        await away(bot)
        await back(bot)
        assert discord.requests_to(routes.MESSAGES) == []

    async def test_nor_one_that_the_bot_may_not_read(
        self, bot: Bot, discord: StandInDiscord, shop: Guild, general: Channel, ann: User
    ) -> None:
        unseen = shop.add_text_channel("unseen")
        general.deny(discord.bot, "read_message_history")
        unseen.deny(discord.bot, "view_channel")
        await away(bot)
        thread = await general.start_thread(ann, "a thread")
        for channel in (general, thread, unseen):
            await ask(channel, ann, "hello")
        await back(bot)
        assert discord.requests_to(routes.MESSAGES) == []

    async def test_the_channels_with_the_newest_messages_are_read(
        self,
        bot: Bot,
        discord: StandInDiscord,
        shop: Guild,
        worker: ScriptedWorker,
        ann: User,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(backfill, "MOST_OTHERS", 2)
        channels = [shop.add_text_channel(name) for name in ("one", "two", "three")]
        await away(bot)
        for channel in channels:
            await ask(channel, ann, channel.name)
        with structlog.testing.capture_logs() as logged:
            await back(bot)
            await answered(channels[2], "You said: three")
        assert [written(channel) for channel in channels] == [[], ["You said: two"], ["You said: three"]]
        assert [line["left_out"] for line in logged if line["action"] == "backfill_bounded"] == [1]

    async def test_what_is_more_than_is_read_of_a_channel_is_in_the_log(
        self, bot: Bot, asked: Channel, ann: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backfill, "MOST_MESSAGES", 1)
        await away(bot)
        await ask(asked, ann, "one")
        await asked.say(ann, "to nobody")
        with structlog.testing.capture_logs() as logged:
            await back(bot)
            await answered(asked, "You said: one")
        assert [line["read"] for line in logged if line["action"] == "backfill_cut"] == [1]

    async def test_without_knowing_since_when_it_was_away_it_reads_only_where_it_was_asked(
        self, bot: Bot, discord: StandInDiscord, shop: Guild, asked: Channel, ann: User, service: Service
    ) -> None:
        await ask(asked, ann, "one")
        await answered(asked, "You said: one")
        await away(bot)
        await service._client.delete(*[key async for key in service._client.scan_iter("*discord:heard*")])
        other = shop.add_text_channel("other")
        await ask(asked, ann, "two")
        await ask(other, ann, "three")
        await back(bot)
        await answered(asked, "You said: two")
        assert other.answers == []


class TestNoting:
    """Until when everything was heard is noted while that is so."""

    @pytest.fixture
    def listening(self, service: Service) -> Listening:
        return Listening(PajamaClient(message_content=False, proxy=None), service)

    async def test_from_when_everything_of_before_is_read(self, listening: Listening) -> None:
        listening.connected(0)
        await listening.note()
        with listening.catching_up():
            await listening.note()
            assert await listening.since() is None
        await listening.note()
        assert await listening.since() is not None

    @pytest.mark.parametrize("what", ["lost", "connected"])
    async def test_not_while_a_shard_hears_nothing_or_has_missed_something(
        self, listening: Listening, what: str
    ) -> None:
        with listening.catching_up():
            listening.connected(1)  # which is not read yet
        await listening.note()
        assert await listening.since() is None
        with listening.catching_up():
            pass
        await listening.note()
        before = await listening.since()
        getattr(listening, what)(0)
        await listening.note()
        assert before is not None and await listening.since() == before

    async def test_again_once_it_was_told_what_it_missed(self, listening: Listening) -> None:
        with listening.catching_up():
            pass
        listening.lost(0)
        listening.lost(1)
        listening.resumed(0)
        await listening.note()
        assert await listening.since() is None
        listening.resumed(1)
        await listening.note()
        assert await listening.since() is not None

    async def test_not_after_reading_failed(self, listening: Listening) -> None:
        with pytest.raises(DatabaseUnavailable), listening.catching_up():
            raise DatabaseUnavailable
        await listening.note()
        assert await listening.since() is None

    async def test_a_connection_that_is_resumed_is_whole_again(self, bot: Bot, discord: StandInDiscord) -> None:
        assert bot.client is not None and bot.client.handlers is not None
        listening = bot.client.handlers.listening
        await bot.settled()
        before = await listening.since()
        discord.session.drop()
        await discord.until(lambda: [session.resumes for session in discord.sessions] == [1])
        await bot.settled()
        await listening.note()
        after = await listening.since()
        assert before is not None and after is not None and after > before
